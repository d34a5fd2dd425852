"""Anomalies made on purpose: known shapes of known size, put into stretches of normal data.

They tell what a model would catch when nobody has labelled anything. The size is counted in units of the series' own
local variation, so that cores and bytes compare. What they are good for and what not: docs/models.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .exceptions import InvalidShapeError
from .frame import F32, I64, Bool

F64 = npt.NDArray[np.float64]
NEIGHBOURHOOD: Final = 31
"""Samples of the rolling mean that local variation is measured from."""
ABSOLUTE_TO_SIGMA: Final = 1.2533
"""Standard deviation over mean absolute deviation of a normal distribution: sqrt(pi / 2)."""
RELATIVE_FLOOR: Final = 0.01
"""Smallest local variation as a share of the typical magnitude: a constant series has some size too."""
ABSOLUTE_FLOOR: Final = 1e-6
"""Smallest local variation in the series' own unit."""
OBSERVED: Final = 0.9
"""Share of the samples of an excerpt that must be observed."""
VISIBLE: Final = 1.0
"""An altered series must differ by this many local variations somewhere: a zero that drops to zero is no anomaly."""
SHARES: Final = (0.0, 0.25, 1.0)
"""Share of an entity's features that are altered, case by case in turn; at least one is."""


@dataclass(frozen=True)
class Case:
    """One anomaly to inject: ``shape`` of :data:`SHAPES`, ``amplitude`` in local variations, ``steps`` long, in a
    ``share`` of the features (at least one), with its random choices drawn from ``seed``."""

    shape: str
    amplitude: float
    steps: int
    share: float
    seed: int

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"shape must be one of {', '.join(SHAPES)}, received {self.shape!r}")
        if not self.amplitude > 0 or self.steps < 1 or not 0 <= self.share <= 1:
            raise ValueError(
                "amplitude must be positive, steps at least 1 and share from 0 to 1, "
                f"received {self.amplitude}, {self.steps} and {self.share}"
            )


def _spike(x: F32, size: F32, before: F32, rng: np.random.Generator) -> F32:
    return x + size


def _dip(x: F32, size: F32, before: F32, rng: np.random.Generator) -> F32:
    return x - size


def _slow_leak(x: F32, size: F32, before: F32, rng: np.random.Generator) -> F32:
    return x + size * np.linspace(0, 1, len(x) + 1, dtype=np.float32)[1:, None, None]


def _variance_change(x: F32, size: F32, before: F32, rng: np.random.Generator) -> F32:
    # One series of noise for all entities: what happens to one does not depend on its neighbours.
    noise = rng.normal(0.0, 0.5, len(x)).astype(np.float32)
    return x + size * noise[:, None, None]


def _flat_line(x: F32, size: F32, before: F32, rng: np.random.Generator) -> F32:
    return np.broadcast_to(before, x.shape)


def _drop_to_zero(x: F32, size: F32, before: F32, rng: np.random.Generator) -> F32:
    return np.zeros_like(x)


_ALTER: Final[Mapping[str, tuple[Callable[[F32, F32, F32, np.random.Generator], F32], int]]] = {
    "spike": (_spike, 300),
    "dip": (_dip, 300),
    "level_shift": (_spike, 3600),
    "slow_leak": (_slow_leak, 7200),
    "variance_change": (_variance_change, 3600),
    "flat_line": (_flat_line, 3600),
    "drop_to_zero": (_drop_to_zero, 900),
}
"""What becomes of samples [steps, S, F], and how many seconds it lasts."""
SHAPES: Final[tuple[str, ...]] = tuple(_ALTER)


