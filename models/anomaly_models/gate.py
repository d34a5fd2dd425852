"""The promotion gate: whether a newly trained model may take the place of the one in force.

Both replay the newest held-out days side by side and judge the same injected anomalies. The new one is promoted if it
raises hardly more alerts, catches hardly less and has not become blind by a wider threshold, beside the model in force
and beside those of a week and of a month ago: a thousand small steps are one large one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from . import proving
from .frame import F32, I64
from .injection import Case
from .proving import Contender, Ground, Proof, Rules
from .scaling import UNSEEN
from .thresholds import ThresholdStack, adaptive

F64 = npt.NDArray[np.float64]
Decision = Literal["promoted", "rejected"]

DAY: Final = 86_400
LOOKS_BACK: Final = {"week": 7 * DAY, "month": 30 * DAY}
"""How far the gate looks back, beside the model in force: small steps add up."""
REASONS: Final = ("alerts", "recall", "threshold", "erosion", "insane")
"""Why a model is rejected: it alerts more; it catches less; its threshold is wider; it catches less, or is wider,
than a week or a month ago; it alerts most of the time (a first model, which has nothing to be compared with)."""
EROSION: Final = 2.0
"""Earlier, other anomalies were injected into other samples, so the loss that is tolerated is this much larger."""
SETTLED: Final = 2 * DAY
"""Age from which on a point is looked back to: in its first days a threshold finds its place."""
EVERY: Final = 2 * DAY
"""Distance of two points of the course."""
KEPT: Final = 32 * DAY
"""Age up to which points of the course are kept: one is always about a month old."""
INSANE: Final = 0.5
"""Share of the time in alert from which on a first model is not put in force."""


@dataclass(frozen=True)
class GateSpec:
    """Bounds of the gate; field for field the `gate` section of the configuration.

    ``replay``: seconds of newest held-out data; ``more_alerts``: notifications that a new model may raise beyond those
    of the model in force in that time; ``recall_loss``: largest loss of injected recall; ``threshold_ratio``: how many
    times wider the threshold may be, in local variations; ``patience``: rejections in a row until a new model wins
    that is better on the newest day; ``amplitudes`` of the injected anomalies in local variations.
    """

    enabled: bool = True
    replay: int = 3 * DAY
    more_alerts: int = 2
    recall_loss: float = 0.15
    threshold_ratio: float = 1.5
    patience: int = 12
    amplitudes: tuple[float, ...] = (4.0, 8.0, 16.0)


@dataclass(frozen=True)
class Point:
    """What was in force at data time ``at``: width of its threshold in local variations, and its injected recall."""

    at: int
    width: float
    recall: float | None

    def to_json(self) -> list[Any]:
        return [self.at, self.width, self.recall]

    @classmethod
    def from_json(cls, data: object) -> Point | None:
        """A point that :meth:`to_json` wrote; None for anything else."""
        match data:
            case [int(at), int() | float() as width, (int() | float() | None) as recall] if width > 0:
                return cls(at, float(width), None if recall is None else float(recall))
        return None


@dataclass(frozen=True)
class Measures:
    """What one model of one entity did on the ground.

    ``alerts``: notifications of the whole replay, ``newest_alerts``: of its newest day; ``share`` of the scored time in
    alert; ``width``: threshold in local variations, the geometric mean over features; ``recall`` of the injected
    anomalies and median ``delay`` in seconds of those that were caught, None where too few could be injected;
    ``shapes``: caught and injected ones, and the median delay, by shape.
    """

    alerts: int
    newest_alerts: int
    weeks: float
    share: float
    width: float
    recall: float | None = None
    delay: float | None = None
    shapes: dict[str, tuple[int, int, float | None]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        shapes = {shape: list(found) for shape, found in self.shapes.items()}
        return {
            "alerts": self.alerts,
            "weeks": round(self.weeks, 4),
            "share": round(self.share, 4),
            "width": self.width,
            "recall": self.recall,
            "delay": self.delay,
            "shapes": shapes,
        }


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one entity's new model.

    ``reason`` is one of :data:`REASONS` for a rejection; for a promotion ``first``, ``bounds`` or ``stuck``. ``detail``
    says it in words with the figures. ``shift``: width of the threshold over that of the model in force (``current``)
    and of a week and a month ago (``week``, ``month``), where there are such. ``rejections`` in a row, this one
    included. ``course`` is what the generation remembers from now on.
    """

    decision: Decision
    reason: str
    detail: str
    candidate: Measures
    current: Measures | None
    shift: dict[str, float]
    rejections: int
    course: tuple[Point, ...]


