"""A small simulated cluster of the CMSWEB services, as kube-eagle would show it.

Everything is a pure function of seed and data time: the same instant gives the same values in a backfill, on a live
page and in a test, in any order and in any process. There is no generator state; randomness is a hash (splitmix64) of
seed, what is asked for, and time.

What the series hold: daily and weekly seasonality, correlated and white noise, bursts of one or two minutes, weekly
rollouts (new pod names, a level a few per cent off), crashes (cold caches), slow leaks cleared by restarts, and the
zeros that kube-eagle reports when metrics-server has no sample. :class:`Incident` adds what a detector must find.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

CPU_METRIC = "eagle_pod_container_resource_usage_cpu_cores"
MEMORY_METRIC = "eagle_pod_container_resource_usage_memory_bytes"
METRICS = (CPU_METRIC, MEMORY_METRIC)
DAY = 86_400
WEEK = 7 * DAY
MIB = float(2**20)

_DEPLOY_PROBABILITY = 0.35
_DEPLOY_WEEKS = 8  # at the latest every so many weeks: bounds how far back a pod's birth must be looked for
_ROLL_SECONDS = 90  # between two pods of a rollout
_TURN_SECONDS = 2 * 3600  # between two pods that are restarted because of a leak
_CRASH_PROBABILITY = 0.03  # per pod and day
_BURST_SLOT = 3 * 3600
_BURST_PROBABILITY = 0.15  # per service and slot
_ZERO_PROBABILITY = 1 / 3000  # per service and instant
_MONDAY = 4 * DAY  # 1970-01-05, start of a week


@dataclass(frozen=True)
class Service:
    """One service: ``cpu`` cores and ``memory`` bytes per pod at full load.

    ``night`` is the share of the load that never sleeps, ``peak`` the busiest hour (UTC), ``weekend`` the share of the
    daily swing on Saturday and Sunday, ``leak`` the growth of memory per hour of a pod's life as a share of ``memory``,
    ``restart_days`` every how many days the pods are restarted to get rid of it, in turn from 03:00 on (0 = never).
    """

    namespace: str
    container: str
    replicas: int
    cpu: float
    memory: float
    night: float = 0.3
    peak: float = 14.0
    weekend: float = 0.6
    leak: float = 0.0
    restart_days: int = 0

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.container}"


SERVICES: tuple[Service, ...] = (
    Service("crab", "crabserver", 3, 2.4, 2600 * MIB, night=0.25, peak=15.0),
    Service("das", "das-server", 2, 1.5, 900 * MIB, night=0.35, peak=14.0),
    Service("dbs", "dbs2go-global-r", 4, 1.9, 700 * MIB, night=0.45, peak=16.0, weekend=0.8),
    Service("dmwm", "reqmgr2", 2, 0.8, 1500 * MIB, night=0.3, peak=13.0),
    Service("dmwm", "workqueue", 2, 1.1, 1900 * MIB, night=0.55, peak=12.0, weekend=0.9),
    Service("dqm", "autodqm", 1, 0.5, 800 * MIB, night=0.2, peak=10.0, leak=0.001, restart_days=3),
    Service("wma", "wmarchive", 4, 0.7, 600 * MIB, night=0.5, peak=17.0, leak=0.001, restart_days=1),
    Service("ruciocm", "monitor", 1, 0.3, 400 * MIB, night=0.6, peak=14.0, weekend=0.9),
    Service("tzero", "t0wmadatasvc", 2, 0.6, 1000 * MIB, night=0.4, peak=20.0, weekend=1.0),
)


@dataclass(frozen=True)
class Incident:
    """A raised level of one service over ``[start, end)`` of data time: cores and bytes on top, per pod."""

    namespace: str
    container: str
    start: int
    end: int
    cpu: float = 0.0
    memory: float = 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Incident:
        """The incident of :meth:`to_json`. Raises ValueError for anything else."""
        try:
            raw = json.loads(text)
            names = str(raw["namespace"]), str(raw["container"])
            span = int(raw["start"]), int(raw["end"])
            return cls(*names, *span, float(raw.get("cpu", 0.0)), float(raw.get("memory", 0.0)))
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(
                "an incident is a JSON object with namespace, container, start, end and cpu or memory, received "
                f"{text[:120]!r}"
            ) from error


@dataclass(frozen=True)
class Pod:
    """One pod of a service; a rollout replaces it by one of another name."""

    namespace: str
    name: str
    container: str

    @property
    def labels(self) -> dict[str, str]:
        return {"namespace": self.namespace, "pod": self.name, "container": self.container, "phase": "Running"}


@dataclass(frozen=True)
class Samples:
    """``values`` float64 [T, P, 2]: CPU (cores) and memory (bytes) of ``pods`` at ``times``; NaN = no such pod then."""

    times: I64
    pods: tuple[Pod, ...]
    values: F64

    def of(self, namespace: str, container: str) -> F64:
        """Mean over the pods of one service, [T, 2]; NaN where none ran.

        Raises:
            KeyError: no pod of that service at any of the instants.
        """
        mine = [i for i, p in enumerate(self.pods) if (p.namespace, p.container) == (namespace, container)]
        if not mine:
            raise KeyError(f"{namespace}/{container}")
        values = self.values[:, mine]
        alive = ~np.isnan(values)
        total = np.where(alive, values, 0.0).sum(axis=1)
        count = alive.sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class Cluster:
    """The simulated cluster of ``services``; equal seeds are equal clusters."""

    seed: int = 7
    services: tuple[Service, ...] = SERVICES
    incidents: tuple[Incident, ...] = ()

    def with_incidents(self, incidents: Sequence[Incident]) -> Cluster:
        return replace(self, incidents=tuple(incidents))

    def service(self, namespace: str, container: str) -> Service:
        """Raises KeyError for an unknown service."""
        for service in self.services:
            if (service.namespace, service.container) == (namespace, container):
                return service
        raise KeyError(f"{namespace}/{container}")

    def values(self, instants: I64 | Sequence[int]) -> Samples:
        """The cluster at ``instants`` (data time in seconds, ascending, at least one).

        Raises:
            ValueError: no instants, or not ascending.
        """
        times = np.asarray(instants, np.int64)
        if times.ndim != 1 or not times.size or (np.diff(times) <= 0).any():
            raise ValueError(f"expected ascending instants [T] with T >= 1, received shape {times.shape}")
        pods: list[Pod] = []
        columns: list[F64] = []
        for service in self.services:
            for pod, column in _service(self.seed, service, times, self.incidents):
                pods.append(pod)
                columns.append(column)
        return Samples(times, tuple(pods), np.stack(columns, axis=1))


def _service(seed: int, service: Service, t: I64, incidents: Sequence[Incident]) -> list[tuple[Pod, F64]]:
    """Pods of one service with their values [T, 2]."""
    dice = _Dice(seed, service.name)
    load = _load(dice, service, t)
    burst = _bursts(dice, t)
    deploys = _deploys(dice, int(t[0]), int(t[-1]))
    # kube-eagle shows 0 when metrics-server has no sample; it is then missing for every pod of the service.
    zero = dice.uniform("zero", t) < _ZERO_PROBABILITY
    out: list[tuple[Pod, F64]] = []
    for slot in range(service.replicas):
        own = _Dice(seed, f"{service.name}/{slot}")
        births = deploys + slot * _ROLL_SECONDS
        epoch = np.searchsorted(births, t, "right") - 1
        restarts = np.unique(np.concatenate([births, _restarts(own, service, slot, int(t[0]), int(t[-1]))]))
        age = (t - restarts[np.searchsorted(restarts, t, "right") - 1]).astype(np.float64)
        level = 1 + 0.02 * dice.normal("level", deploys)[epoch]
        cpu = _cpu(own, service, t, load, age) * level + service.cpu * burst
        memory = _memory(own, service, t, load, age) * (1 + 0.5 * (level - 1))
        for incident in incidents:
            if (incident.namespace, incident.container) == (service.namespace, service.container):
                on = (t >= incident.start) & (t < incident.end)
                wobble = 1 + 0.03 * own.normal("incident", t)
                cpu = cpu + on * incident.cpu * wobble
                memory = memory + on * incident.memory * wobble
        # What a container runtime resolves: a tenth of a millicore, whole bytes.
        both = np.stack([np.round(np.maximum(cpu, 1e-3), 4), np.round(memory)], axis=1)
        both[zero] = 0.0
        for e in np.unique(epoch):
            pod = Pod(service.namespace, _pod_name(dice, service, int(deploys[e]), slot), service.container)
            out.append((pod, np.where((epoch == e)[:, None], both, np.nan)))
    return out


def _load(dice: _Dice, service: Service, t: I64) -> F64:
    """Load [T] around 0..1: a part that never sleeps plus a daily bump, smaller at weekends, with slow noise."""
    hour = (t % DAY) / 3600
    bump = np.exp(2.2 * (np.cos(2 * np.pi * (hour - service.peak) / 24) - 1))
    weekend = np.where((t - _MONDAY) % WEEK >= 5 * DAY, service.weekend, 1.0)
    swing = (1 - service.night) * bump * weekend * (1 + 0.05 * dice.smooth("day", t, 6 * 3600))
    calm: F64 = service.night * (1 + 0.03 * dice.smooth("calm", t, 3600))
    return calm + swing


def _cpu(dice: _Dice, service: Service, t: I64, load: F64, age: F64) -> F64:
    """Cores [T]; a pod that just started works to fill its caches."""
    noise = 0.025 * dice.smooth("cpu", t, 900) + 0.02 * dice.normal("cpu/white", t)
    skew = 1 + 0.04 * float(dice.normal("skew", np.zeros(1, np.int64))[0])
    start = 0.5 * np.exp(-age / 90)
    busy: F64 = service.cpu * (load * skew * (1 + noise) + start)
    return busy


def _memory(dice: _Dice, service: Service, t: I64, load: F64, age: F64) -> F64:
    """Bytes [T]: a base, what requests hold, caches that fill within half an hour, a leak."""
    noise = 0.006 * dice.smooth("memory", t, 1800) + 0.003 * dice.normal("memory/white", t)
    caches = 0.06 * (1 - np.exp(-age / 600))
    share = 0.65 + 0.2 * load + caches + service.leak * age / 3600
    held: F64 = service.memory * share * (1 + noise)
    return held


def _bursts(dice: _Dice, t: I64) -> F64:
    """Extra load [T] of short bursts: one to two minutes, up to 0.8 of full load."""
    out = np.zeros(t.shape)
    for back in (0, 1):  # a burst may reach into the next slot
        slot = t // _BURST_SLOT - back
        begin = slot * _BURST_SLOT + (dice.uniform("burst/at", slot) * _BURST_SLOT).astype(np.int64)
        length = 60 + dice.uniform("burst/length", slot) * 60
        on = (dice.uniform("burst", slot) < _BURST_PROBABILITY) & (t >= begin) & (t < begin + length)
        out += on * (0.3 + 0.5 * dice.uniform("burst/height", slot))
    return out


def _deploys(dice: _Dice, first: int, last: int) -> I64:
    """Times of the rollouts that matter between ``first`` and ``last``: working hours, Monday to Thursday."""
    weeks = np.arange((first - _MONDAY) // WEEK - _DEPLOY_WEEKS - 1, (last - _MONDAY) // WEEK + 1, dtype=np.int64)
    on = (dice.uniform("deploy", weeks) < _DEPLOY_PROBABILITY) | (weeks % _DEPLOY_WEEKS == dice.key % _DEPLOY_WEEKS)
    day = (dice.uniform("deploy/day", weeks) * 4).astype(np.int64)
    second = (8 * 3600 + dice.uniform("deploy/second", weeks) * 8 * 3600).astype(np.int64)
    times: I64 = (_MONDAY + weeks * WEEK + day * DAY + second)[on]
    return times


def _restarts(dice: _Dice, service: Service, slot: int, first: int, last: int) -> I64:
    """Times at which the pod in ``slot`` crashed or was restarted, from before the oldest rollout that matters."""
    days = np.arange(first // DAY - 7 * (_DEPLOY_WEEKS + 2), last // DAY + 1, dtype=np.int64)
    crashed = dice.uniform("crash", days) < _CRASH_PROBABILITY
    times = [(days * DAY + (dice.uniform("crash/at", days) * DAY).astype(np.int64))[crashed]]
    if service.restart_days:
        times.append(days[days % service.restart_days == 0] * DAY + 3 * 3600 + slot * _TURN_SECONDS)
    return np.concatenate(times)


def _pod_name(dice: _Dice, service: Service, deploy: int, slot: int) -> str:
    digest = hashlib.blake2b(f"{dice.key}/{deploy}".encode(), digest_size=5).hexdigest()
    suffix = hashlib.blake2b(f"{dice.key}/{deploy}/{slot}".encode(), digest_size=3).hexdigest()[:5]
    return f"{service.container}-{digest}-{suffix}"


class _Dice:
    """Random numbers as a hash of (seed, service, what for, time)."""

    def __init__(self, seed: int, service: str) -> None:
        self.prefix = f"{seed}/{service}/"
        self.key = self._key("")

    def _key(self, what: str) -> int:
        return int.from_bytes(hashlib.blake2b((self.prefix + what).encode(), digest_size=8).digest(), "little")

    def _bits(self, what: str, n: I64) -> U64:
        return _mix(_mix(n.astype(np.uint64)) ^ np.uint64(self._key(what)))

    def uniform(self, what: str, n: I64) -> F64:
        """In [0, 1), one per integer of ``n``."""
        return (self._bits(what, n) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, what: str, n: I64) -> F64:
        """Mean 0, deviation 1, within +-3.5: the sum of four uniform numbers (Irwin-Hall)."""
        bits = self._bits(what, n)
        total = sum(((bits >> np.uint64(16 * i)) & np.uint64(0xFFFF)).astype(np.float64) for i in range(4))
        deviates: F64 = (total / 2.0**16 - 2.0 + 2.0**-15) * np.sqrt(3.0)
        return deviates

    def smooth(self, what: str, t: I64, period: int) -> F64:
        """Noise that changes over ``period`` seconds: normal numbers on a lattice, joined by smooth steps."""
        knot = t // period
        unique, where = np.unique(np.concatenate([knot, knot + 1]), return_inverse=True)
        level = self.normal(what, unique)[where]
        before, after = level[: t.size], level[t.size :]
        part = (t % period) / period
        joined: F64 = before + (after - before) * part * part * (3 - 2 * part)
        return joined


def _mix(x: U64) -> U64:
    """splitmix64 (Steele, Lea and Flood, 2014): 64 bits in, 64 well mixed bits out."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: U64 = x ^ (x >> np.uint64(31))
    return mixed
