"""What of an answer is this shard's business."""

from __future__ import annotations

import numpy as np

from anomaly_exporter.generations.sharding import Shard
from anomaly_models.frame import Block, EntityKey


class Share:
    """Takes the entities of ``shard`` out of blocks, one target's at a time.

    ``answered``: whether the newest instant held any sample, whoever's: a shard may own nobody, or lose its last
    entity, while the source is well.
    """

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.answered = False
        self._end: int | None = None
        self._entities: tuple[EntityKey, ...] | None = None
        self._columns = np.zeros(0, np.intp)

    def of(self, block: Block) -> Block:
        """The part of ``block`` that belongs to the shard."""
        self._look(block)
        if self.shard.total == 1:
            return block
        if block.entities != self._entities:
            mine = [i for i, entity in enumerate(block.entities) if self.shard.owns(entity)]
            self._entities, self._columns = block.entities, np.array(mine, np.intp)
        return block.take(self._columns)

    def _look(self, block: Block) -> None:
        if block.values.shape[0] == 0 or (self._end is not None and block.end < self._end):
            return
        some = bool(np.isfinite(block.values[-1]).any())
        self.answered = some or (block.end == self._end and self.answered)
        self._end = block.end
