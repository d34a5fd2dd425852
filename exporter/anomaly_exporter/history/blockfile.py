"""A block as one immutable file, checked before it is believed.

Layout, little endian: prefix (magic, lengths and CRC-32 of the two texts), ``meta`` (JSON: start, step, rows,
features), ``entities`` (JSON: labels of each), CRC-32 of every entity's samples, samples float32 [N, T, F]. Samples are
entity-major, so that a batch of entities is read without touching the others, and a damaged one is found when read.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomaly_models.frame import F32, Block, EntityKey, Span

_MAGIC = b"AEXHIST1"
_PREFIX = struct.Struct("<8sIIII")
_LARGEST_TEXT = 256 * 2**20
_CHUNK = 32 * 2**20


class DamagedBlockError(Exception):
    """The bytes are not those that were written; ``append`` may fill the hole again."""


@dataclass(frozen=True)
class StoredBlock:
    """A block file whose header was checked; ``name`` is its blob's, its samples are read on demand."""

    name: str
    path: Path
    start: int
    step: int
    rows: int
    features: tuple[str, ...]
    entities: tuple[EntityKey, ...]
    offset: int

    @property
    def span(self) -> Span:
        return Span(self.start, self.start + self.rows * self.step)

    def read(self, columns: Sequence[int]) -> F32:
        """Samples of the entities at ``columns`` (ascending), float32 [T, n, F]. Raises DamagedBlockError, OSError."""
        out = np.empty((self.rows, len(columns), len(self.features)), np.float32)
        size = self.rows * len(self.features) * 4
        count = len(self.entities)
        with self.path.open("rb") as file:
            file.seek(self.offset)
            checks = np.frombuffer(_exactly(file.read(4 * count), 4 * count, self.path), "<u4")
            most = max(_CHUNK // max(size, 1), 1)
            for first, last in _runs(columns, most):
                file.seek(self.offset + 4 * count + columns[first] * size)
                raw = memoryview(_exactly(file.read((last - first) * size), (last - first) * size, self.path))
                for i in range(last - first):
                    if zlib.crc32(raw[i * size : (i + 1) * size]) != checks[columns[first] + i]:
                        raise DamagedBlockError(
                            f"{self.path.name}: samples of {self.entities[columns[first] + i]} changed"
                        )
                samples = np.frombuffer(raw, "<f4").reshape(last - first, self.rows, len(self.features))
                out[:, first:last] = samples.transpose(1, 0, 2)
        return out


def encode(block: Block) -> bytes:
    """``block`` as the bytes of a file; entities without any sample are left out."""
    seen = np.flatnonzero(np.isfinite(block.values).any(axis=(0, 2)))
    meta = json.dumps(
        {"start": block.start, "step": block.step, "rows": block.values.shape[0], "features": list(block.features)}
    ).encode()
    entities = json.dumps([[list(pair) for pair in block.entities[i].labels] for i in seen]).encode()
    samples = np.ascontiguousarray(block.values[:, seen].transpose(1, 0, 2), "<f4")
    checks = np.array([zlib.crc32(entity.data) for entity in samples], "<u4")
    prefix = _PREFIX.pack(_MAGIC, len(meta), len(entities), zlib.crc32(meta), zlib.crc32(entities))
    return b"".join((prefix, meta, entities, checks.tobytes(), samples.tobytes()))


def open_block(name: str, path: Path, target: str, known: dict[bytes, tuple[EntityKey, ...]]) -> StoredBlock:
    """Read and check everything but the samples; ``known`` saves decoding the same entities day after day.

    Raises DamagedBlockError, OSError.
    """
    with path.open("rb") as file:
        prefix = _exactly(file.read(_PREFIX.size), _PREFIX.size, path)
        magic, *numbers = _PREFIX.unpack(prefix)
        meta_size, entities_size, meta_check, entities_check = (int(n) for n in numbers)
        if magic != _MAGIC or max(meta_size, entities_size) > _LARGEST_TEXT:
            raise DamagedBlockError(f"{path.name}: not a history block")
        meta_text = _exactly(file.read(meta_size), meta_size, path)
        entities_text = _exactly(file.read(entities_size), entities_size, path)
        size = os.fstat(file.fileno()).st_size
    if zlib.crc32(meta_text) != meta_check or zlib.crc32(entities_text) != entities_check:
        raise DamagedBlockError(f"{path.name}: its header is not what was written")
    meta = json.loads(meta_text)
    entities = known.get(entities_text)
    if entities is None:
        entities = tuple(EntityKey(target, tuple((k, v) for k, v in labels)) for labels in json.loads(entities_text))
        known[entities_text] = entities
    offset = _PREFIX.size + meta_size + entities_size
    features = tuple(meta["features"])
    expected = offset + 4 * len(entities) * (1 + meta["rows"] * len(features))
    if size != expected:
        raise DamagedBlockError(f"{path.name}: expected {expected} bytes, received {size}")
    return StoredBlock(name, path, meta["start"], meta["step"], meta["rows"], features, entities, offset)


def _exactly(data: bytes, size: int, path: Path) -> bytes:
    if len(data) != size:
        raise DamagedBlockError(f"{path.name}: ends early, {size - len(data)} bytes are missing")
    return data


def _runs(columns: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Half-open ranges of positions whose columns follow each other, at most ``most`` long."""
    out: list[tuple[int, int]] = []
    first = 0
    for i in range(1, len(columns) + 1):
        if i == len(columns) or columns[i] != columns[i - 1] + 1 or i - first >= most:
            out.append((first, i))
            first = i
    return out
