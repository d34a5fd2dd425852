"""The models in force for a target: what the newest generation names, loaded pack by pack.

A pack that cannot be loaded changes nothing for its entities: what was in force for them stays. Only the loading of a
generation builds a new :class:`Models`; scoring a cycle moves the groups inside it on.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from anomaly_exporter.blobs import BlobError
from anomaly_exporter.config import Target
from anomaly_exporter.generations import (
    Entry,
    Generation,
    GenerationError,
    GenerationMissingError,
    Generations,
    SharedEntry,
)
from anomaly_exporter.generations.sharding import UNDIVIDED, Shard
from anomaly_models import scorers, sharing
from anomaly_models.exceptions import AnomalyModelsError, PackError, PackRejectedError
from anomaly_models.frame import EntityKey, Scorer
from anomaly_models.sharing import Shared
from anomaly_models.thresholds import ThresholdInputs

from .groups import Group
from .newcomers import SharedModel

log = logging.getLogger(__name__)

MAX_WINDOW = 8192
"""Longest window that is scored: two hours of a step of a second, which the model `auto` looks at."""
LoadError = (GenerationError, PackError, BlobError, OSError)

Key = tuple[EntityKey, str]


@dataclass(frozen=True)
class Models:
    """``digest`` is that of the generation; ``outdated``: entries made for other queries than the configured ones;
    ``failed``: entries whose pack could not be loaded and that had no earlier one; ``failures``: by reason, this time.
    ``shared``: by configured name, the models of series without an entry.
    """

    digest: str | None = None
    generation: Generation | None = None
    groups: tuple[Group, ...] = ()
    outdated: tuple[Entry, ...] = ()
    failed: tuple[Entry, ...] = ()
    failures: Mapping[str, int] = field(default_factory=dict)
    shared: Mapping[str, SharedModel] = field(default_factory=dict)

    @property
    def window(self) -> int:
        """The longest window, 0 without models."""
        own = max((g.scorer.window for g in self.groups), default=0)
        return max(own, *(s.scorer.window for s in self.shared.values()), 0)

    @property
    def series(self) -> int:
        return sum(len(g.entries) for g in self.groups)

    def counts(self) -> dict[str, int]:
        """Models by state."""
        loaded = sum(int(np.count_nonzero(g.owned)) for g in self.groups)
        return {"loaded": loaded, "failed": len(self.failed), "stale": len(self.outdated)}


def load(
    generations: Generations, target: Target, data_digest: str, digest: str, before: Models, *, shard: Shard = UNDIVIDED
) -> Models:
    """The models of the generation in force, whose digest is ``digest``; equal packs are taken over from ``before``.

    Only those of entities that ``shard`` owns.

    Raises:
        GenerationError, BlobError, OSError: the generation cannot be used at all; ``before`` stays in force.
    """
    generation = generations.current(target.name)
    if generation is None:
        raise GenerationMissingError(f"the generation of {target.name} has vanished")
    ours = [e for e in generation.entries.values() if e.model in target.models and shard.owns(e.entity)]
    current = [e for e in ours if e.data_digest == data_digest]
    groups: list[Group] = []
    failed: list[Entry] = []
    failures: Counter[str] = Counter()
    for (model, pack), entries in _by_pack(current).items():
        try:
            groups.append(_taken_over(before, model, pack, entries) or _opened(generations, target, entries))
        except LoadError as error:
            failures[getattr(error, "reason", "unreadable")] += 1
            failed.extend(entries)
            log.error(
                "a pack cannot be loaded, what was in force for its series stays",
                extra={"target": target.name, "model": model, "pack": pack[:12], "error": str(error)},
            )
    wanted = [e for e in generation.shared.values() if e.model in target.models and e.data_digest == data_digest]
    shared = _shared(generations, target, wanted, before, failures)
    kept, lost = _kept_for(before, failed)
    _carry_points(before, groups)
    return Models(
        digest,
        generation,
        (*groups, *kept),
        tuple(e for e in ours if e.data_digest != data_digest),
        tuple(lost),
        failures,
        shared,
    )


def _shared(
    generations: Generations,
    target: Target,
    entries: Sequence[SharedEntry],
    before: Models,
    failures: Counter[str],
) -> dict[str, SharedModel]:
    """The shared models of ``entries`` by name; one that cannot be loaded leaves the one of ``before`` in force."""
    found: dict[str, SharedModel] = {}
    for entry in entries:
        name = entry.model
        known = before.shared.get(name)
        if known is not None and known.entry == entry:
            found[name] = known
            continue
        try:
            found[name] = _open_shared(generations, target, entry)
        except LoadError as error:
            failures[getattr(error, "reason", "unreadable")] += 1
            extra = {"target": target.name, "model": name, "pack": entry.pack[:12], "error": str(error)}
            log.error("a shared model cannot be loaded, the one in force stays", extra=extra)
            if known is not None:
                found[name] = known
    return found


def _open_shared(generations: Generations, target: Target, entry: SharedEntry) -> SharedModel:
    """The model of ``entry``. Raises PackError."""
    pack = generations.open_pack(entry.pack)
    try:
        scorer = scorers.restore(pack.kind, pack.spec, pack.tensors)
        Shared(scorer, sharing.identity(len(target.queries)))
    except AnomalyModelsError as error:
        raise error if isinstance(error, PackError) else PackRejectedError(str(error)) from error
    if not 1 <= scorer.window <= MAX_WINDOW or len(entry.prior.relative) != len(target.queries):
        raise PackRejectedError(
            f"expected a shared model of {len(target.queries)} features and a window up to {MAX_WINDOW}, received "
            f"{len(entry.prior.relative)} and {scorer.window}"
        )
    return SharedModel(entry, scorer)


def _by_pack(entries: Sequence[Entry]) -> dict[tuple[str, str], tuple[Entry, ...]]:
    """Entries by model and pack, in the order of their rows."""
    packs: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        packs.setdefault((entry.model, entry.pack), []).append(entry)
    return {key: tuple(sorted(found, key=lambda e: e.row)) for key, found in packs.items()}


def _opened(generations: Generations, target: Target, entries: tuple[Entry, ...]) -> Group:
    """The group of ``entries``, all of one model and pack. Raises PackError."""
    first = entries[0]
    pack = generations.open_pack(first.pack)
    try:
        scorer = scorers.restore(pack.kind, pack.spec, pack.tensors)
        features, window, series = scorer.scale.shape[1], scorer.window, scorer.scale.shape[0]
        if features != len(target.queries) or not 1 <= window <= MAX_WINDOW or entries[-1].row >= series:
            raise PackRejectedError(
                f"expected models of {len(target.queries)} features, a window up to {MAX_WINDOW} and more than "
                f"{entries[-1].row} rows, received {features}, {window} and {series}"
            )
        rows = [e.row for e in entries]
        return Group.of(first.model, first.pack, entries, _rows(scorer, rows))
    except PackError:
        raise
    except AnomalyModelsError as error:
        raise PackRejectedError(str(error)) from error


def _rows(scorer: Scorer, rows: list[int]) -> Scorer:
    """The models at ``rows``; all of them in order are used as they are mapped, without a copy."""
    return scorer if rows == list(range(scorer.scale.shape[0])) else scorer.take(rows)


def _taken_over(before: Models, model: str, pack: str, entries: tuple[Entry, ...]) -> Group | None:
    """The group of ``before`` with the same models; its alert state goes on, whatever the gate said of others."""
    scored = [_scored_by(e) for e in entries]
    for group in before.groups:
        if group.model == model and group.pack == pack and [_scored_by(e) for e in group.entries] == scored:
            group.owned = np.ones(len(entries), np.bool_)
            if group.entries != entries:
                group.renew(entries)
            return group
    return None


def _scored_by(entry: Entry) -> tuple[EntityKey, int, ThresholdInputs]:
    """What the score of an entry of a pack depends on."""
    return entry.entity, entry.row, entry.threshold


def _kept_for(before: Models, failed: Sequence[Entry]) -> tuple[list[Group], list[Entry]]:
    """Groups of ``before`` that go on for the entities of ``failed``, and those of ``failed`` that had none."""
    missing = {e.key for e in failed}
    kept: list[Group] = []
    found: set[Key] = set()
    for group in before.groups:
        keys = [e.key for e in group.entries]
        stays = group.owned & np.array([k in missing for k in keys], np.bool_)
        if stays.any():
            group.owned = stays
            kept.append(group)
            found.update(k for k, stay in zip(keys, stays.tolist(), strict=True) if stay)
    return kept, [e for e in failed if e.key not in found]


def _carry_points(before: Models, groups: Sequence[Group]) -> None:
    """Counters, and since when an alert is on, go on over a change of generation."""
    fresh = [g for g in groups if g.counted is None]
    if not fresh or not before.groups:
        return
    known: dict[Key, tuple[int, int, int]] = {}
    for group in before.groups:
        if group.counted is not None and group.since is not None:
            counted = zip(group.points.tolist(), group.counted.tolist(), group.since.tolist(), strict=True)
            known.update(zip((e.key for e in group.entries), counted, strict=True))
    for group in fresh:
        found = [known.get(e.key) for e in group.entries]
        latest = max((f[1] for f in found if f), default=None)
        if latest is not None:
            group.points = np.array([f[0] if f else 0 for f in found], np.int64)
            group.counted = np.array([f[1] if f else latest for f in found], np.int64)
            group.since = np.array([f[2] if f else 0 for f in found], np.int64)
