"""Which shard an entity belongs to: the same answer in every process, version and order of labels."""

from __future__ import annotations

import hashlib
import json

from anomaly_models.frame import EntityKey


def shard_of(entity: EntityKey, shards: int) -> int:
    """Shard, from 0, of ``entity`` among ``shards``: SHA-256 of its target and sorted labels, modulo ``shards``."""
    text = json.dumps([entity.target, sorted(entity.labels)], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % shards
