"""When an error is too large: base thresholds, and the adaptive threshold that remembers earlier ones.

A *generation* measures ``R``, the base threshold on its newest held-out errors. ``P`` is the mean of what earlier
generations measured, re-expressed on the new model's scale. The adaptive threshold lies between them and moves from P
to R as time passes. Its inputs are immutable and stored with the generation; ``T(now)`` is computed from them, so that
a restart changes nothing. See docs/thresholds.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import budget
from .budget import BudgetSpec
from .exceptions import PackRejectedError, UntrainableError
from .frame import I64, Bool

F64 = npt.NDArray[np.float64]
Method = Literal["budget", "mean_std", "mad", "p95", "p99"]
MAX_EARLIER = 256
"""Most earlier generations that are read back."""
MAX_VALUE = 1e12
"""Largest threshold or spread that is read back, in scaler units."""
MAX_TIME = 2**53
"""Largest data time that is read back: JSON numbers are exact up to here."""


@dataclass(frozen=True)
class ThresholdSpec:
    """How errors become a threshold; field for field the `threshold` section of the configuration.

    ``half_life`` and ``recent`` are seconds of data time, ``floor`` and ``ceiling`` scaler units, ``largest_step`` a
    share of the previous generation's threshold, ``largest_rise`` a share of the threshold per day (base ``budget``).
    ``budget`` says what ``base`` ``budget`` allows; it is not of that section and may differ between entities.
    """

    base: Method = "budget"
    k: float = 5.0
    mode: Literal["decay", "literal"] = "decay"
    weighting: Literal["inverse_variance", "sigma"] = "inverse_variance"
    half_life: float = 24 * 3600
    recent: float = 24 * 3600
    floor: float = 0.05
    ceiling: float | None = None
    largest_step: float | None = None
    largest_rise: float = 0.5
    budget: BudgetSpec = field(default_factory=BudgetSpec)

    def __post_init__(self) -> None:
        if self.base not in METHODS:
            raise ValueError(f"base must be one of {', '.join(METHODS)}, received {self.base!r}")
        if not self.floor > 0 or not self.half_life > 0:
            raise ValueError(f"floor and half_life must be positive, received {self.floor} and {self.half_life}")
        if not self.largest_rise > 0:
            raise ValueError(f"largest_rise must be positive, received {self.largest_rise}")
        if self.ceiling is not None and self.ceiling < self.floor:
            raise ValueError(f"ceiling must not be below the floor of {self.floor}, received {self.ceiling}")


def _mean_std(errors: F64, k: float) -> float:
    return float(errors.mean() + k * errors.std())


def _median_mad(errors: F64, k: float) -> float:
    median = np.median(errors)
    return float(median + k * np.median(np.abs(errors - median)))


FORMULAS: dict[Method, Callable[[F64, float], float]] = {
    "mean_std": _mean_std,
    "mad": _median_mad,
    "p95": lambda errors, _: float(np.percentile(errors, 95)),
    "p99": lambda errors, _: float(np.percentile(errors, 99)),
}
"""Base thresholds that need no order of the errors, by name: (finite errors, k) -> threshold."""
METHODS: tuple[Method, ...] = ("budget", *FORMULAS)


def base_threshold(errors: npt.ArrayLike, method: Method, k: float, allowed: BudgetSpec | None = None) -> float:
    """Base threshold of held-out ``errors`` (any shape, NaN ignored), in the errors' unit.

    ``mean_std``: mean + k standard deviations (of the population). ``mad``: median + k MAD, where MAD is the plain
    median of |error - median|, not multiplied by 1.4826. ``p95``, ``p99``: percentiles; ``k`` plays no part.
    ``budget``: :func:`anomaly_models.budget.calibrate` for ``allowed``; the errors are then those of consecutive
    instants, NaN where there is none.

    Raises:
        UntrainableError: no error is finite.
    """
    values = np.asarray(errors, np.float64).ravel()
    if method == "budget":
        return budget.calibrate(values, allowed or BudgetSpec()).threshold
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise UntrainableError("no_errors", "a threshold needs at least one held-out window that can be scored")
    return FORMULAS[method](values, k)


@dataclass(frozen=True)
class Recent:
    """One generation's measurement: base threshold ``value`` and spread ``sigma`` of its errors, both in scaler units.

    ``at`` is the data time of the newest held-out sample it was taken from.
    """

    at: int
    value: float
    sigma: float


def measure(errors: npt.NDArray[np.floating], end: I64, spec: ThresholdSpec, undetected: Bool | None = None) -> Recent:
    """R: base threshold of the newest ``spec.recent`` seconds of held-out ``errors`` [B] that end at ``end`` [B].

    Windows that were detected as anomalous (False in ``undetected``) do not raise the threshold. Where none is left
    without them, all count: a model that objects to everything must be able to learn a new level.

    Raises:
        UntrainableError: no error is finite.
    """
    scored = np.isfinite(errors)
    if not scored.any():
        raise UntrainableError("no_errors", "a threshold needs at least one held-out window that can be scored")
    at = int(end[scored].max())
    newest = scored & (end > at - spec.recent)
    calm = newest if undetected is None else newest & undetected
    chosen = np.asarray(errors[calm if calm.any() else newest], np.float64)
    return Recent(at, base_threshold(chosen, spec.base, spec.k), float(chosen.std()))


@dataclass(frozen=True)
class ThresholdInputs:
    """All that T(now) of one entity is computed from. ``earlier`` ones are already on this model's scale."""

    recent: Recent
    earlier: tuple[Recent, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"recent": _to_list(self.recent), "earlier": [_to_list(r) for r in self.earlier]}

    @classmethod
    def from_json(cls, data: object) -> ThresholdInputs:
        """Read back what ``to_json`` wrote.

        Raises:
            PackRejectedError: anything is missing, too much, not finite, negative or beyond its cap.
        """
        if not isinstance(data, dict) or set(data) != {"recent", "earlier"} or not isinstance(data["earlier"], list):
            raise PackRejectedError(f"threshold inputs need recent and a list earlier, received {_short(data)}")
        if len(data["earlier"]) > MAX_EARLIER:
            raise PackRejectedError(f"at most {MAX_EARLIER} earlier thresholds, received {len(data['earlier'])}")
        return cls(_from_list(data["recent"]), tuple(_from_list(r) for r in data["earlier"]))


