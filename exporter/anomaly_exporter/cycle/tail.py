"""The ring cleaned for scoring, as training cleans its history: both look only backwards, so both see the same."""

from __future__ import annotations

import numpy as np

from anomaly_models import cleaning, windows
from anomaly_models.frame import F32, I64, Bool, Windows

from .ring import Ring


class Tail:
    """Windows over the newest rows of ``ring``; what several groups need is cleaned once.

    ``prefix`` rows before a window decide how its first samples are cleaned; they are never part of one.
    """

    def __init__(self, ring: Ring, max_gap: int, zero_gap: int) -> None:
        self.ring = ring
        self._max_gap = max_gap
        self._zero_gap = zero_gap
        self._cleaned: dict[int, tuple[F32, Bool]] = {}

    @property
    def end(self) -> int:
        """Data time just after the newest row."""
        return self.ring.start + self.ring.rows * self.ring.step

    def windows(self, columns: I64, window: int, steps: int) -> Windows:
        """The newest ``steps`` windows, or as many as the ring holds, of the entities at ``columns`` (-1: none)."""
        ring, before = self.ring, prefix(self._max_gap, self._zero_gap)
        rows = max(min(window + steps - 1, ring.rows - before), 0)
        x, valid = self._clean(rows + before)
        first = x.shape[0] - rows
        absent = columns < 0
        if ring.values.shape[1] == 0:
            shape = (rows, columns.size, ring.values.shape[2])
            return self._make(np.full(shape, np.nan, np.float32), np.zeros(shape, np.bool_), window)
        some_x, some_valid = x[first:, columns], valid[first:, columns]
        some_x[:, absent], some_valid[:, absent] = np.nan, False
        return self._make(some_x, some_valid, window)

    def _make(self, x: F32, valid: Bool, window: int) -> Windows:
        return windows.make(x, valid, self.end - x.shape[0] * self.ring.step, self.ring.step, window)

    def _clean(self, rows: int) -> tuple[F32, Bool]:
        if rows not in self._cleaned:
            newest = self.ring.values[self.ring.rows - rows :]
            self._cleaned[rows] = cleaning.bridge(cleaning.zero_gaps(newest, self._zero_gap), self._max_gap)
        return self._cleaned[rows]


def prefix(max_gap: int, zero_gap: int) -> int:
    """Rows before a window that can still reach into it: a run of zeros is judged by its left neighbour."""
    return max_gap + zero_gap + 1