def cases(
    step: int, amplitudes: tuple[float, ...] = (4.0, 8.0, 16.0), least: int = 1, seed: int = 0
) -> tuple[Case, ...]:
    """Every shape at every amplitude, on a grid of ``step`` seconds; none is shorter than ``least`` steps."""
    out = []
    for i, (shape, (_, seconds)) in enumerate(_ALTER.items()):
        for j, amplitude in enumerate(amplitudes):
            steps = max(seconds // step, least, 1)
            out.append(Case(shape, amplitude, steps, SHARES[j % len(SHARES)], seed + i * len(amplitudes) + j))
    return tuple(out)


def variation(values: F32) -> F32:
    """Local variation of every series of ``values`` [T, S, F], in own units: [S, F], positive and finite.

    1.2533 x the mean absolute deviation from the rolling mean of 31 samples: the standard deviation of normal noise
    around a slow course, more where bursts belong to it. NaN is left out. At least 1 % of the mean magnitude.
    """
    away, seen = _deviation(values)
    mean = np.where(seen, away, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return _at_least(ABSOLUTE_TO_SIGMA * mean, values)


def typical(values: F32, rows: int) -> F32:
    """Local variation of a typical stretch of ``rows`` samples of ``values`` [T, S, F]: the median over all stretches.

    Whole stretches count, back from the end; an incident, or poison, that fills less than half of them changes nothing.
    """
    number = len(values) // max(rows, 1)
    if number < 2:
        return variation(values)
    first = len(values) - number * rows
    each = np.stack([variation(values[first + i * rows : first + (i + 1) * rows]) for i in range(number)])
    empty = np.stack(
        [~np.isfinite(values[first + i * rows : first + (i + 1) * rows]).any(axis=0) for i in range(number)]
    )
    ordered = np.sort(np.where(empty, np.inf, each), axis=0)
    middle = np.maximum((~empty).sum(axis=0) - 1, 0) // 2
    size = np.take_along_axis(ordered, middle[None], axis=0)[0]
    return np.where(np.isfinite(size), size, np.float32(ABSOLUTE_FLOOR)).astype(np.float32)


def _deviation(values: F32) -> tuple[F64, Bool]:
    """Distance of every sample of ``values`` [T, S, F] from the rolling mean around it, and which were seen."""
    if values.ndim != 3:
        raise InvalidShapeError(f"local variation needs values [T, S, F], received {values.shape}")
    seen = np.isfinite(values)
    known = np.where(seen, values, 0).astype(np.float64)
    number, total = _rolling_sum(seen.astype(np.float64)), _rolling_sum(known)
    return np.abs(known - total / np.maximum(number, 1)), seen


def _at_least(local: F64, values: F32) -> F32:
    """``local`` [S, F], raised to a hundredth of the mean magnitude of ``values`` where it is smaller."""
    seen = np.isfinite(values)
    magnitude = np.where(seen, np.abs(values), 0).sum(axis=0, dtype=np.float64) / np.maximum(seen.sum(axis=0), 1)
    size: F32 = np.maximum(local, np.maximum(RELATIVE_FLOOR * magnitude, ABSOLUTE_FLOOR)).astype(np.float32)
    return size


def places(calm: Bool, case: Case, lead: int, trail: int = 0) -> I64:
    """Row of ``calm`` [T, S] at which ``case`` begins in every series, [S]; -1 where there is no room.

    An excerpt of ``lead`` rows before, the case itself and ``trail`` rows after it must lie within T; nine tenths of
    its rows and every row of the case must be calm: observed, and nothing that anybody objects to. Of the rows that
    qualify a random one is taken, the same share of the way through for all series.
    """
    rows, series = calm.shape
    length = lead + case.steps + trail
    if rows < length:
        return np.full(series, -1, np.int64)
    so_far = np.concatenate([np.zeros((1, series), np.int64), np.cumsum(calm, axis=0)])
    whole = so_far[length:] - so_far[:-length]
    inner = so_far[lead + case.steps : rows - trail + 1] - so_far[lead : rows - trail - case.steps + 1]
    fits = (whole >= OBSERVED * length) & (inner == case.steps)
    number = fits.sum(axis=0)
    share = np.random.default_rng(case.seed).random()
    wanted = np.minimum((share * number).astype(np.int64), np.maximum(number - 1, 0)) + 1
    at = (np.cumsum(fits, axis=0) >= wanted).argmax(axis=0) + lead
    return np.where(number > 0, at, -1)


def excerpts(values: F32, start: I64, lead: int, length: int) -> F32:
    """Rows ``start - lead`` .. ``start - lead + length`` of every series of ``values`` [T, S, F]: [length, S, F].

    Series with a ``start`` below 0 come back as NaN.
    """
    at = np.arange(length)[:, None] + (start - lead)[None, :]
    inside = (start >= 0)[None, :] & (at >= 0) & (at < len(values))
    taken = values[np.clip(at, 0, max(len(values) - 1, 0)), np.arange(values.shape[1])[None, :]]
    return np.where(inside[:, :, None], taken, np.float32(np.nan)).astype(np.float32)


def features(alive: Bool, case: Case) -> Bool:
    """Which features of every entity are altered: [S, F], chosen among those ``alive`` [S, F]; at least one."""
    count = alive.shape[1]
    order = np.random.default_rng(case.seed).permutation(count)
    rank = np.cumsum(alive[:, order], axis=1)
    number = np.maximum(np.ceil(case.share * alive.sum(axis=1)), 1)
    chosen = np.zeros(alive.shape, np.bool_)
    chosen[:, order] = alive[:, order] & (rank <= number[:, None])
    return chosen


def inject(values: F32, case: Case, at: int, size: F32, chosen: Bool) -> F32:
    """``values`` [T, S, F] with ``case`` in the rows from ``at`` on of the ``chosen`` features [S, F].

    ``size`` [S, F] is the local variation. A series that never was negative does not become so; what is missing stays
    missing.

    Raises:
        InvalidShapeError: the case does not lie within the rows, or the arrays do not fit each other.
    """
    rows, series, count = values.shape
    if not 1 <= at <= rows - case.steps or size.shape != (series, count) or chosen.shape != (series, count):
        raise InvalidShapeError(
            f"a case of {case.steps} steps from row {at} on needs more rows and sizes [{series}, {count}], "
            f"received {rows} rows, {size.shape} and {chosen.shape}"
        )
    part = values[at : at + case.steps]
    alter, _ = _ALTER[case.shape]
    altered = alter(part, np.float32(case.amplitude) * size, values[at - 1], np.random.default_rng(case.seed))
    positive = ~(values < 0).any(axis=0)
    altered = np.where(positive, np.maximum(altered, 0), altered)
    out = values.copy()
    out[at : at + case.steps] = np.where(chosen & np.isfinite(part), altered, part)
    return out


def visible(values: F32, altered: F32, size: F32) -> Bool:
    """Whether the largest difference of ``altered`` and ``values`` [T, S, F] is one local variation or more, [S]."""
    far = np.nan_to_num(np.abs(altered - values), nan=0.0) >= VISIBLE * size
    return np.asarray(far.any(axis=(0, 2)))


def _rolling_sum(x: F64) -> F64:
    """Sum of the 31 rows around every row of ``x`` [T, ...], of fewer at the ends."""
    half = NEIGHBOURHOOD // 2
    total = np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x, axis=0)])
    rows = np.arange(len(x))
    return np.asarray(total[np.minimum(rows + half + 1, len(x))] - total[np.maximum(rows - half, 0)])
