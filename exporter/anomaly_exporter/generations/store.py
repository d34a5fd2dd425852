"""Commit, read, roll back and prune generations.

``generations/<target>/<number>.json`` are immutable; ``generations/<target>/current`` names the one in force with its
SHA-256 and is only ever swapped as a whole, by compare-and-swap. A writer killed at any moment leaves the last good
generation in force and at most an orphan document or pack, which pruning removes.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from anomaly_exporter.blobs import BlobError, BlobExistsError, BlobMissingError, Blobs, digest
from anomaly_models.pack import EncodedPack, Pack

from . import packs
from .documents import (
    MAX_DOCUMENT_BYTES,
    Entry,
    Generation,
    GenerationConflictError,
    GenerationError,
    GenerationMissingError,
    GenerationRejectedError,
    Key,
    Settle,
    check,
    check_shared,
    from_bytes,
    merged,
    replaces,
    to_bytes,
)
from .shared import SharedEntry

log = logging.getLogger(__name__)

FOLDER = "generations"
POINTER = "current"
MAX_TRIES = 1000
LONGEST_ROUND = 3600.0
GRACE = 3600.0
_NUMBERED = re.compile(r"(\d{1,18})\.json\Z")


@dataclass(frozen=True)
class Pruned:
    """What :meth:`Generations.prune` removed."""

    generations: int = 0
    packs: int = 0


@dataclass(frozen=True)
class _Pointer:
    number: int
    sha256: str
    raw_digest: str


class Generations:
    """The generations of all targets in one store.

    ``wall`` is wall time now in seconds; ``longest_round`` is how long commits of overlapping trainers count as one
    round of training, so that a rollback returns to before the round and not to its middle.
    """

    def __init__(
        self, blobs: Blobs, wall: Callable[[], float] = time.time, longest_round: float = LONGEST_ROUND
    ) -> None:
        self._blobs = blobs
        self._wall = wall
        self._longest_round = longest_round

    def digest(self, target: str) -> str | None:
        """SHA-256 of the generation in force, None before the first: cheap to poll. Raises GenerationError."""
        pointer = self._pointer(target)
        return pointer.sha256 if pointer else None

    def current(self, target: str) -> Generation | None:
        """The generation in force, None before the first.

        Raises:
            GenerationError: it cannot be used; ``reason`` says why. What the caller has in force stays right.
        """
        pointer = self._pointer(target)
        return self._load(target, pointer.number, pointer.sha256) if pointer else None

    def put_pack(self, encoded: EncodedPack) -> None:
        """Store a pack; an equal one may be there already. Raises BlobError."""
        packs.put(self._blobs, encoded)

    def open_pack(self, digest: str, verify: bool = True) -> Pack:
        """A pack as memory-mapped views; ``verify`` hashes it once. Raises PackError."""
        return packs.open_(self._blobs, digest, verify)

    def commit(
        self,
        target: str,
        entries: Iterable[Entry],
        *,
        began: float | None = None,
        forget_before: int | None = None,
        settle: Settle = replaces,
        shared: Iterable[SharedEntry] = (),
    ) -> Generation:
        """Merge a trainer's own ``entries`` into the newest generation and put the result in force.

        Other entries stay as the newest generation has them, however many trainers write at once. ``began`` is the
        wall time at which this round of training began (default: now, a round of its own). Entries whose newest
        training sample is before ``forget_before`` (data time) are dropped. ``settle`` says what becomes of a new entry
        beside the one that is in force at the moment of the commit. Models ``shared`` by all series stay until others
        of their name replace them. Where the generation in force cannot be read, the newest one that can is built upon.

        Raises:
            GenerationRejectedError: an entry could not be read back.
            GenerationConflictError: other writers were faster, every time.
            BlobError: the store failed; the generation in force is unchanged.
        """
        new = list(entries)
        check(new, target)
        for_all = {e.model: e for e in shared}
        check_shared(for_all.values())

        def edit(current: Generation | None) -> Generation:
            now = self._wall()
            kept = merged(current.entries if current else {}, new, forget_before, settle)
            since = now if began is None else began
            sharing = {**(current.shared if current else {}), **for_all}
            if current is None:
                return Generation(0, target, now, since, None, kept, sharing)
            same = since <= current.created_at and since - current.round_began < self._longest_round
            if same:
                return replace(current, created_at=now, entries=kept, shared=sharing)
            return Generation(0, target, now, since, current.number, kept, sharing)

        return self._edit(target, edit)

    def rollback(self, target: str) -> Generation:
        """Put the entries of the generation before the newest round of training in force again, under a new number.

        Rounds in which the gate rejected everything changed no model and are passed over.

        Raises:
            GenerationMissingError: there is none to return to.
            GenerationError, BlobError: it cannot be read or written; what is in force is unchanged.
        """

        def edit(current: Generation | None) -> Generation:
            for earlier in self._earlier(target, current) if current else ():
                if current and _models(earlier) != _models(current):
                    return replace(earlier, created_at=self._wall())
            raise GenerationMissingError(f"{target} has no earlier generation to return to")

        return self._edit(target, edit)

    def restore(self, target: str, keys: Collection[Key]) -> Generation:
        """Put the model before the one in force back for every entity and model of ``keys``, in one new generation.

        For each the newest earlier generation counts that names a model trained before it, so that a second time goes
        one model further back.

        Raises:
            GenerationMissingError: nothing is in force, or one of ``keys`` has no earlier model.
            GenerationError, BlobError: it cannot be read or written; what is in force is unchanged.
        """

        def edit(current: Generation | None) -> Generation:
            known = self._known(target, current, keys)
            found: dict[Key, Entry] = {}
            for earlier in self._earlier(target, known):
                for key in set(keys) - set(found):
                    before = earlier.entries.get(key)
                    if before is not None and before.trained_at < known.entries[key].trained_at:
                        found[key] = replace(before, verdict="rolled_back", rejected=None)
                if len(found) == len(set(keys)):
                    return self._edited(known, found)
            missing = sorted(set(keys) - set(found))
            raise GenerationMissingError(f"{target} has no earlier model of {_names(missing)}")

        return self._edit(target, edit)

    def promote(self, target: str, keys: Collection[Key]) -> Generation:
        """Put the newest rejected model in force for every entity and model of ``keys``, in one new generation.

        Raises:
            GenerationMissingError: nothing is in force, or one of ``keys`` has no rejected model.
            GenerationError, BlobError: it cannot be read or written; what is in force is unchanged.
        """

        def edit(current: Generation | None) -> Generation:
            known = self._known(target, current, keys)
            waiting = {key: known.entries[key].rejected for key in keys}
            if missing := sorted(key for key, entry in waiting.items() if entry is None):
                raise GenerationMissingError(f"{target} has no rejected model of {_names(missing)}")
            chosen = {key: replace(entry, verdict="by_hand") for key, entry in waiting.items() if entry is not None}
            return self._edited(known, chosen)

        return self._edit(target, edit)

    def past(self, target: str, most: int) -> list[Generation]:
        """The generation in force and those that rollbacks would return to, newest first, at most ``most``.

        Raises:
            GenerationError: the one in force cannot be used. What is older and cannot ends the list.
        """
        current = self.current(target)
        out = [] if current is None else [current]
        try:
            for generation in self._earlier(target, current) if current else ():
                if len(out) >= most:
                    break
                out.append(generation)
        except GenerationError as error:
            log.warning("the past of target %s ends at generation %d: %s", target, out[-1].number, error)
        return out

    def _known(self, target: str, current: Generation | None, keys: Collection[Key]) -> Generation:
        """``current``, which must name all of ``keys``."""
        if current is None:
            raise GenerationMissingError(f"{target} has no generation yet: train first")
        if missing := sorted(set(keys) - set(current.entries)):
            raise GenerationMissingError(f"{target} has no model of {_names(missing)}")
        return current

    def _edited(self, current: Generation, changed: Mapping[Key, Entry]) -> Generation:
        """A round of its own, after ``current``, with other entries for some entities."""
        now = self._wall()
        entries = {**current.entries, **changed}
        return Generation(0, current.target, now, now, current.number, entries, current.shared)

    def _earlier(self, target: str, current: Generation) -> Iterator[Generation]:
        """The generations that rollbacks would return to, newest first, as far as they are still there."""
        number = current.previous
        while number is not None:
            try:
                generation = self._numbered(target, number)
            except GenerationMissingError:
                return
            yield generation
            number = generation.previous

    def prune(self, target: str, keep: int, grace: float = GRACE) -> Pruned:
        """Remove generations of ``target`` beyond the newest ``keep`` rounds, and packs that no kept one refers to.

        Nothing younger than ``grace`` wall seconds is removed: a trainer may be about to commit it. Packs of targets
        whose generations cannot be read are left alone, and so are all packs then.

        Raises:
            BlobError: the store failed.
        """
        kept = set(self._chain(target, keep))
        documents = 0
        for number in self._numbers(target):
            name = f"{FOLDER}/{target}/{number}.json"
            if number not in kept and self._age(name) > grace:
                self._blobs.remove(name)
                documents += 1
        return Pruned(documents, self._prune_packs(grace))

    def targets(self) -> list[str]:
        """Names of all targets in the store."""
        return sorted({name.split("/")[1] for name in self._blobs.list(f"{FOLDER}/") if name.count("/") == 2})

    def _edit(self, target: str, edit: Callable[[Generation | None], Generation]) -> Generation:
        """Apply ``edit`` to the newest generation until no other writer came between."""
        for attempt in range(MAX_TRIES):
            pointer, current = self._newest_readable(target)
            number = 1 + max([pointer.number if pointer else 0, *self._numbers(target)])
            new = replace(edit(current), number=number)
            if self._publish(pointer, new):
                return new
            # Someone else got ahead, so the system as a whole moves on; the jitter keeps writers out of step.
            time.sleep(random.uniform(0, min(0.001 * 2 ** min(attempt, 7), 0.1)))  # noqa: S311
        raise GenerationConflictError(f"{target}: other writers were faster {MAX_TRIES} times; try again later")

    def _publish(self, pointer: _Pointer | None, new: Generation) -> bool:
        data = to_bytes(new)
        name = f"{FOLDER}/{new.target}/{new.number}.json"
        try:
            self._blobs.put(name, data)
        except BlobExistsError:
            return False
        in_force = json.dumps({"number": new.number, "sha256": digest(data)}, sort_keys=True).encode() + b"\n"
        expected = pointer.raw_digest if pointer else None
        if self._blobs.swap(f"{FOLDER}/{new.target}/{POINTER}", expected, in_force):
            return True
        self._blobs.remove(name)
        return False

    def _newest_readable(self, target: str) -> tuple[_Pointer | None, Generation | None]:
        pointer = self._pointer(target)
        if pointer is None:
            return None, None
        try:
            return pointer, self._load(target, pointer.number, pointer.sha256)
        except GenerationError as error:
            log.warning("generation %d of target %s cannot be used: %s", pointer.number, target, error)
        for number in sorted(self._numbers(target), reverse=True):
            if number < pointer.number:
                try:
                    return pointer, self._numbered(target, number)
                except GenerationError as error:
                    log.warning("generation %d of target %s cannot be used: %s", number, target, error)
        return pointer, None

    def _pointer(self, target: str) -> _Pointer | None:
        name = f"{FOLDER}/{target}/{POINTER}"
        try:
            raw = self._blobs.fetch(name).read_bytes()
        except (BlobMissingError, FileNotFoundError):
            return None
        except OSError as error:
            raise GenerationRejectedError(f"{name}: {error.strerror}") from error
        try:
            document = json.loads(raw)
            return _Pointer(int(document["number"]), str(document["sha256"]), digest(raw))
        except (ValueError, KeyError, TypeError) as error:
            raise GenerationRejectedError(f"{name} is not a pointer: {raw[:80]!r}") from error

    def _load(self, target: str, number: int, sha256: str | None) -> Generation:
        name = f"{FOLDER}/{target}/{number}.json"
        try:
            with self._blobs.fetch(name).open("rb") as file:
                data = file.read(MAX_DOCUMENT_BYTES + 1)
        except (BlobMissingError, FileNotFoundError) as error:
            raise GenerationMissingError(f"{name} is not in the store") from error
        except OSError as error:
            raise GenerationRejectedError(f"{name}: {error.strerror}") from error
        return from_bytes(data, sha256 or digest(data), target)

    def _numbered(self, target: str, number: int) -> Generation:
        """A generation that no pointer names any more: its own checks must do."""
        return self._load(target, number, None)

    def _numbers(self, target: str) -> list[int]:
        names = self._blobs.list(f"{FOLDER}/{target}/")
        return [int(m.group(1)) for name in names if (m := _NUMBERED.match(name.rpartition("/")[2]))]

    def _chain(self, target: str, keep: int) -> list[int]:
        """Numbers of the generation in force and of those that rollbacks would return to, at most ``keep``."""
        pointer = self._pointer(target)
        chain = [pointer.number] if pointer else []
        try:
            while 0 < len(chain) < keep:
                previous = self._numbered(target, chain[-1]).previous
                if previous is None:
                    break
                chain.append(previous)
        except GenerationError as error:
            if isinstance(error, GenerationMissingError) and len(chain) > 1:
                return chain[:-1]  # pruned earlier, with a smaller `keep`
            log.warning("pruning of target %s stops at generation %d: %s", target, chain[-1], error)
            return self._numbers(target)
        return chain

    def _prune_packs(self, grace: float) -> int:
        names: dict[str, list[str]] = {}
        for name in self._blobs.list(f"{packs.FOLDER}/"):
            names.setdefault(name.split("/")[1], []).append(name)
        try:
            # Read after the list: a pack committed in between is then seen as referred to.
            used = {
                pack
                for target in self.targets()
                for number in self._numbers(target)
                for pack in self._numbered(target, number).packs
            }
        except GenerationError as error:
            log.warning("packs are not pruned: %s", error)
            return 0
        removed = 0
        for pack, files in names.items():
            if pack not in used and all(self._age(name) > grace for name in files):
                # The manifest goes first: what is left after a kill is no pack, and an orphan of the next round.
                for name in sorted(files, key=lambda name: not name.endswith("/pack.json")):
                    self._blobs.remove(name)
                removed += 1
        return removed

    def _age(self, name: str) -> float:
        """Wall seconds since the local copy of a blob was written: never more than the blob's own age."""
        try:
            return self._wall() - self._blobs.fetch(name).stat().st_mtime
        except (BlobError, OSError):
            return 0.0


def _names(keys: Collection[Key]) -> str:
    """Some of ``keys`` for a message."""
    shown = ", ".join(f"{entity} ({model})" for entity, model in list(keys)[:3])
    return shown + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _models(generation: Generation) -> dict[Key, tuple[str, int, int]]:
    """Which model is in force for whom; what the gate said of others plays no part."""
    return {key: (*entry.place, entry.trained_data_end) for key, entry in generation.entries.items()}