def decide(  # noqa: PLR0917  what is judged, then what is remembered
    spec: GateSpec,
    candidate: Measures,
    current: Measures | None,
    at: int,
    course: Sequence[Point] = (),
    rejections: int = 0,
) -> Verdict:
    """Whether ``candidate`` may take the place of ``current`` (None: there is none) at data time ``at``.

    ``course``: what the model in force remembers; ``rejections`` of earlier candidates in a row.
    """
    past = {name: point for name, age in LOOKS_BACK.items() if (point := _nearest(course, at, age)) is not None}
    shift = {name: candidate.width / point.width for name, point in past.items()}
    if current is not None:
        shift["current"] = candidate.width / current.width

    def verdict(decision: Decision, reason: str, detail: str) -> Verdict:
        promoted = decision == "promoted"
        return Verdict(
            decision,
            reason,
            detail,
            candidate,
            current,
            shift,
            0 if promoted else rejections + 1,
            _continued(course, Point(at, candidate.width, candidate.recall)) if promoted else tuple(course),
        )

    if current is None:
        if candidate.share > INSANE:
            return verdict("rejected", "insane", f"in alert {candidate.share:.0%} of the replay")
        return verdict("promoted", "first", "no model before it")
    found = _objection(spec, candidate, current, past, at)
    if found is None:
        return verdict("promoted", "bounds", "within bounds")
    if rejections + 1 >= spec.patience and better_now(candidate, current):
        return verdict("promoted", "stuck", f"better on the newest day after {rejections} rejections; {found[1]}")
    return verdict("rejected", *found)


def better_now(candidate: Measures, current: Measures) -> bool:
    """Whether ``candidate`` is nowhere worse on the newest data and somewhere better: fewer alerts, more recall.

    A model that alerts all the time catches nothing by this measure: what it alerts of anyway does not count.
    """
    fewer, more = current.newest_alerts - candidate.newest_alerts, _more(candidate.recall, current.recall)
    return fewer >= 0 and more >= 0 and (fewer > 0 or more > 0)


