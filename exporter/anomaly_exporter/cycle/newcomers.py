"""Series that no generation names yet, scored by the model that all series of their target share.

A newcomer has a scale of its own from its first samples, a threshold from what the fleet was like at its age, and an
alert state like everybody. It leaves when a generation names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anomaly_exporter.generations import SERVED_BY_ALL, Entry, SharedEntry
from anomaly_exporter.snapshot import Scores
from anomaly_models import sharing
from anomaly_models.frame import I64, Bool, EntityKey, Scorer, Windows
from anomaly_models.scaling import Scaler
from anomaly_models.sharing import Beginning, Prior, Shared
from anomaly_models.thresholds import Recent, ThresholdInputs, ThresholdStack

from .groups import Group, Rules
from .ring import Ring
from .tail import Tail

REMEMBERED = sharing.LADDER[-1] + 64
"""Rows that a ring with newcomers holds on top of their windows: their scale is taken from them."""
REFRESH = 64
"""Steps after which the scale of a series older than the ring is taken anew."""


@dataclass(frozen=True)
class SharedModel:
    """The shared model of one configured name: its one-row scorer, and what the generation says of it."""

    entry: SharedEntry
    scorer: Scorer

    @property
    def name(self) -> str:
        return self.entry.model

    @property
    def prior(self) -> Prior:
        return self.entry.prior


@dataclass(eq=False)
class Newcomers(Group):
    """S newcomers of one shared model, scaled by ``scaler`` [S, F].

    ``learned`` [S]: samples that a scale rests on, 0 for a series too young to be scored; ``cut`` [S]: data time before
    which they lie.
    """

    shared: SharedModel = field(kw_only=True)
    scaler: Scaler = field(kw_only=True)
    rules: sharing.Rules = field(kw_only=True)
    cut: I64 = field(kw_only=True)
    learned: I64 = field(kw_only=True)

    @classmethod
    def gather(
        cls, shared: SharedModel, entities: Sequence[EntityKey], before: Newcomers | None, rules: Rules
    ) -> Newcomers:
        """The group of ``entities``; counters and alerts of those that were in ``before`` go on."""
        entries = tuple(_entry(shared, entity) for entity in entities)
        series = len(entries)
        unknown = sharing.identity(shared.scorer.scale.shape[1], series)
        group = cls(
            model=shared.name,
            pack=shared.entry.pack,
            entries=entries,
            scorer=Shared(shared.scorer, unknown),
            thresholds=ThresholdStack.of([e.threshold for e in entries]),
            owned=np.ones(series, np.bool_),
            points=np.zeros(series, np.int64),
            shared=shared,
            scaler=unknown,
            rules=shared.prior.rules(rules.min_features),
            cut=np.full(series, -1, np.int64),
            learned=np.zeros(series, np.int64),
        )
        if (
            before is not None
            and before.entries
            and before.counted is not None
            and before.since is not None
            and before.state is not None
        ):
            known = {e.entity: i for i, e in enumerate(before.entries)}
            at = np.array([known.get(e, -1) for e in entities], np.int64)
            there = at >= 0
            group.points = np.where(there, before.points[at], 0)
            group.since = np.where(there, before.since[at], 0)
            group.counted = np.where(there, before.counted[at], before.counted.max())
            group.state, group.end = before.state.take(at, careful(rules).alert), before.end
        return group

    def serves(self, shared: SharedModel, entities: tuple[EntityKey, ...]) -> bool:
        """Whether this is the group of exactly these."""
        return self.shared is shared and tuple(e.entity for e in self.entries) == entities

    def score(self, tail: Tail, rules: Rules, features: tuple[str, ...], replay: int) -> Scores:
        return super().score(tail, careful(rules), features, replay)

    def _windows(self, tail: Tail, steps: int) -> Windows:
        """Windows that need not be full yet: before its first sample a series rests at its centre."""
        ring, columns = tail.ring, self.locate(tail.ring)
        born = first_rows(ring, columns)
        self._learn(tail, columns, born)
        self.confidence = sharing.confidence(np.maximum(ring.rows - born, 0) * ring.step)
        young = self.learned == 0  # of which only the newest sample is looked at: too little for any window
        center = np.where(young[:, None], np.float32(np.nan), self.scaler.center)
        return tail.windows(columns, self.scorer.window, steps, (np.where(young, ring.rows - 1, born), center))

    def _learn(self, tail: Tail, columns: I64, born: I64) -> None:
        """Take scale and threshold anew for series that reached the next step of the ladder."""
        ring = tail.ring
        step, newest = ring.step, ring.rows - 1
        learned = sharing.learned(newest - born)
        # A series older than the ring has lost its first samples: it is scaled by those before a common instant.
        old = born == 0
        rest = (ring.start // step + newest) % REFRESH
        end = np.where(old, newest - rest, born + learned)
        cut = np.where(learned > 0, ring.start + end * step, -1)
        changed = np.flatnonzero(cut != self.cut)
        if changed.size == 0:
            return
        most = int(learned[changed].max(initial=0))
        if most:
            begun = self._begin(tail, columns[changed], end[changed], learned[changed], most)
            center, scale = self.scaler.center.copy(), self.scaler.scale.copy()
            center[changed], scale[changed] = begun.scaler.center, begun.scaler.scale
            self.scaler = Scaler(center, scale)
            self.scorer = Shared(self.shared.scorer, self.scaler)
            self.thresholds.value[changed] = self.shared.prior.threshold(learned[changed], begun)
        self.cut, self.learned = cut, learned

    def _begin(self, tail: Tail, columns: I64, end: I64, learned: I64, most: int) -> Beginning:
        """What the ``learned`` samples before the rows ``end`` of the ring say of the series at ``columns``."""
        x, valid = tail.samples(columns, tail.ring.rows)
        rows = (end - (tail.ring.rows - x.shape[0]) - most)[None, :] + np.arange(most)[:, None]
        at = np.clip(rows, 0, x.shape[0] - 1)
        series = np.arange(columns.size)[None, :]
        born = np.where(learned > 0, most - learned, most)
        return sharing.begin(self.shared.scorer, x[at, series], valid[at, series], born, self.rules)


def careful(rules: Rules) -> Rules:
    """``rules`` with the persistence that the thresholds of newcomers are made for."""
    steps = max(rules.alert.persistence, sharing.PERSISTENCE)
    return replace(rules, alert=replace(rules.alert, persistence=steps))


def first_rows(ring: Ring, columns: I64) -> I64:
    """Row of the first sample of every column [S]; the ring's length for one without any."""
    seen: Bool = np.isfinite(ring.values[:, columns]).any(axis=2) & (columns >= 0)
    return np.where(seen.any(axis=0), seen.argmax(axis=0), ring.rows)


def _entry(shared: SharedModel, entity: EntityKey) -> Entry:
    """What a generation would say of a series that only the shared model serves."""
    entry, prior = shared.entry, shared.prior
    about = {name: entry.training[name] for name in ("recipe", "architecture") if name in entry.training}
    return Entry(
        entity=entity,
        model=entry.model,
        pack=entry.pack,
        row=0,
        threshold=ThresholdInputs(Recent(entry.trained_data_end, prior.widest, prior.spread)),
        data_digest=entry.data_digest,
        trained_at=entry.trained_at,
        trained_data_end=entry.trained_data_end,
        evaluated_at=entry.trained_at,
        verdict=SERVED_BY_ALL,
        training={**about, "state": "waiting", "scope": "shared"},
    )
