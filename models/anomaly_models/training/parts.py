"""Cut the history of every entity into training, validation and test windows, in time order.

Seventy, fifteen and fifteen percent of the *observed* samples by default, so that a hole of days does not empty a part.
A training window lies wholly in the training part and holds no masked sample. A window of the other parts belongs to
the part that its newest ``tail`` samples (those that make its error) lie in: its older samples may be earlier ones,
as they are when serving. That is what makes a history of three hours enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from anomaly_models import cleaning, windows
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.frame import F32, Block, Bool, EntityKey, Windows
from anomaly_models.model_spec import ModelSpec

SPLITS = ("train", "validation", "test")
MIN_TRAIN_WINDOWS = 8
"""Fewest windows to learn from."""
MIN_HELD_OUT_WINDOWS = 8
"""Fewest windows of validation and test together to take a threshold from."""

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Survey:
    """A cleaned block and where its parts lie.

    ``x`` and ``valid`` [T, N, F] are the bridged samples; ``borders`` [N, 4] the rows at which training, validation and
    test begin and test ends, per entity; ``failed`` says why an entity cannot be trained.
    """

    block: Block
    x: F32
    valid: Bool
    borders: I64
    failed: Mapping[EntityKey, str]

    def without(self, failed: Mapping[EntityKey, str]) -> Survey:
        """The survey of the entities that are not in ``failed``."""
        keep = [i for i, e in enumerate(self.block.entities) if e not in failed]
        if len(keep) == len(self.block.entities):
            return self
        return Survey(self.block.take(keep), self.x[:, keep], self.valid[:, keep], self.borders[keep], {})


@dataclass(frozen=True)
class Parts:
    """Windows of the three parts, S = entities of ``block``; a window of another part or entity's hole is not usable.

    ``masked_ratio`` [S]: share of the training samples that the isolation forest masked; ``samples`` [S, 3]: observed
    samples per part; ``observed`` [S, T', F]: observed training samples that are not masked, NaN elsewhere;
    ``test_start`` [S]: data time at which the test part begins.
    """

    train: Windows
    validation: Windows
    test: Windows
    masked_ratio: npt.NDArray[np.float64]
    samples: I64
    observed: F32
    test_start: I64


def survey(block: Block, spec: ModelSpec, clean: CleaningSpec, split: Sequence[float], min_samples: int) -> Survey:
    """Clean ``block`` and place the borders of the parts of every entity.

    Reasons in ``failed``: ``no_data`` (no sample at all), ``too_short`` (fewer than ``min_samples`` observed instants),
    ``no_windows`` (gaps leave too few windows to learn or to take a threshold from).
    """
    x, valid = cleaning.clean(block.values, clean)
    borders = np.zeros((len(block.entities), 4), np.int64)
    failed: dict[EntityKey, str] = {}
    for i, entity in enumerate(block.entities):
        rows = np.flatnonzero(valid[:, i].any(axis=1))
        if rows.size == 0:
            failed[entity] = "no_data"
        elif rows.size < min_samples:
            failed[entity] = "too_short"
        else:
            first, second, third = windows.split(rows.size, split)
            inner = [int(rows[min(s.start, rows.size - 1)]) for s in (first, second, third)]
            borders[i] = (*inner, int(rows[-1]) + 1)
    out = Survey(block, x, valid, borders, failed)
    for i, entity in enumerate(block.entities):
        if entity not in failed and not _enough(out, i, spec):
            failed[entity] = "no_windows"
    return out


def prepare(found: Survey, spec: ModelSpec, clean: CleaningSpec) -> Parts:
    """Windows of a survey in which no entity failed (see :meth:`Survey.without`).

    What an entity learns from does not depend on its neighbours: windows end at the same instants whoever is beside it.
    """
    borders = found.borders
    context = spec.window - spec.tail
    # Learners without windows read the newest sample of each, so a window ends at the very first sample too.
    x, valid, first = _limited(found, borders[:, 0], borders[:, 1], spec.window - 1, spec)
    ratio = np.zeros(len(borders))
    for i, (start, end) in enumerate(borders[:, :2]):
        part = slice(start - first, end - first)
        seen = np.where(valid[part, i], x[part, i], np.float32(np.nan))
        masked = cleaning.mask_outliers(seen, clean.contamination, clean.seed)
        ratio[i] = masked.sum() / max(int(valid[part, i].any(axis=1).sum()), 1)
        _mask(x[part, i], valid[part, i], masked, clean.max_gap)
    step = found.block.step
    return Parts(
        train=windows.make(x, valid, found.block.start + first * step, step, spec.window, spec.stride),
        validation=windows_of(found, borders[:, 1] - context, borders[:, 2], spec),
        test=windows_of(found, borders[:, 2] - context, borders[:, 3], replace(spec, stride=1)),
        masked_ratio=ratio,
        samples=_count(found),
        observed=np.where(valid, x, np.float32(np.nan)).transpose(1, 0, 2),
        test_start=found.block.start + step * borders[:, 2],
    )


def _enough(found: Survey, i: int, spec: ModelSpec) -> bool:
    """Whether entity ``i`` has windows to learn from, to stop early by, and to take a threshold from."""
    start, second, third, end = (int(b) for b in found.borders[i])
    context = spec.window - spec.tail
    learn = _usable(found, i, slice(start, second), spec, spec.stride)
    validate = _usable(found, i, slice(max(second - context, 0), third), spec, spec.stride)
    test = _usable(found, i, slice(max(third - context, 0), end), spec, 1)
    return learn >= MIN_TRAIN_WINDOWS and validate >= 1 and test >= 1 and validate + test >= MIN_HELD_OUT_WINDOWS


def _usable(found: Survey, i: int, rows: slice, spec: ModelSpec, stride: int) -> int:
    """Usable windows of entity ``i`` in ``rows``."""
    x, valid = found.x[rows, i : i + 1], found.valid[rows, i : i + 1]
    w = windows.make(x, valid, 0, found.block.step, spec.window, stride)

    return int(windows.usable(w, spec.min_features, spec.tail).sum())


def windows_of(found: Survey, start: I64, end: I64, spec: ModelSpec) -> Windows:
    """Windows that lie in the rows [start, end) of every entity."""
    x, valid, first = _limited(found, start, end, 0, spec)
    step = found.block.step
    return windows.make(x, valid, found.block.start + first * step, step, spec.window, spec.stride)


def _limited(found: Survey, start: I64, end: I64, lead: int, spec: ModelSpec) -> tuple[F32, Bool, int]:
    """Copies of the samples in the rows [start, end) of every entity, NaN outside, and the row that they begin at.

    They begin at least ``lead`` rows before the first, possibly before row 0, where a window of the stride's own grid
    does: one that ends at a multiple of ``stride`` steps since 1970.
    """
    start = np.maximum(start, 0)
    wanted = int(start.min()) - lead
    epoch = found.block.start // found.block.step + spec.window - 1
    first = wanted - (wanted + epoch) % spec.stride
    shape = (int(end.max()) - first, *found.x.shape[1:])
    x, valid = np.full(shape, np.nan, np.float32), np.zeros(shape, np.bool_)
    for i, (a, b) in enumerate(zip(start, end, strict=True)):
        x[a - first : b - first, i] = found.x[a:b, i]
        valid[a - first : b - first, i] = found.valid[a:b, i]
    return x, valid, first


def _mask(x: F32, valid: Bool, masked: Bool, max_gap: int) -> None:
    """Take masked rows out of ``x`` and ``valid`` [T, F] in place, and what was carried forward from them."""
    bad = np.repeat(masked[:, None], valid.shape[1], axis=1)
    for _ in range(max_gap):
        bad[1:] |= bad[:-1] & ~valid[1:]
    x[bad] = np.nan
    valid[bad] = False


def _count(found: Survey) -> I64:
    """Observed instants of every entity in every part, [N, 3]."""
    seen: Bool = np.any(found.valid, axis=2)
    return np.array(
        [[seen[b[p] : b[p + 1], i].sum() for p in range(len(SPLITS))] for i, b in enumerate(found.borders)], np.int64
    )
