"""What a fleet knows of a series that nobody has seen yet: how its scale lies to its level, how large errors get.

Both are measured, not assumed: series of the fleet are walked through as if they had just begun, from many starts, by
the very functions that serve newcomers. The threshold of an age, as a multiple of a series' own level of errors, is
what all but a small share of the walks stay below, persistence included, while they are of that age.
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

from anomaly_models.exceptions import PackRejectedError, UntrainableError
from anomaly_models.frame import F32, I64, Bool, Scorer
from anomaly_models.model_spec import ModelSpec
from anomaly_models.scaling import UNSEEN, Scaler, ScalerKind

from .newcomers import LADDER, Beginning, Rules, begin, errors_of
from .scorer import Shared

F64 = npt.NDArray[np.float64]

SHARE = 0.05
"""Share of newcomers that may raise a false alert during a walk; an age has the part of it that it lasts ..."""
LEAST_SHARE = 0.005
"""... but not less than this: beyond, a single wild series of the fleet would blind all that are to come."""
PERSISTENCE = 3
"""Fewest errors in a row that a newcomer's alert needs: single samples of unknown series say too little."""
TRUST = 4.0
"""Errors that count as much as what the fleet says of their level."""
MOST_WALKS = 512
"""Walks that a prior is measured by; each judges as many windows as the ladder is long."""
LONGEST = LADDER[-1] * 4 // 3
"""Steps of a walk: the last step of the ladder is measured over a third of it."""
MAX_FEATURES = 1 << 12
"""Most features of a prior that is read back."""
LARGEST = 1e12
"""Largest threshold or scale that is read back."""
FIELDS = (
    "levels",
    "minimum_relative_scale",
    "minimum_scale",
    "relative",
    "scaler",
    "series",
    "spread",
    "thresholds",
    "walks",
)


