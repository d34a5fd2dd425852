"""History of every target: append what was read, know what was not, give it back as blocks.

A blob is ``history/<target>/<digest>/<day>/<start>-<end>.block`` and its name is its coverage: every instant of
``[start, end)`` was read, for whoever existed then. A blob has its name only once its bytes are durable, so coverage is
never claimed before; a damaged blob is logged, counted, removed, and thereby a hole again. Blobs never change: a
finished day's blobs are merged into one that is stored before they are removed.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np

from anomaly_exporter.blobs import BlobError, BlobExistsError, BlobMissingError, Blobs
from anomaly_exporter.config import Target
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import F32, Block, Bool, EntityKey, Span, grid

from .blockfile import DamagedBlockError, StoredBlock, encode, open_block
from .identity import data_digest

T = TypeVar("T")
LOG = logging.getLogger(__name__)
DAY = 86_400
# An unfinished day is merged early once it has this many blobs.
_MANY = 32
_TRIES = 5
_NAME = re.compile(r"history/[^/]+/[^/]+/\d+-\d\d-\d\d/(\d+)-(\d+)\.block\Z")


@dataclass(frozen=True, order=True)
class _Piece:
    """A blob of history by its name."""

    start: int
    end: int
    name: str

    @property
    def day(self) -> int:
        return self.start // DAY


class History:
    """Day blocks of all targets in a store. ``failures`` counts by reason what could not be read or merged."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self.failures: Counter[str] = Counter()
        self._lock = threading.Lock()

    def append(self, target: Target, block: Block, digest: str | None = None) -> int:
        """Keep the rows of ``block`` that were never kept before; how many those are.

        A block without a single sample is not kept: right after a restart Prometheus answers "nothing", and believing
        that would leave a hole for good. Raises InvalidShapeError for a block of another step or other features,
        StoreFullError and other BlobErrors; what was kept until then stays kept.
        """
        if block.step != target.step or block.features != target.features:
            raise InvalidShapeError(
                f"history of {target.name!r} needs step {target.step} and features {target.features}, "
                f"received {block.step} and {block.features}"
            )
        if not np.isfinite(block.values).any():
            return 0
        rows = 0
        for hole in self.holes(target, block.span, digest):
            for day in range(hole.start // DAY, (hole.end - 1) // DAY + 1):
                part = block.slice(Span(max(hole.start, day * DAY), max(min(hole.end, (day + 1) * DAY), hole.start)))
                if part.values.shape[0]:
                    self._put(target, digest, part)
                    rows += part.values.shape[0]
        if rows:
            self._compact(target, digest)
        return rows

    def read(
        self, target: Target, span: Span, digest: str | None = None, entities: Sequence[EntityKey] | None = None
    ) -> Block:
        """What is kept of ``span``, NaN where nothing is; of ``entities`` only, in that order, when they are given."""

        def attempt() -> Block:
            stored = self._open(target, self._pieces(target, digest, span))
            found = sorted({e for block in stored for e in block.entities}) if entities is None else entities
            return self._lay(target, span, stored, found)[0]

        return _settled(attempt)

    def entities(self, target: Target, span: Span, digest: str | None = None) -> tuple[EntityKey, ...]:
        """Entities with a sample in the blocks that touch ``span``, sorted."""
        stored = _settled(lambda: self._open(target, self._pieces(target, digest, span)))
        return tuple(sorted({e for block in stored for e in block.entities}))

    def holes(self, target: Target, span: Span, digest: str | None = None) -> list[Span]:
        """Parts of ``span``, on the target's grid, that were never read or whose block cannot be read."""
        times = grid(span, target.step)
        if not times.size:
            return []
        start, end = int(times[0]), int(times[-1]) + target.step
        stored = _settled(lambda: self._open(target, self._pieces(target, digest, Span(start, end))))
        holes: list[Span] = []
        for block in sorted(stored, key=lambda b: b.start):
            if block.start > start:
                holes.append(Span(start, min(block.start, end)))
            start = max(start, block.span.end)
            if start >= end:
                break
        if start < end:
            holes.append(Span(start, end))
        return holes

    def retain(self, target: Target, since: int) -> int:
        """Remove blobs that end before data time ``since``, of all meanings the target ever had; how many."""
        old = [piece for piece in self._listed(f"history/{target.name}/") if piece.end <= since]
        for piece in old:
            self.blobs.remove(piece.name)
        return len(old)

    def _lay(
        self, target: Target, span: Span, stored: Iterable[StoredBlock], entities: Sequence[EntityKey]
    ) -> tuple[Block, Bool]:
        """Stored blocks laid on the grid of ``span`` and on ``entities``, and which rows [T] were filled."""
        out = Block.empty(span, target.step, entities, target.features)
        where = {entity: i for i, entity in enumerate(entities)}
        filled = np.zeros(out.values.shape[0], np.bool_)
        # Widest first: of two that hold the same instant the merged one is asked.
        for block in sorted(stored, key=lambda b: b.start - b.span.end):
            common = out.span.intersect(block.span)
            if common is None:
                continue
            first, last = (common.start - out.start) // out.step, (common.end - out.start) // out.step
            fresh = first + np.flatnonzero(~filled[first:last])
            columns = [i for i, entity in enumerate(block.entities) if entity in where]
            if not fresh.size or (values := self._samples(block, columns)) is None:
                continue
            places = np.array([where[block.entities[i]] for i in columns], np.intp)
            out.values[np.ix_(fresh, places)] = values[fresh + (out.start - block.start) // out.step]
            filled[fresh] = True
        return out, filled

    def _samples(self, block: StoredBlock, columns: Sequence[int]) -> F32 | None:
        """Samples of a stored block; None, logged and counted, when they cannot be read."""
        try:
            return block.read(columns)
        except FileNotFoundError as error:
            raise BlobMissingError(f"{block.name} was merged or retired") from error
        except (DamagedBlockError, OSError) as error:
            self._report(block.name, error)
            return None

    def _open(self, target: Target, pieces: Iterable[_Piece]) -> list[StoredBlock]:
        """The blocks behind ``pieces`` whose headers are sound; others are reported."""
        known: dict[bytes, tuple[EntityKey, ...]] = {}
        out = []
        for piece in pieces:
            try:
                block = open_block(piece.name, self.blobs.fetch(piece.name), target.name, known)
                expected = (Span(piece.start, piece.end), target.step, target.features)
                if (block.span, block.step, block.features) != expected:
                    raise DamagedBlockError(f"{piece.name}: holds {block.span} of {block.features}")
                out.append(block)
            except FileNotFoundError as error:
                raise BlobMissingError(f"{piece.name} was merged or retired") from error
            except (DamagedBlockError, OSError) as error:
                self._report(piece.name, error)
        return out

    def _report(self, name: str, error: Exception) -> None:
        """Log and count a block that cannot be read; a damaged one is removed, so that its span is read again."""
        with self._lock:
            self.failures["damaged" if isinstance(error, DamagedBlockError) else "unreadable"] += 1
        LOG.error("history block %s cannot be read and counts as never read: %s", name, error)
        if isinstance(error, DamagedBlockError):
            try:
                self.blobs.remove(name)
            except BlobError as second:
                LOG.error("history block %s cannot be removed: %s", name, second)

    def _put(self, target: Target, digest: str | None, block: Block) -> str:
        """Keep ``block``; the name of its blob."""
        day = datetime.fromtimestamp(block.start // DAY * DAY, UTC).date().isoformat()
        name = f"{_folder(target, digest)}{day}/{block.start}-{block.end}.block"
        try:
            self.blobs.put(name, encode(block))
        except BlobExistsError:
            LOG.info("history block %s was kept by another process meanwhile", name)
        return name

    def _pieces(self, target: Target, digest: str | None, span: Span | None = None) -> list[_Piece]:
        pieces = self._listed(_folder(target, digest))
        return [p for p in pieces if span is None or (p.start < span.end and p.end > span.start)]

    def _listed(self, prefix: str) -> list[_Piece]:
        matches = ((name, _NAME.match(name)) for name in self.blobs.list(prefix))
        return sorted(_Piece(int(m[1]), int(m[2]), name) for name, m in matches if m)

    def _compact(self, target: Target, digest: str | None) -> None:
        """Merge the blobs of finished (or crowded) days; a failure is logged and costs nothing but space."""
        pieces = self._pieces(target, digest)
        newest = max(piece.end for piece in pieces)
        days: dict[int, list[_Piece]] = {}
        for piece in pieces:
            days.setdefault(piece.day, []).append(piece)
        for day, parts in days.items():
            if len(parts) > 1 and ((day + 1) * DAY <= newest or len(parts) >= _MANY):
                try:
                    self._merge(target, digest, parts)
                except BlobError as error:
                    with self._lock:
                        self.failures[error.reason] += 1
                    LOG.warning("history of %s: a day could not be merged: %s", target.name, error)

    def _merge(self, target: Target, digest: str | None, parts: Iterable[_Piece]) -> None:
        """Make one blob of every run of touching blobs; the new one is durable before the old ones go."""
        for run in _runs(self._open(target, parts)):
            span = Span(min(b.start for b in run), max(b.span.end for b in run))
            if len(run) == 1:
                continue
            merged, filled = self._lay(target, span, run, sorted({e for b in run for e in b.entities}))
            if not filled.all():
                continue  # one of them proved damaged and is gone: its hole is read again first
            kept = self._put(target, digest, merged)
            for block in run:
                if block.name != kept:
                    self.blobs.remove(block.name)


def _folder(target: Target, digest: str | None) -> str:
    return f"history/{target.name}/{(digest or data_digest(target))[:16]}/"


def _settled(attempt: Callable[[], T]) -> T:
    """The result of ``attempt``, made again when a blob went away between listing and opening: somebody merged it."""
    for _ in range(_TRIES - 1):
        try:
            return attempt()
        except BlobMissingError:
            continue
    return attempt()


def _runs(blocks: Iterable[StoredBlock]) -> list[list[StoredBlock]]:
    """Blocks grouped so that each group covers one span without a hole."""
    runs: list[list[StoredBlock]] = []
    end = -1
    for block in sorted(blocks, key=lambda b: b.start):
        if runs and block.start <= end:
            runs[-1].append(block)
        else:
            runs.append([block])
        end = max(end, block.span.end)
    return runs
