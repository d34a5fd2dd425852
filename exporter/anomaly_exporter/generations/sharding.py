"""Which shard an entity belongs to: the same answer in every process, version and order of labels."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from anomaly_models.frame import EntityKey

MOST_SHARDS: Final = 10_000
_FORM: Final = re.compile(r"(auto|\d{1,6})/(\d{1,6})\Z")
_ORDINAL: Final = re.compile(r"(?:\A|-)(\d{1,6})\Z")


class ShardError(ValueError):
    """A shard is not given as it must be; the message says what was expected."""


class Shard(NamedTuple):
    """Part ``ordinal``, from 0, of ``total`` equal parts of all entities."""

    ordinal: int = 0
    total: int = 1

    def owns(self, entity: EntityKey) -> bool:
        """Whether ``entity`` belongs to this part; it belongs to exactly one of ``total``."""
        return self.total == 1 or shard_of(entity, self.total) == self.ordinal

    def __str__(self) -> str:
        return f"{self.ordinal}/{self.total}"


UNDIVIDED: Final = Shard()
"""All entities."""


def shard_of(entity: EntityKey, shards: int) -> int:
    """Shard, from 0, of ``entity`` among ``shards``: SHA-256 of its sorted labels, modulo ``shards``.

    The target does not count: where two targets have equal labels, the same shard sees both and lets the first speak.
    """
    text = json.dumps(sorted(entity.labels), separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % shards


def parse_shard(text: str, automatic: Mapping[str, str | None]) -> Shard:
    """The shard of ``i/n``, or of ``auto/n`` with the first ordinal that ``automatic`` has.

    ``automatic``: what may hold the ordinal, by the name that an error shows: a number, or a host name that ends with
    one, as a StatefulSet gives it. Raises ShardError.
    """
    found = _FORM.match(text)
    if not found:
        raise ShardError(f"--shard: expected i/n with 0 <= i < n, such as 0/4, or auto/n, received {text!r}")
    total = int(found[2])
    ordinal = _automatic(automatic) if found[1] == "auto" else int(found[1])
    if not (ordinal < total <= MOST_SHARDS):
        raise ShardError(f"--shard: expected i/n with 0 <= i < n <= {MOST_SHARDS}, received {ordinal}/{total}")
    return Shard(ordinal, total)


def _automatic(places: Mapping[str, str | None]) -> int:
    for value in places.values():
        if value and (found := _ORDINAL.search(value)):
            return int(found[1])
    seen = ", ".join(f"{name}={value!r}" for name, value in places.items())
    raise ShardError(f"--shard: auto needs an ordinal, a number or a name that ends with -number, in one of: {seen}")
