"""What training learns of series beside their models: how long they stand still, how they grow, since when they are
what they are.

A pure function of history. It travels with the models as JSON, is given to the detector as signs, and costs serving
nothing: slopes over days would need days of samples in memory, while a trend of days is no other two hours later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import cleaning, level_change, stillness, trend
from .cleaning import CleaningSpec
from .frame import Block, Bool
from .regime import RegimeSpec
from .stillness import Limits

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Habits:
    """Of N entities with F features. ``limits``: of standing still. ``slope`` [N, F]: own units per second, NaN =
    unknown; ``leak`` [N, F]: grows steadily. ``regime`` [N]: data time when the regime began that the newest sample
    belongs to, NaN where it never changed.
    """

    limits: Limits
    slope: F64
    leak: Bool
    regime: F64

    @classmethod
    def none(cls, series: int, features: int) -> Habits:
        """Nothing is known of anybody."""
        unknown = np.full((series, features), np.nan)
        return cls(
            Limits.none(series, features), unknown, np.zeros((series, features), np.bool_), np.full(series, np.nan)
        )

    def to_json(self) -> list[dict[str, Any]]:
        """One JSON object per entity; what is unknown is left out."""
        out = []
        for n in range(len(self.regime)):
            one: dict[str, Any] = {
                "flat_limit": self.limits.flat[n].tolist(),
                "zero_limit": self.limits.zero[n].tolist(),
                "slope": [float(s) if np.isfinite(s) else None for s in self.slope[n]],
                "leak": self.leak[n].tolist(),
            }
            if np.isfinite(self.regime[n]):
                one["regime"] = float(self.regime[n])
            out.append(one)
        return out

    @classmethod
    def of_json(cls, rows: Sequence[Mapping[str, Any] | None], features: int) -> Habits:
        """Habits of entities from their JSON; nothing is known where it is missing, or not of so many features."""
        out = cls.none(len(rows), features)
        for n, row in enumerate(rows):
            if not row or any(len(row.get(k, ())) != features for k in ("flat_limit", "zero_limit", "slope", "leak")):
                continue
            out.limits.flat[n], out.limits.zero[n] = row["flat_limit"], row["zero_limit"]
            out.slope[n] = [np.nan if s is None else s for s in row["slope"]]
            out.leak[n] = row["leak"]
            out.regime[n] = row.get("regime", np.nan)
        return out


def learn(block: Block, clean: CleaningSpec, regime: RegimeSpec | None, alone_after: int) -> tuple[Block, Habits]:
    """Habits of the entities of ``block``, and the block as models should learn it.

    Where the regime changed, older samples are moved to the new level, or left out once it is ``alone_after`` rows old
    (see :func:`level_change.apply`). ``regime`` None: every history is one regime. What is impossible by ``clean`` is
    missing for the habits, and kept in the block.
    """
    x, valid = cleaning.clean(block.values, clean)
    seen = np.where(valid, x, np.float32(np.nan))
    began = np.full(len(block.entities), np.nan)
    learned, recent = block, seen
    if regime is not None:
        change = level_change.newest(seen, block.start, block.step, regime)
        began = np.where(change.row > 0, block.start + block.step * change.row.astype(np.float64), np.nan)
        learned = replace(block, values=level_change.apply(block.values, change, alone_after))
        recent = level_change.apply(seen, change, alone_after)
    # On the history as it is learned: a new level is a step there, and a step is no growth.
    grown = trend.fit(recent, block.step)
    limits = stillness.learn(x, valid, block.start, block.step)
    return learned, Habits(limits, grown.slope, grown.leak, began)
