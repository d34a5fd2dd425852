"""What the short windows of a history teach at each of its rows: learned once a day, and kept while the day lasts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from . import likeness
from .ensemble_spec import EnsembleSpec
from .frame import F32, Bool
from .likeness import Likeness
from .time_of_day import DAY
from .usual import History

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lesson:
    """What ``entities`` learned at one row, and their heights [S, 3, ...] of the rows from ``begin`` on."""

    entities: npt.NDArray[np.intp]
    learned: Likeness
    heights: F32
    begin: int


@dataclass
class Lessons:
    """Lessons of a ``history`` of S entities of ``features`` features each; the newest of every entity are kept."""

    history: History
    features: int
    spec: EnsembleSpec
    _kept: dict[int, Lesson] = field(default_factory=dict)

    def at(self, rows: int, since: int) -> tuple[Likeness, F32]:
        """What a context at ``rows`` knows, and the heights [S, 3, rows - since] of the rows from ``since`` on."""
        h, spec = self.history, self.spec.shapes
        series = h.x.shape[0] // self.features
        seen: Bool = np.asarray(h.seen.reshape(series, -1).any(axis=1))
        first = np.where(h.seen, (~np.isnan(h.x)).argmax(axis=1), h.x.shape[1]).reshape(series, -1).min(axis=1)
        learned = np.array(
            [
                likeness.learned_at(h.start, rows, h.step, int(f), spec) if s else rows
                for f, s in zip(first, seen, strict=True)
            ]
        )
        kept = {int(row): self._lesson(int(row), np.flatnonzero(learned == row), rows) for row in np.unique(learned)}
        self._kept = {row: lesson for row, lesson in kept.items() if row < rows}
        heights = np.full((series, 3, rows - since), np.nan, np.float32)
        for lesson in kept.values():
            heights[lesson.entities] = lesson.heights[:, :, since - lesson.begin : rows - lesson.begin]
        return _joined([(k.entities, k.learned) for k in kept.values()], series), heights

    def _lesson(self, row: int, entities: npt.NDArray[np.intp], rows: int) -> Lesson:
        known = self._kept.get(row)
        if known is not None and np.array_equal(known.entities, entities):
            return known
        h, spec, length = self.history, self.spec.shapes, self.spec.shapes.length(self.features)
        x, residual = (a.reshape(-1, self.features, a.shape[1])[entities] for a in (h.x, h.residual))
        day = DAY // h.step
        end = rows if row == rows else min(row + day + 1, x.shape[2])
        begin = max(row - max(self.spec.memory // h.step, 1), 0)
        lately = max(row - max(spec.memory // h.step, 1), 0)
        learned, places = likeness.learn(x[:, :, lately:row], residual[:, :, lately:row], spec)
        before = learned.heights(x[:, :, begin:row], residual[:, :, begin:row], spec, places + lately - begin)
        lead = max(row - length + 1, 0)
        after = learned.heights(x[:, :, lead:end], residual[:, :, lead:end], spec)
        heights = np.full((entities.size, 3, end - begin), np.nan, np.float32)
        heights[:, :, row - begin - before.shape[2] : row - begin] = before
        heights[:, :, end - begin - after.shape[2] :] = after
        return Lesson(entities, learned, heights, begin)


def _joined(parts: list[tuple[npt.NDArray[np.intp], Likeness]], series: int) -> Likeness:
    """The ``series`` entities of all ``parts`` in their own order."""
    if len(parts) == 1:
        return parts[0][1]
    out = {}
    for f in fields(Likeness):
        tensors = [(rows, getattr(learned, f.name)) for rows, learned in parts]
        out[f.name] = np.empty((series, *tensors[0][1].shape[1:]), np.float32)
        for rows, tensor in tensors:
            out[f.name][rows] = tensor
    return Likeness(**out)
