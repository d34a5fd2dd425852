"""One target: its ring, its models, and the view of both at every instant."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from anomaly_exporter import specs
from anomaly_exporter.blobs import BlobError
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, Target
from anomaly_exporter.feedback import Shelf, ShelfError, Shelved
from anomaly_exporter.generations import GenerationMissingError, Generations
from anomaly_exporter.generations.sharding import UNDIVIDED, Shard
from anomaly_exporter.history import History, data_digest
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import F64, Scores, TargetView, Unscored
from anomaly_exporter.sources import Source, SourceError
from anomaly_models import cleaning, windows
from anomaly_models.frame import Bool, EntityKey, newest_instant

from .conditions import Conditions
from .groups import Group, Rules
from .models import LoadError, Models, load
from .newcomers import REMEMBERED, Newcomers
from .reading import advance, fill
from .ring import Ring
from .share import Share
from .tail import Tail

log = logging.getLogger(__name__)

PATIENCE = 10
"""Cycles until a generation that could not be loaded is tried again."""


@dataclass(frozen=True)
class Resources:
    """What the watches of all targets share; everything here may be used from several threads.

    ``shard``: the part of the entities that this process scores. ``shelf``: what people called expected.
    """

    source: Source
    history: History
    generations: Generations
    clock: Clock
    metrics: SelfMetrics
    shard: Shard = UNDIVIDED
    shelf: Shelf | None = None


class Watch:
    """Reads, scores and explains one target; :meth:`run` is called once per instant, never twice at a time."""

    def __init__(self, config: Config, target: Target, resources: Resources) -> None:
        self.target = target
        self.source = resources.source
        self._history = resources.history
        self._generations = resources.generations
        self._clock = resources.clock
        self._metrics = resources.metrics
        self._shelf = resources.shelf
        self._exemplar_spec = specs.exemplar_spec(config)
        self._capacity = config.exposition.max_series
        self._rules = {name: Rules.of(target, config.model(name)) for name in target.models}
        self._configured_window = max(specs.window(config.model(name), target) for name in target.models)
        self._digest = data_digest(target)
        self._share = Share(resources.shard)
        self._clean = next(iter(self._rules.values())).clean
        self._conditions = Conditions(target, resources.source, Share(resources.shard), self._capacity)
        self._models = Models()
        self._exemplars: Shelved = {}
        self._ring: Ring | None = None
        self._expected = 0
        self._tried: str | None = None
        self._troubled = False
        self._patience = 0
        self._unmodelled: tuple[int, Models, dict[str, Bool]] | None = None
        self._newcomers: dict[str, Newcomers] = {}
        self._gathered: dict[str, Bool] | None = None

    def run(self, now: float) -> TargetView:
        """The view at data time ``now``: of the newest instant that may be read then."""
        at = newest_instant(now, self.target.step, self.target.delay)
        self._poll()
        try:
            ring = self._read(at)
        except SourceError as error:
            log.error("a target cannot be read", extra={"target": self.target.name, "error": str(error)})
            return self._blind(at, str(error))
        newest = ring.newest()
        if not self._share.answered and self._models.series:
            message = "the source answered without a single sample, though models are in force"
            log.error(message, extra={"target": self.target.name})
            return self._blind(at, message)
        self._expected = int(np.count_nonzero(newest))
        tail = Tail(ring, self._clean, self._conditions)
        self._count_impossible(ring)
        scores, broken = self._score(tail)
        unscored = [*self._explained(tail, scores), *broken, *self._without_model(ring, newest)]
        return replace(self._view(at), scores=tuple(scores), unscored=_merged(unscored), lag=self._lag(now))

    def _poll(self) -> None:
        """Take over a new generation; one that cannot be used changes nothing and is tried again later."""
        name = self.target.name
        try:
            digest = self._generations.digest(name)
            if digest is None:
                if self._models.digest is not None:
                    raise GenerationMissingError(f"the generation of {name} has vanished")
                return
            if digest == self._tried and not (self._troubled and self._patience <= 0):
                self._patience -= 1
                return
            self._tried, self._troubled, self._patience = digest, True, PATIENCE
            self._models = load(
                self._generations, self.target, self._digest, digest, self._models, shard=self._share.shard
            )
        except LoadError as error:
            self._metrics.inc("model_load_failures_total", reason=getattr(error, "reason", "unreadable"))
            log.error(
                "a generation cannot be loaded, what was in force stays", extra={"target": name, "error": str(error)}
            )
            return
        self._teach()
        self._troubled = bool(self._models.failures)
        for reason, count in self._models.failures.items():
            self._metrics.inc("model_load_failures_total", count, reason=reason)
        log.info(
            "a generation is in force",
            extra={
                "target": name,
                "generation": self._models.generation.number if self._models.generation else None,
                "models": self._models.series,
                "outdated": len(self._models.outdated),
                "failed": len(self._models.failed),
            },
        )

    def _teach(self) -> None:
        """Give the models in force the exemplars of their series; what cannot be read changes nothing."""
        if self._shelf is None:
            return
        try:
            known = self._shelf.load(self.target.name)
        except (BlobError, ShelfError, OSError) as error:
            self._metrics.inc("model_load_failures_total", reason="exemplars")
            log.error("exemplars cannot be read", extra={"target": self.target.name, "error": str(error)})
            known = self._exemplars
        self._exemplars = known
        for group in self._models.groups:
            group.learn(known, self._exemplar_spec, self.target.step)

    def _read(self, at: int) -> Ring:
        """The ring with the instant ``at`` as its newest. Raises SourceError."""
        ring = self._ring
        window, replay = max(self._configured_window, self._models.window), self._replay()
        # Newcomers are scaled by their first samples, which must still be there.
        remembered = max(replay, REMEMBERED) if self._models.shared else replay
        rows = max(rules.rows(window, remembered) for rules in self._rules.values())
        missed = 0 if ring is None or ring.end is None else (at + self.target.step - ring.end) // self.target.step
        if ring is None or ring.rows < rows or missed >= ring.rows:
            ring = Ring(rows, self.target.step, len(self.target.queries), self._capacity)
            fill(ring, self.source, self._history, self.target, at, share=self._share)
            for group in (*self._models.groups, *self._newcomers.values()):
                group.forget()
            self._ring = ring
        else:
            advance(ring, self.source, self.target, at, self._share)
        self._conditions.read(at, self._replay())
        return ring

    def _count_impossible(self, ring: Ring) -> None:
        """Count samples of the newest instant that cannot be."""
        found = int(np.count_nonzero(cleaning.impossible(ring.values[-1:], self._clean.ranges)))
        if self._clean.ranges:
            self._metrics.inc("samples_invalid_total", found, target=self.target.name)

    def _replay(self) -> int:
        """Windows of every series that a warm-up scores."""
        return max(rules.replay(self._models.series) for rules in self._rules.values())

    @property
    def _groups(self) -> tuple[Group, ...]:
        """Everything that is scored: series with an entry of their own, and newcomers."""
        return (*self._models.groups, *self._newcomers.values())

    def _gather(self, ring: Ring) -> None:
        """Let the shared models score every series that no entry names."""
        if not self._models.shared:
            self._newcomers = {}
            return
        without = self._rows_without_model(ring)
        if self._gathered is without:
            return
        before, self._newcomers = self._newcomers, {}
        for name, shared in self._models.shared.items():
            entities = tuple(compress(ring.entities, without[name].tolist()))
            known = before.get(name)
            if known is not None and known.serves(shared, entities):
                self._newcomers[name] = known
            else:
                self._newcomers[name] = Newcomers.gather(shared, entities, known, self._rules[name])
        self._gathered = without

    def _score(self, tail: Tail) -> tuple[list[Scores], list[Unscored]]:
        """Scores of all groups; a group that cannot be scored is left out and leaves the others alone."""
        scores: list[Scores] = []
        broken: list[Unscored] = []
        self._gather(tail.ring)
        series = self._models.series + sum(len(group.entries) for group in self._newcomers.values())
        for group in self._groups:
            rules = self._rules[group.model]
            try:
                found = group.score(tail, rules, self.target.features, rules.replay(series))
                regime, since = self._on_wall(found.regime), self._on_wall(found.since)
                scores.append(replace(found, regime=regime, since=since))
            except Exception:
                log.exception(
                    "a pack cannot be scored",
                    extra={"target": self.target.name, "model": group.model, "pack": group.pack[:12]},
                )
                self._metrics.inc("model_load_failures_total", reason="scoring")
                broken.append(Unscored(group.model, "model_failed", _entities(group, group.owned)))
        return scores, broken

    def _on_wall(self, data: F64 | None) -> F64 | None:
        """Data times as wall times."""
        return None if data is None else np.vectorize(self._clock.to_wall, otypes=[np.float64])(data)

    def _explained(self, tail: Tail, scores: Iterable[Scores]) -> Iterator[Unscored]:
        """Why series with a model are not shown."""
        by_entries = {id(group.entries): group for group in self._groups}
        for found in scores:
            silent = found.owned & ~found.shown
            if silent.any():
                yield from self._reasons(tail, by_entries[id(found.entries)], found, silent)

    def _reasons(self, tail: Tail, group: Group, scores: Scores, silent: Bool) -> Iterator[Unscored]:
        ring = tail.ring
        columns = group.locate(ring)
        absent = silent & ~np.isfinite(scores.observed).any(axis=1)
        yield Unscored(group.model, "no_data", _entities(group, absent))
        rest = np.flatnonzero(silent & ~absent)
        if rest.size == 0:
            return
        seen = np.isfinite(ring.values[:, columns[rest]]).any(axis=2)
        young = seen.argmax(axis=0) > ring.rows - group.scorer.window
        counted = windows.counted(tail.windows(columns[rest], group.scorer.window, 1)).any(axis=(1, 2))
        for reason, chosen in (("warmup", young), ("features", ~young & counted), ("gap", ~young & ~counted)):
            rows = np.zeros(len(group.entries), np.bool_)
            rows[rest[chosen]] = True
            yield Unscored(group.model, reason, _entities(group, rows))

    def _without_model(self, ring: Ring, newest: Bool) -> Iterator[Unscored]:
        """Series that nothing is in force for, and those beyond the capacity."""
        for entry in self._models.outdated:
            yield Unscored(entry.model, "config_changed", (entry.entity,))
        for entry in self._models.failed:
            yield Unscored(entry.model, "model_failed", (entry.entity,))
        for model, rows in self._rows_without_model(ring).items():
            if model in self._newcomers:
                continue
            for reason, chosen in (("no_model", rows & newest), ("no_data", rows & ~newest)):
                yield Unscored(model, reason, tuple(compress(ring.entities, chosen.tolist())))
        for model in self.target.models:
            yield Unscored(model, "limit", ring.refused)

    def _rows_without_model(self, ring: Ring) -> dict[str, Bool]:
        """Columns of the ring that no entry of a model names, by model; found anew when either changes."""
        kept = self._unmodelled
        if kept is None or kept[0] != ring.version or kept[1] is not self._models:
            models = self._models
            named = {e.key for g in models.groups for e in compress(g.entries, g.owned.tolist())}
            named |= {e.key for e in (*models.outdated, *models.failed)}
            rows = {
                model: np.fromiter(((e, model) not in named for e in ring.entities), np.bool_, len(ring.entities))
                for model in self.target.models
            }
            kept = self._unmodelled = (ring.version, models, rows)
        return kept[2]

    def _blind(self, at: int, message: str) -> TargetView:
        """Nothing can be said of any series: models stay in force, nothing is shown, the last count stays expected."""
        silent = [s for group in self._groups for s in group.silent()]
        unscored = [Unscored(g.model, "no_data", _entities(g, g.owned)) for g in self._groups]
        if self._ring is not None:
            unscored += self._without_model(self._ring, np.zeros(len(self._ring.entities), np.bool_))
        return replace(self._view(at), scores=tuple(silent), unscored=_merged(unscored), error=message)

    def _view(self, at: int) -> TargetView:
        models = self._models
        without = self._rows_without_model(self._ring) if self._ring else {}
        counts = {**models.counts(), "untrained": sum(int(np.count_nonzero(rows)) for rows in without.values())}
        counts["shared"] = sum(len(group.entries) for group in self._newcomers.values())
        trained = {e.model for g in models.groups for e in g.entries} | {e.model for e in models.failed}
        return TargetView(
            self.target.name,
            at,
            self._clock.wall(),
            expected=self._expected,
            generation=models.generation.number if models.generation else None,
            models=counts,
            trained_at=max((e.trained_at for g in models.groups for e in g.entries), default=None),
            untrained=bool(set(self.target.models) - trained) and self._has_entities(),
        )

    def _has_entities(self) -> bool:
        """Whether there may be something to train: a shard can own no entity of a target at all."""
        return self._share.shard.total == 1 or bool(self._ring and self._ring.entities)

    def _lag(self, now: float) -> float | None:
        """Age of the newest raw sample; None when the source cannot tell, which never stops the scoring."""
        try:
            return self.source.lag(self.target, int(now))
        except SourceError as error:
            log.warning("the data lag is unknown", extra={"target": self.target.name, "error": str(error)})
            return None


def _entities(group: Group, rows: Bool) -> tuple[EntityKey, ...]:
    return tuple(e.entity for e in compress(group.entries, rows.tolist()))


def _merged(found: Iterable[Unscored]) -> tuple[Unscored, ...]:
    """One record per model and reason, empty ones left out."""
    together: dict[tuple[str, str], list[EntityKey]] = {}
    for item in found:
        if item.entities:
            together.setdefault((item.model, item.reason), []).extend(item.entities)
    return tuple(Unscored(model, reason, tuple(entities)) for (model, reason), entities in together.items())
