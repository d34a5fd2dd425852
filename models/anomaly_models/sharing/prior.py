"""What a fleet knows of a series that nobody has seen yet: how its scale lies to its level, how large errors get.

Both are measured, not assumed: series of the fleet are walked through as if they had just begun, from many starts, by
the very functions that serve newcomers. The threshold of an age is the level that all but a small share of the walks
stay below, persistence included, while they are of that age. It is wide where scales rest on few samples, and narrows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from anomaly_models import windows
from anomaly_models.exceptions import PackRejectedError, UntrainableError
from anomaly_models.frame import F32, I64, Bool, Scorer
from anomaly_models.model_spec import ModelSpec
from anomaly_models.scaling import UNSEEN, Scaler, ScalerKind

from .newcomers import LADDER, padded, scale_of
from .scorer import Shared

SHARE = 0.05
"""Share of newcomers that may raise a false alert during a walk; an age has the part of it that it lasts."""
MOST_WALKS = 512
"""Walks that a prior is measured by; each judges as many windows as the ladder is long."""
LONGEST = LADDER[-1] * 4 // 3
"""Steps of a walk: the last step of the ladder is measured over a third of it."""
MAX_FEATURES = 1 << 12
"""Most features of a prior that is read back."""
LARGEST = 1e12
"""Largest threshold or scale that is read back."""
FIELDS = ("minimum_relative_scale", "minimum_scale", "relative", "scaler", "series", "spread", "thresholds", "walks")


@dataclass(frozen=True)
class Prior:
    """What a newcomer is judged by: the scaler's rules, and per feature and age what the fleet was like.

    ``relative`` [F]: median scale over level; ``thresholds``: one per step of :data:`LADDER`, scaler units, never
    rising with age; ``spread``: standard deviation of the walks' errors; it rests on so many ``series`` and ``walks``.
    """

    scaler: ScalerKind
    minimum_scale: float
    minimum_relative_scale: float
    relative: tuple[float, ...]
    thresholds: tuple[float, ...]
    spread: float
    series: int
    walks: int

    def threshold(self, learned: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Threshold of series scaled by so many samples [S] (a step of the ladder); the widest below its first."""
        at = np.searchsorted(np.array(LADDER), np.maximum(learned, LADDER[0]), side="right") - 1
        out: npt.NDArray[np.float64] = np.array(self.thresholds, np.float64)[at]
        return out

    def scale_of(self, values: F32) -> Scaler:
        """Centre and scale of series from few samples [S, T, F]; see ``newcomers.scale_of``."""
        relative = [math.nan if r < 0 else r for r in self.relative]
        return scale_of(values, self.scaler, self.minimum_scale, self.minimum_relative_scale, relative)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in FIELDS}

    @classmethod
    def from_json(cls, data: object, features: int | None = None) -> Prior:
        """Read back what ``to_json`` wrote, of ``features`` if given.

        Raises:
            PackRejectedError: anything is missing, too much, not finite or beyond its cap.
        """
        if not isinstance(data, Mapping) or sorted(data) != list(FIELDS):
            raise PackRejectedError(f"a prior has the fields {FIELDS}, received {_short(data)}")
        relative, thresholds = data["relative"], data["thresholds"]
        for name, many in (("relative", relative), ("thresholds", thresholds)):
            if not isinstance(many, list) or not 1 <= len(many) <= MAX_FEATURES:
                raise PackRejectedError(f"{name} of a prior must be a list, received {_short(many)}")
        numbers = [data["minimum_scale"], data["minimum_relative_scale"], data["spread"], *thresholds]
        if not all(_number(n, 0.0) for n in numbers) or not all(_number(r, -1.0) for r in relative):
            raise PackRejectedError(f"a prior holds finite numbers up to {LARGEST:g}, received {_short(data)}")
        counts = [data["series"], data["walks"]]
        if not all(type(c) is int and 0 < c < 2**31 for c in counts) or data["minimum_scale"] == 0:
            raise PackRejectedError(f"a prior rests on some series and a positive scale, received {_short(data)}")
        if data["scaler"] not in get_args(ScalerKind) or len(thresholds) != len(LADDER):
            raise PackRejectedError(f"a prior has a scaler and {len(LADDER)} thresholds, received {_short(data)}")
        if features is not None and len(relative) != features:
            raise PackRejectedError(f"expected a prior of {features} features, received {len(relative)}")
        fields = {**data, "relative": tuple(map(float, relative)), "thresholds": tuple(map(float, thresholds))}
        return cls(**fields)


