"""The ring cleaned for scoring, as training cleans its history: both look only backwards, so both see the same."""

from __future__ import annotations

import numpy as np

from anomaly_models import cleaning, windows
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.frame import F32, I64, Bool, Windows
from anomaly_models.sharing import padded

from .conditions import Conditions
from .ring import Ring


class Tail:
    """Windows over the newest rows of ``ring``; what several groups need is cleaned once.

    ``prefix`` rows before a window decide how its first samples are cleaned; they are never part of one.
    ``conditions``: what was asked of the source beside the samples.
    """

    def __init__(self, ring: Ring, clean: CleaningSpec, conditions: Conditions | None = None) -> None:
        self.ring = ring
        self.conditions = conditions
        self._spec = clean
        self._cleaned: dict[int, tuple[F32, Bool]] = {}

    @property
    def end(self) -> int:
        """Data time just after the newest row."""
        return self.ring.start + self.ring.rows * self.ring.step

    def windows(self, columns: I64, window: int, steps: int, before_birth: tuple[I64, F32] | None = None) -> Windows:
        """The newest ``steps`` windows, or as many as the ring holds, of the entities at ``columns`` (-1: none).

        ``before_birth``: the row of the ring [S] that an entity begins at, and the values [S, F] it rests at before.
        """
        some_x, some_valid = self.samples(columns, window + steps - 1)
        if before_birth is not None:
            some_x = padded(some_x, before_birth[0] - (self.ring.rows - some_x.shape[0]), before_birth[1])
        return self._make(some_x, some_valid, window)

    def samples(self, columns: I64, rows: int) -> tuple[F32, Bool]:
        """The newest ``rows`` cleaned rows, or as many as the ring holds, of the entities at ``columns`` (-1: none)."""
        ring, before = self.ring, prefix(self._spec)
        rows = max(min(rows, ring.rows - before), 0)
        x, valid = self._clean(rows + before)
        first = x.shape[0] - rows
        absent = columns < 0
        if ring.values.shape[1] == 0:
            shape = (rows, columns.size, ring.values.shape[2])
            return np.full(shape, np.nan, np.float32), np.zeros(shape, np.bool_)
        some_x, some_valid = x[first:, columns], valid[first:, columns]
        some_x[:, absent], some_valid[:, absent] = np.nan, False
        return some_x, some_valid

    def _make(self, x: F32, valid: Bool, window: int) -> Windows:
        return windows.make(x, valid, self.end - x.shape[0] * self.ring.step, self.ring.step, window)

    def _clean(self, rows: int) -> tuple[F32, Bool]:
        if rows not in self._cleaned:
            newest = self.ring.values[self.ring.rows - rows :]
            self._cleaned[rows] = cleaning.clean(newest, self._spec)
        return self._cleaned[rows]


def prefix(clean: CleaningSpec) -> int:
    """Rows before a window that can still reach into it: a run of zeros is judged by its left neighbour."""
    return clean.max_gap + clean.zero_gap + 1
