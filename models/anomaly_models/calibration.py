"""From heights to decades of rarity: how many weeks lie between two peaks this high, as a power of ten.

A *peak* is the maximum of a block of time, so that an excursion of many samples counts once, as a notification does.
The heights of the peaks that come so and so often per week lie near a straight line of log height against rarity
= -log10(peaks per week); beyond the data the line is extrapolated. A line through peaks that are frequent enough to be
ordinary does not see the anomalies that hide in its data: they are rarer and lie above it.

All arrays have the time as their last axis; NaN is a sample that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .frame import F32

F64 = npt.NDArray[np.float64]
WEEK = 7 * 86400.0
RATES = np.geomspace(1, 1000, 25)
"""Peaks per week at which the height is looked up."""
LEAST_BLOCKS = 12
"""A history is cut into at least this many blocks, however short."""
FEWEST = 4
"""Fewest rates inside the wanted range; with less the nearest that the history can tell of are taken."""


@dataclass(frozen=True)
class LineSpec:
    """How a line is drawn.

    Through the heights of peaks that come ``least`` to ``most`` times a week, peaks being maxima of ``block`` seconds.
    The slope (natural logarithm of height per decade) is shrunk towards ``prior`` as if that had been seen in
    ``prior_blocks`` blocks, and never below ``floor``. Heights below ``least_height`` count as that. Rarities end at
    ``lowest`` and ``highest``.
    """

    least: float = 1.0
    most: float = 100.0
    block: float = 3600.0
    floor: float = 0.12
    prior: float = 0.3
    prior_blocks: float = 60.0
    least_height: float = 1e-2
    lowest: float = -4.0
    highest: float = 4.0


@dataclass(frozen=True)
class Line:
    """Lines of any number of series: rarity = (log height - ``height``) / ``slope`` + ``rarity``, all of one shape."""

    slope: F32
    height: F32
    rarity: F32

    def decades(self, heights: F32, spec: LineSpec) -> F32:
        """Rarity of ``heights`` [..., T] whose leading axes are the line's; NaN stays NaN."""
        with np.errstate(invalid="ignore"):
            log: F32 = np.log(np.maximum(heights, np.float32(spec.least_height)))
            log -= self.height[..., None]
            log /= self.slope[..., None]
            log += self.rarity[..., None]
            return np.asarray(np.clip(log, spec.lowest, spec.highest), np.float32)

    def stacked(self) -> F32:
        """As one tensor [..., 3]."""
        return np.stack([self.slope, self.height, self.rarity], axis=-1).astype(np.float32)

    @classmethod
    def of(cls, stacked: F32) -> Line:
        """The inverse of :meth:`stacked`."""
        return cls(stacked[..., 0], stacked[..., 1], stacked[..., 2])


def block_samples(samples: int, step: int, spec: LineSpec) -> int:
    """Samples of one block of a history of ``samples`` samples ``step`` seconds apart."""
    return max(1, round(min(spec.block, samples * step / LEAST_BLOCKS) / step))


def block_maxima(heights: F32, size: int) -> F32:
    """Maxima [..., blocks] of blocks of ``size`` samples of ``heights`` [..., T], counted back from the newest.

    NaN where a block has no sample. The oldest samples that fill no block are left out.
    """
    blocks = heights.shape[-1] // size
    if size == 1:
        return heights
    whole = heights[..., heights.shape[-1] - blocks * size :]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.fmax.reduce(whole.reshape(*heights.shape[:-1], blocks, size), axis=-1), np.float32)


def fit(maxima: F32, seconds: float, spec: LineSpec) -> Line:
    """Lines through the ``maxima`` [..., blocks] of blocks of ``seconds``.

    A series without any maximum gets the line of a slope of ``spec.prior`` through height 1 at rarity 0: finite, and
    never asked, since such a series has no heights either.
    """
    ordered = -np.sort(-maxima.astype(np.float64), axis=-1)  # highest first, NaN last
    count = np.sum(~np.isnan(ordered), axis=-1)
    logs = np.log(np.maximum(np.nan_to_num(ordered), spec.least_height))
    if logs.shape[-1] == 0:
        logs = np.zeros((*logs.shape[:-1], 1))
    weeks = np.maximum(count, 1) * seconds / WEEK
    rank, weight = _ranks(count, weeks, spec)
    place = np.clip(rank, 1, np.maximum(count, 1)[..., None]) - 1
    below = place.astype(np.intp)
    above = np.minimum(below + 1, np.maximum(count - 1, 0)[..., None])
    share = place - below
    height = np.take_along_axis(logs, below, -1) * (1 - share) + np.take_along_axis(logs, above, -1) * share
    rarity = -np.log10(rank / weeks[..., None])
    weight = weight / weight.sum(axis=-1, keepdims=True)
    middle = (weight * rarity).sum(axis=-1)
    level = (weight * height).sum(axis=-1)
    across = rarity - middle[..., None]
    slope = (weight * across * (height - level[..., None])).sum(axis=-1) / (weight * across**2).sum(axis=-1)
    slope = (slope * count + spec.prior * spec.prior_blocks) / (count + spec.prior_blocks)
    known = count > 0
    return Line(
        np.where(known, np.maximum(slope, spec.floor), spec.prior).astype(np.float32),
        np.where(known, level, 0.0).astype(np.float32),
        np.where(known, middle, 0.0).astype(np.float32),
    )


def _ranks(count: npt.NDArray[np.integer], weeks: F64, spec: LineSpec) -> tuple[F64, F64]:
    """Ranks [..., R] (1 = highest peak) to look up and their weights, for ``count`` [...] peaks in so many ``weeks``.

    A height is known for ranks from 1.5 to 60 % of the peaks. The wanted rates, if at least four are known; else the
    six rarest known; else four ranks from 1.5 to the middle. Weights: the root of the number of peaks.
    """
    rank = RATES * weeks[..., None]
    known = (rank >= 1.5) & (rank <= 0.6 * count[..., None])
    wanted = known & (spec.least <= RATES) & (spec.most >= RATES)
    rarest = known & (np.cumsum(known, axis=-1) <= 6)
    few = wanted.sum(axis=-1, keepdims=True) < FEWEST
    used = np.where(few, rarest, wanted)
    none = few & (known.sum(axis=-1, keepdims=True) < FEWEST)
    last = np.maximum(3.0, 0.5 * count)[..., None]
    spread = 1.5 * (last / 1.5) ** np.linspace(0, 1, FEWEST)
    ranks = np.concatenate([rank, spread], axis=-1)
    mask = np.concatenate([used & ~none, np.broadcast_to(none, spread.shape)], axis=-1)
    return ranks, np.where(mask, np.sqrt(ranks), 0.0)