@dataclass(frozen=True)
class Walks:
    """Beginnings of series as they would be seen: ``x`` and ``valid`` [A, N, F] from the first sample on, bridged."""

    x: F32
    valid: Bool

    @classmethod
    def of(cls, x: F32, valid: Bool, first: I64, last: I64, most: int = MOST_WALKS) -> Walks:
        """Up to ``most`` walks over ``x`` and ``valid`` [T, N, F], evenly spread over rows ``first`` to ``last`` [N].

        A walk begins where something was observed; what lies behind ``last`` is missing in it. Only starts that leave
        room for the first judgements count.
        """
        per_series = max(most // max(len(first), 1), 1)
        seen: Bool = np.asarray(valid.any(axis=2))
        chosen: list[tuple[int, int]] = []
        for i, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            starts = begin + np.flatnonzero(seen[begin : max(end - LADDER[1], begin), i])
            at = np.unique(np.linspace(0, max(starts.size - 1, 0), per_series).astype(np.int64))
            chosen += [(int(starts[k]), i) for k in at if starts.size]
        shape = (LONGEST, len(chosen), x.shape[2])
        out, observed = np.full(shape, np.nan, np.float32), np.zeros(shape, np.bool_)
        for walk, (start, i) in enumerate(chosen):
            rows = min(LONGEST, int(last[i]) - start)
            out[:rows, walk], observed[:rows, walk] = x[start : start + rows, i], valid[start : start + rows, i]
        return cls(out, observed)


def measure(base: Scorer, walks: Walks, scales: Scaler, spec: ModelSpec, persistence: int) -> Prior:
    """The prior of the fleet whose settled ``scales`` [N, F] and beginnings ``walks`` are given.

    Raises:
        UntrainableError: no walk could be judged.
    """
    rules = (spec.scaler, spec.minimum_scale, spec.minimum_relative_scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = scales.scale / np.abs(scales.center)
    ratio = np.where((scales.scale < UNSEEN) & np.isfinite(ratio), ratio, np.nan).astype(np.float64)
    relative = tuple(
        float(np.median(r[np.isfinite(r)])) if np.isfinite(r).any() else -1.0 for r in ratio.T
    )  # -1: the fleet does not know
    known = np.array([math.nan if r < 0 else r for r in relative])
    errors = np.full(walks.x.shape[:2], np.nan, np.float32)
    for begin, end in pairwise((*LADDER, LONGEST)):
        scaler = scale_of(walks.x[:begin].transpose(1, 0, 2), *rules, known)
        errors[begin:end] = _errors(Shared(base, scaler), walks, begin, end, spec)
    held = _held(errors, persistence)
    thresholds: list[float] = []
    for begin, end in pairwise((*LADDER, LONGEST)):
        peaks = np.where(np.isnan(held[begin:end]), -np.inf, held[begin:end]).max(axis=0, initial=-np.inf)
        peaks = peaks[np.isfinite(peaks)]
        allowed = SHARE * (end - begin) / (LONGEST - LADDER[0])
        thresholds.append(float(np.quantile(peaks, 1 - allowed, method="higher")) if peaks.size else math.nan)
    if not np.isfinite(errors).any() or not np.isfinite(thresholds).any():
        raise UntrainableError("no_errors", "a prior needs at least one beginning of a series that can be scored")
    return Prior(
        *rules,
        relative=relative,
        thresholds=_falling(thresholds),
        spread=float(np.nanstd(errors.astype(np.float64))),
        series=int(scales.scale.shape[0]),
        walks=int(walks.x.shape[1]),
    )


def _errors(shared: Shared, walks: Walks, begin: int, end: int, spec: ModelSpec) -> F32:
    """Errors [end - begin, N] of the windows that end at rows ``begin`` to ``end`` of the walks."""
    behind = max(shared.window - 1 - begin, 0)  # rows before the first sample that the first window reaches back to
    first = max(begin - shared.window + 1, 0)
    x, valid = walks.x[first:end], walks.valid[first:end]
    if behind:
        x = np.concatenate([np.full((behind, *x.shape[1:]), np.nan, np.float32), x])
        valid = np.concatenate([np.zeros((behind, *valid.shape[1:]), np.bool_), valid])
    born = np.full(x.shape[1], behind, np.int64)
    w = windows.make(padded(x, born, shared.scaler.center), valid, 0, 1, shared.window)
    error = shared.infer(w).error
    return np.where(windows.usable(w, spec.min_features, spec.tail), error, np.float32(np.nan)).T


def _held(errors: F32, persistence: int) -> F32:
    """Smallest of every ``persistence`` errors in a row [A, N]: what alerts are judged by; NaN until complete."""
    held = errors.copy()
    for back in range(1, persistence):
        held[back:] = np.minimum(held[back:], errors[:-back])
    held[: persistence - 1] = np.nan
    return held


def _falling(thresholds: list[float]) -> tuple[float, ...]:
    """Thresholds that never rise with age; an age that nothing was measured for has that of the one before."""
    known = np.array(thresholds)
    first = known[np.isfinite(known)][0]
    for i in range(known.size):
        known[i] = known[i] if np.isfinite(known[i]) else (known[i - 1] if i else first)
    return tuple(float(t) for t in np.maximum.accumulate(known[::-1])[::-1])


def _number(value: object, least: float) -> bool:
    return type(value) in (int, float) and least <= value <= LARGEST  # type: ignore[operator]


def _short(data: object) -> str:
    return json.dumps(data, default=str)[:120]