def _to_list(recent: Recent) -> list[float]:
    return [recent.at, recent.value, recent.sigma]


def _from_list(data: object) -> Recent:
    expected = f"a threshold is [data time, value, sigma], finite, from 0 to {MAX_VALUE:g}"
    if not isinstance(data, list) or len(data) != 3:
        raise PackRejectedError(f"{expected}; received {_short(data)}")
    at, value, sigma = data
    if type(at) is not int or not 0 <= at <= MAX_TIME:
        raise PackRejectedError(f"data time of a threshold must be whole seconds, received {_short(at)}")
    for number in (value, sigma):
        if type(number) not in (int, float) or not 0 <= number <= MAX_VALUE:
            raise PackRejectedError(f"{expected}; received {_short(data)}")
    return Recent(at, float(value), float(sigma))


def _short(data: object) -> str:
    return json.dumps(data, default=str)[:120]


def re_express(earlier: Iterable[Recent], ratio: float) -> tuple[Recent, ...]:
    """Earlier thresholds on the scale of a new model.

    ``ratio`` is the new model's base threshold over the old one's on the held-out interval they have in common: an
    error of 1 with the old model is an error of ``ratio`` with the new one.

    Raises:
        ValueError: ``ratio`` is not positive and finite; such models cannot be compared, start without a past.
    """
    if not (ratio > 0 and math.isfinite(ratio)):
        raise ValueError(f"the ratio of two thresholds must be positive and finite, received {ratio}")
    return tuple(replace(r, value=r.value * ratio, sigma=r.sigma * ratio) for r in earlier)


def history_after(previous: ThresholdInputs, ratio: float, keep: int) -> tuple[Recent, ...]:
    """What the generation after ``previous`` remembers: its newest ``keep`` thresholds on the new scale, newest first.

    Raises:
        ValueError: as ``re_express``.
    """
    past = sorted((previous.recent, *previous.earlier), key=lambda r: r.at, reverse=True)
    return re_express(past[:keep], ratio)