def measure(  # noqa: PLR0917  the order of the data flow
    ground: Ground, contender: Contender, rules: Rules, replay: F32, proof: Proof, cases: Sequence[Case]
) -> list[Measures]:
    """What the models of ``contender`` did on the ground, entity by entity, at their shipped thresholds."""
    alerts = proving.notifications(replay, ground.step)
    newest = proving.notifications(replay[:, -max(DAY // ground.step, 1) :], ground.step)
    scored = np.isfinite(replay)
    with np.errstate(invalid="ignore"):
        share = (replay >= 1).sum(axis=1) / np.maximum(scored.sum(axis=1), 1)
    width = widths(ground, contender, rules)
    delays = proof.delays() * ground.step
    recall = proving.recall(np.isfinite(delays), proof.counted)
    weeks = ground.weeks
    return [
        Measures(
            alerts=int(alerts[s]),
            newest_alerts=int(newest[s]),
            weeks=float(weeks[s]),
            share=float(share[s]),
            width=float(width[s]),
            recall=_number(recall[s]),
            delay=_median(delays[s]),
            shapes=_by_shape(delays[s], proof.counted[s], cases),
        )
        for s in range(len(alerts))
    ]


def recall_within(ground: Ground, replay: F32, proof: Proof, allowed: I64) -> F64:
    """Injected recall of models at the lowest level that sends no more than ``allowed`` [S] notifications, [S].

    So a baseline and a model are compared at an equal number of alerts, whatever their thresholds are.
    """
    level = proving.level_for(replay, ground.step, allowed)
    return proving.recall(proof.caught(level), proof.counted)


def recall_at_budget(ground: Ground, contender: Contender, rules: Rules, cases: Sequence[Case]) -> F64:
    """Injected recall of models at the lowest level that keeps the budget on the ground, [S]; NaN where it is unknown.

    The budget of a replay that is shorter than a week is rounded down: less than one notification is none.
    """
    replay = ground.replay(contender, rules)
    trials = ground.trials(np.isfinite(replay), cases, ground.lead)
    proof = proving.prove(ground, contender, rules, replay, trials)
    allowed = np.floor(np.broadcast_to(rules.budget, ground.weeks.shape) * ground.weeks).astype(np.int64)
    return recall_within(ground, replay, proof, allowed)


def widths(ground: Ground, contender: Contender, rules: Rules) -> F64:
    """Threshold of every entity at the end of the ground in local variations, geometric mean over features, [S].

    So it says how large the smallest deviation is that can be seen, whatever the scale of the model; and a series that
    has become noisier may have a threshold that is wider in its own unit.
    """
    end = ground.start + ground.step * (len(ground.x) - 1)
    now = adaptive(ThresholdStack.of(contender.inputs), rules.threshold, end).threshold[:, -1]
    scale = contender.scorer.scale.astype(np.float64)
    known = (scale < UNSEEN) & (scale > 0)
    ratio = np.where(known, scale, 1.0) / ground.size
    mean = np.where(known, np.log(ratio), 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.asarray(np.clip(now * np.exp(mean), 1e-12, 1e12))


def _objection(
    spec: GateSpec, candidate: Measures, current: Measures, past: Mapping[str, Point], at: int
) -> tuple[str, str] | None:
    """The first bound that ``candidate`` breaks, in words too; None when it keeps all.

    A wider threshold alone breaks none: it must cost recall, or come with more alerts.
    """
    if candidate.alerts > current.alerts + spec.more_alerts:
        return "alerts", f"{candidate.alerts} notifications in the replay, the model in force {current.alerts}"
    caught = f"catches {_percent(candidate.recall)} of the injected anomalies"
    lost = _more(current.recall, candidate.recall)
    if lost > spec.recall_loss:
        return "recall", f"{caught}, the model in force {_percent(current.recall)}"
    wider = candidate.width / current.width
    if wider > spec.threshold_ratio and (lost > 0 or candidate.alerts > current.alerts):
        return "threshold", f"its threshold is {wider:.1f} times wider than that of the model in force"
    for before in past.values():
        lost = _more(before.recall, candidate.recall)
        if lost > EROSION * spec.recall_loss:
            return "erosion", f"{caught}, {_days(before, at)} days ago {_percent(before.recall)}"
        wider = candidate.width / before.width
        if wider > spec.threshold_ratio and lost > 0:
            return "erosion", f"its threshold is {wider:.1f} times wider than {_days(before, at)} days ago"
    return None


def _nearest(course: Sequence[Point], at: int, age: int) -> Point | None:
    """The point nearest to ``age`` seconds before ``at``, of those two days old or older, but not much older."""
    old = [p for p in course if SETTLED <= at - p.at <= 1.5 * age]
    return min(old, key=lambda p: abs(at - p.at - age), default=None)


def _continued(course: Sequence[Point], new: Point) -> tuple[Point, ...]:
    """``course`` with ``new`` at its end: oldest first, half a day or more apart, none older than needed."""
    kept = [p for p in course if new.at - KEPT <= p.at < new.at]
    if len(kept) > 1 and kept[-1].at - kept[-2].at < EVERY:
        kept.pop()  # the newest one moves on until it is far enough from the one before
    return (*kept, new)


def _more(a: float | None, b: float | None) -> float:
    """How much recall ``a`` has more than ``b``; 0 where one is unknown."""
    return 0.0 if a is None or b is None else a - b


def _days(before: Point, at: int) -> int:
    return round((at - before.at) / DAY)


def _percent(recall: float | None) -> str:
    return "nobody knows how much" if recall is None else f"{recall:.0%}"


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _median(values: F64) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def _by_shape(
    delays: F64, counted: npt.NDArray[np.bool_], cases: Sequence[Case]
) -> dict[str, tuple[int, int, float | None]]:
    """Caught and injected anomalies and the median delay by shape, of one entity's trials [C]."""
    out = {}
    for shape in dict.fromkeys(case.shape for case in cases):
        of = np.array([case.shape == shape for case in cases]) & counted
        if of.any():
            out[shape] = (int(np.isfinite(delays[of]).sum()), int(of.sum()), _median(delays[of]))
    return out