@dataclass(frozen=True)
class Prior:
    """What a newcomer is judged by: the scaler's rules, and per feature and age what the fleet was like.

    ``relative`` [F]: median scale over level, -1 = unknown. Per step of :data:`LADDER`: ``levels``, the median level of
    errors of the fleet, in scaler units, and ``thresholds``, in multiples of a series' level. ``spread``: standard
    deviation of the walks' errors; it all rests on so many ``series`` and ``walks``.
    """

    scaler: ScalerKind
    minimum_scale: float
    minimum_relative_scale: float
    relative: tuple[float, ...]
    levels: tuple[float, ...]
    thresholds: tuple[float, ...]
    spread: float
    series: int
    walks: int

    def rules(self, min_features: int = 1, tail: int = 1) -> Rules:
        """How newcomers are scaled."""
        relative = tuple(math.nan if r < 0 else r for r in self.relative)
        return Rules(self.scaler, self.minimum_scale, self.minimum_relative_scale, relative, min_features, tail)

    def threshold(self, learned: npt.NDArray[np.integer], begun: Beginning) -> F64:
        """Thresholds [S], scaler units, of series that so many samples [S] (steps of the ladder) are known of."""
        at = np.searchsorted(np.array(LADDER), np.maximum(learned, LADDER[0]), side="right") - 1
        out: F64 = np.array(self.thresholds)[at] * mixed(begun, np.array(self.levels)[at])
        return out

    @property
    def widest(self) -> float:
        """Threshold of a series of which nothing is known but its age."""
        return self.thresholds[0] * self.levels[0]

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
        relative, levels, thresholds = (data[name] for name in ("relative", "levels", "thresholds"))
        for name, many in (("relative", relative), ("levels", levels), ("thresholds", thresholds)):
            if not isinstance(many, list) or not 1 <= len(many) <= MAX_FEATURES:
                raise PackRejectedError(f"{name} of a prior must be a list, received {_short(many)}")
        numbers = [data["minimum_scale"], data["minimum_relative_scale"], data["spread"], *levels, *thresholds]
        if not all(_number(n, 0.0) for n in numbers) or not all(_number(r, -1.0) for r in relative):
            raise PackRejectedError(f"a prior holds finite numbers up to {LARGEST:g}, received {_short(data)}")
        counts = [data["series"], data["walks"]]
        if not all(type(c) is int and 0 < c < 2**31 for c in counts) or data["minimum_scale"] == 0:
            raise PackRejectedError(f"a prior rests on some series and a positive scale, received {_short(data)}")
        if data["scaler"] not in get_args(ScalerKind) or {len(levels), len(thresholds)} != {len(LADDER)}:
            raise PackRejectedError(f"a prior has a scaler and {len(LADDER)} thresholds, received {_short(data)}")
        if features is not None and len(relative) != features:
            raise PackRejectedError(f"expected a prior of {features} features, received {len(relative)}")
        lists = {"relative": relative, "levels": levels, "thresholds": thresholds}
        return cls(**{**data, **{name: tuple(map(float, many)) for name, many in lists.items()}})


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
        for i, (row, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            starts = row + np.flatnonzero(seen[row : max(end - LADDER[1], row), i])
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
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = scales.scale / np.abs(scales.center)
    ratio = np.where((scales.scale < UNSEEN) & np.isfinite(ratio), ratio, np.nan).astype(np.float64)
    relative = tuple(float(np.median(r[np.isfinite(r)])) if np.isfinite(r).any() else math.nan for r in ratio.T)
    rules = Rules(spec.scaler, spec.minimum_scale, spec.minimum_relative_scale, relative, spec.min_features, spec.tail)
    steps = max(persistence, PERSISTENCE)
    levels, thresholds, spreads = [], [], []
    for first, last in pairwise((*LADDER, LONGEST)):
        born = np.zeros(walks.x.shape[1], np.int64)
        begun = begin(base, walks.x[:first], walks.valid[:first], born, rules)
        # Windows of this age reach back over what was learned, never over what comes later.
        lead = max(first - base.window + 1, 0)
        part = walks.x[lead:last], walks.valid[lead:last]
        errors = errors_of(Shared(base, begun.scaler), *part, born, rules)[first - lead :]
        spreads.append(errors[np.isfinite(errors)])
        known = begun.level[begun.count > 0]
        levels.append(float(np.exp(np.log(known).mean())) if known.size else math.nan)
        held = _held(errors, steps)
        peaks = np.where(np.isnan(held), -np.inf, held).max(axis=0, initial=-np.inf) / mixed(begun, levels[-1])
        peaks = peaks[np.isfinite(peaks)]
        allowed = max(SHARE * (last - first) / (LONGEST - LADDER[0]), LEAST_SHARE)
        thresholds.append(float(np.quantile(peaks, 1 - allowed, method="higher")) if peaks.size else math.nan)
    seen = np.concatenate(spreads)
    if not np.isfinite(thresholds).any():
        raise UntrainableError("no_errors", "a prior needs at least one beginning of a series that can be scored")
    return Prior(
        spec.scaler,
        spec.minimum_scale,
        spec.minimum_relative_scale,
        relative=tuple(-1.0 if math.isnan(r) else r for r in relative),
        levels=_filled(levels),
        thresholds=_filled(thresholds),
        spread=float(seen.astype(np.float64).std()),
        series=int(scales.scale.shape[0]),
        walks=int(walks.x.shape[1]),
    )


def mixed(begun: Beginning, fleet: npt.ArrayLike) -> F64:
    """Levels of errors [S]: geometric mean of a series' own and the ``fleet``'s, n errors against :data:`TRUST`."""
    own = np.where(begun.count > 0, begun.level, 1.0)
    weight = begun.count / (begun.count + TRUST)
    out: F64 = np.exp(weight * np.log(own) + (1 - weight) * np.log(np.asarray(fleet, np.float64)))
    return out


def _held(errors: F32, persistence: int) -> F32:
    """Smallest of every ``persistence`` errors in a row [A, N]: what alerts are judged by; NaN until complete."""
    held = errors.copy()
    for back in range(1, persistence):
        held[back:] = np.minimum(held[back:], errors[:-back])
    held[: persistence - 1] = np.nan
    return held


def _filled(measured: list[float]) -> tuple[float, ...]:
    """What was measured per age; an age that nothing was measured for has that of its nearest neighbour."""
    known = np.flatnonzero(np.isfinite(measured))
    return tuple(measured[known[np.abs(known - i).argmin()]] for i in range(len(measured)))


def _number(value: object, least: float) -> bool:
    return type(value) in (int, float) and least <= value <= LARGEST  # type: ignore[operator]


def _short(data: object) -> str:
    return json.dumps(data, default=str)[:120]