@dataclass(frozen=True)
class ThresholdStack:
    """Threshold inputs of S entities as arrays: recent ones [S], earlier ones [S, G].

    Rows with fewer than G earlier ones are padded with the data time -inf and value and sigma 0.
    """

    at: F64
    value: F64
    sigma: F64
    earlier_at: F64
    earlier_value: F64
    earlier_sigma: F64

    @classmethod
    def of(cls, inputs: Sequence[ThresholdInputs]) -> ThresholdStack:
        """Stack the inputs in the order given."""
        recent = np.array([_to_list(i.recent) for i in inputs], np.float64).reshape(len(inputs), 3)
        most = max((len(i.earlier) for i in inputs), default=0)
        earlier = np.zeros((len(inputs), most, 3))
        earlier[:, :, 0] = -np.inf
        for row, i in enumerate(inputs):
            if i.earlier:
                earlier[row, : len(i.earlier)] = [_to_list(r) for r in i.earlier]
        return cls(*(recent[:, c] for c in range(3)), *(earlier[:, :, c] for c in range(3)))

    def take(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> ThresholdStack:
        """The entities at ``rows``, in that order."""
        index = np.asarray(rows, np.intp)
        return ThresholdStack(
            self.at[index],
            self.value[index],
            self.sigma[index],
            self.earlier_at[index],
            self.earlier_value[index],
            self.earlier_sigma[index],
        )

    def __len__(self) -> int:
        return int(self.at.shape[0])


@dataclass(frozen=True)
class Parts:
    """The adaptive threshold and what it was made of.

    ``threshold`` and ``decay`` (E) are [S, B], the others [S], all in scaler units except ``weight`` (w, the share of P
    by spread) and ``decay``. ``previous``, ``previous_sigma``, ``weight`` and ``decay`` are NaN for an entity without
    earlier generations.
    """

    threshold: F64
    previous: F64
    recent: F64
    previous_sigma: F64
    recent_sigma: F64
    weight: F64
    decay: F64


def adaptive(inputs: ThresholdStack, spec: ThresholdSpec, now: I64 | int) -> Parts:
    """T at data times ``now``: [S, B], or one int for all entities (then B = 1).

    ``P`` is the mean of the earlier thresholds weighted by 2^(-age / half-life), age counted back from the newest
    measurement R; its sigma is the root of their equally weighted mean variance. With t the data time since the newest
    earlier one, E = 2^(-t / half-life), and w the share of P by spread (0.5 when both sigmas are 0):

    * ``decay``:   T = R + E w (P - R)
    * ``literal``: T = (1 - E) (w P + (1 - w) R) + E R, the source formula as written

    Without earlier thresholds T = R. Then floor and ceiling; then the largest relative step away from the newest
    earlier threshold (itself brought between floor and ceiling, so the step can never break them).
    """
    times = np.asarray(now, np.float64)
    if times.ndim == 0:
        times = np.broadcast_to(times, (len(inputs), 1))
    recent, sigma = inputs.value[:, None], inputs.sigma[:, None]
    if inputs.earlier_at.shape[1] == 0:
        none = np.full(len(inputs), np.nan)
        threshold = _between(np.broadcast_to(recent, times.shape), spec)
        return Parts(threshold, none, inputs.value, none, inputs.sigma, none, np.full(times.shape, np.nan))
    previous, previous_sigma, newest_at, newest = _previous(inputs, spec.half_life)
    weight = _weight(previous_sigma, inputs.sigma, spec.weighting)
    decay = np.exp2(-np.maximum(times - newest_at[:, None], 0.0) / spec.half_life)
    share = (decay if spec.mode == "decay" else 1.0 - decay) * weight[:, None]
    with_previous = recent + share * (previous[:, None] - recent)
    # fmin and fmax take R where there is no P (NaN), and keep a rounding error from leaving [P, R].
    low, high = np.fmin(previous[:, None], recent), np.fmax(previous[:, None], recent)
    threshold = _between(np.fmin(np.fmax(with_previous, low), high), spec)
    if spec.largest_step is not None:
        reference = _between(newest, spec)[:, None]
        low, high = reference * (1.0 - spec.largest_step), reference * (1.0 + spec.largest_step)
        threshold = np.fmin(np.fmax(threshold, low), high)  # no reference: NaN, which fmin and fmax ignore
    return Parts(threshold, previous, inputs.value, previous_sigma, sigma[:, 0], weight, decay)


def _previous(inputs: ThresholdStack, half_life: float) -> tuple[F64, F64, F64, F64]:
    """P and its sigma, and time and value of the newest earlier threshold; [S] each, NaN where there is none."""
    newest = inputs.earlier_at.argmax(axis=1)[:, None]
    newest_at = np.take_along_axis(inputs.earlier_at, newest, axis=1)
    newest_value = np.take_along_axis(inputs.earlier_value, newest, axis=1)
    there = newest_at > -np.inf
    # Ages relative to the newest: the common factor cancels in the mean, and old ones cannot vanish all together.
    share = np.exp2((inputs.earlier_at - np.where(there, newest_at, 0.0)) / half_life)
    share /= np.where(there, share.sum(axis=1, keepdims=True), 1.0)
    previous = (share * inputs.earlier_value).sum(axis=1)
    widest = inputs.earlier_sigma.max(axis=1, keepdims=True)  # divided out: squares of tiny spreads would vanish
    narrowed = inputs.earlier_sigma / np.where(widest > 0, widest, 1.0)
    previous_sigma = widest[:, 0] * np.sqrt((share * narrowed * narrowed).sum(axis=1))
    found = there[:, 0]
    previous, previous_sigma, at, value = (
        np.where(found, column, np.nan) for column in (previous, previous_sigma, newest_at[:, 0], newest_value[:, 0])
    )
    return previous, previous_sigma, at, value


def _weight(previous_sigma: F64, recent_sigma: F64, weighting: str) -> F64:
    """w, the share of P by spread, [S]; 0.5 when both sigmas are 0, NaN without P."""
    largest = np.maximum(previous_sigma, recent_sigma)
    p = previous_sigma / np.where(largest > 0, largest, 1.0)  # for the same reason as above
    r = recent_sigma / np.where(largest > 0, largest, 1.0)
    if weighting == "sigma":
        total, part = p + r, p
    else:
        total, part = p * p + r * r, r * r
    return np.where(largest > 0, part / np.where(total > 0, total, 1.0), np.where(np.isnan(largest), np.nan, 0.5))


def _between(threshold: F64, spec: ThresholdSpec) -> F64:
    """``threshold`` brought between floor and ceiling; NaN stays NaN."""
    raised = np.maximum(threshold, spec.floor)
    return raised if spec.ceiling is None else np.minimum(raised, spec.ceiling)
