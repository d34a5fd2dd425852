"""The newest samples of one target: a tail of its grid that moves on with every reading."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np

from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import F32, I64, Block, Bool, EntityKey


class Ring:
    """Float32 ``values`` [L, N, F] of the newest L instants, NaN = missing; entities come and go between readings.

    An entity stays until it has no sample left in the ring. At most ``capacity`` entities are held; those already
    there stay, newcomers beyond are ``refused``. ``version`` changes whenever the columns do.
    """

    def __init__(self, rows: int, step: int, features: int, capacity: int) -> None:
        self.step = step
        self.capacity = capacity
        self.end: int | None = None
        self.version = 0
        self.entities: tuple[EntityKey, ...] = ()
        self.refused: tuple[EntityKey, ...] = ()
        self.values: F32 = np.full((rows, 0, features), np.nan, np.float32)
        self._index: dict[EntityKey, int] = {}
        self._last_seen: I64 = np.zeros(0, np.int64)
        self._answered: tuple[EntityKey, ...] | None = None
        self._columns: I64 = np.zeros(0, np.int64)

    @property
    def rows(self) -> int:
        return int(self.values.shape[0])

    @property
    def start(self) -> int:
        """Data time of the oldest row; the ring must not be empty."""
        if self.end is None:
            raise InvalidShapeError("a ring has no start before its first reading")
        return self.end - self.rows * self.step

    def extend(self, block: Block) -> None:
        """Lay the rows of ``block`` behind the newest one; a first block, or one beyond a gap, begins at its end.

        Raises:
            InvalidShapeError: another step, other features, or instants that the ring already holds.
        """
        if block.step != self.step or block.values.shape[2] != self.values.shape[2]:
            raise InvalidShapeError(
                f"a ring of step {self.step} and {self.values.shape[2]} features received step {block.step} and "
                f"{block.values.shape[2]}"
            )
        if self.end is not None and block.start < self.end:
            raise InvalidShapeError(f"the ring ends at {self.end}, received a block that starts at {block.start}")
        columns = self._columns_of(block)
        moved = self.rows if self.end is None else min((block.end - self.end) // self.step, self.rows)
        new = min(block.values.shape[0], self.rows)
        values = np.full_like(self.values, np.nan)
        if moved < self.rows:
            values[: self.rows - moved] = self.values[moved:]
        there = columns >= 0
        if new:
            values[self.rows - new :, columns[there]] = block.values[-new:, there]
            seen = np.isfinite(values[self.rows - new :]).any(axis=2)
            times = block.end - self.step * np.arange(new, 0, -1)
            newest = np.where(seen, times[:, None], 0).max(axis=0, initial=0)
            np.maximum(self._last_seen, newest, out=self._last_seen)
        self.values = values
        self.end = block.end
        self._forget()

    def columns(self, entities: Sequence[EntityKey]) -> I64:
        """Column of every entity, -1 for one that is not here; valid until ``version`` changes."""
        index = self._index
        return np.fromiter((index.get(e, -1) for e in entities), np.int64, len(entities))

    def newest(self) -> Bool:
        """Which entities have a sample at the newest instant, [N]."""
        seen: Bool = np.isfinite(self.values[-1]).any(axis=1)
        return seen

    def _columns_of(self, block: Block) -> I64:
        """Column of every entity of ``block``, -1 for those beyond the capacity; newcomers get new columns."""
        if block.entities == self._answered:
            return self._columns
        seen = np.asarray(np.isfinite(block.values).any(axis=(0, 2)))
        newcomers = [e for e in compress(block.entities, seen.tolist()) if e not in self._index]
        room = max(self.capacity - len(self.entities), 0)
        self.refused = tuple(newcomers[room:])
        self._append(newcomers[:room])
        columns = self.columns(block.entities)
        # Entities without any sample in this answer got no column and may have one in the next: look again then.
        self._answered, self._columns = (block.entities, columns) if (columns >= 0).all() else (None, columns)
        return columns

    def _append(self, entities: Sequence[EntityKey]) -> None:
        if entities:
            more = np.full((self.rows, len(entities), self.values.shape[2]), np.nan, np.float32)
            self.values = np.concatenate([self.values, more], axis=1)
            self._last_seen = np.concatenate([self._last_seen, np.zeros(len(entities), np.int64)])
            self._renumber((*self.entities, *entities))

    def _forget(self) -> None:
        """Drop entities without a sample in the ring."""
        kept = self._last_seen >= self.start
        if not kept.all():
            self.values = self.values[:, kept]
            self._last_seen = self._last_seen[kept]
            self._answered = None
            self._renumber(tuple(compress(self.entities, kept.tolist())))

    def _renumber(self, entities: tuple[EntityKey, ...]) -> None:
        self.entities = entities
        self._index = {e: i for i, e in enumerate(entities)}
        self.version += 1
