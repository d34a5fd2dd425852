"""Models in force as stacks: the entities of one target that share a model and a pack are scored by one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anomaly_exporter import specs
from anomaly_exporter.config import Model, Target
from anomaly_exporter.feedback import Shelved
from anomaly_exporter.generations import Entry
from anomaly_exporter.snapshot import F64, Scores
from anomaly_models import detector, sharing
from anomaly_models.alerting import AlertSpec, AlertState
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.detector import Verdict
from anomaly_models.exemplars import Exemplars, ExemplarSpec
from anomaly_models.frame import F32, I64, Bool, Scorer, Windows
from anomaly_models.habits import Habits
from anomaly_models.thresholds import ThresholdSpec, ThresholdStack

from .observations import LOOK_BACK, habits_of, show, signs
from .ring import Ring
from .tail import Tail, prefix

REPLAYED = 200_000
"""Windows of a target that a warm-up scores at most, beyond those it must: seconds of work for the slowest recipe."""
REPLAYS = (240, 120, 60, 30, 15)
"""Replays come in few lengths, so that a model more or less does not resize the ring."""


@dataclass(frozen=True)
class Rules:
    """How errors of one model become verdicts of a target."""

    threshold: ThresholdSpec
    alert: AlertSpec
    min_features: int
    clean: CleaningSpec
    target: Target

    @classmethod
    def of(cls, target: Target, model: Model) -> Rules:
        return cls(
            specs.threshold_spec(target),
            specs.alert_spec(target, model),
            target.needed_features,
            specs.cleaning_spec(target, model),
            target,
        )

    def replay(self, series: int) -> int:
        """Windows per series that a warm-up scores, so that alerts which began before it are still on."""
        return max(self.alert.replay, *(n for n in REPLAYS if n * series <= REPLAYED), 1)

    def rows(self, window: int, replay: int) -> int:
        """Rows of a ring from which ``replay`` windows can be scored as training would have seen them."""
        return prefix(self.clean) + max(window, LOOK_BACK + 1) + replay - 1


@dataclass(eq=False)
class Group:
    """S entities of one model and pack, and how far their scores were folded.

    ``owned`` [S]: rows that no other pack has replaced. ``points`` [S]: anomalous grid points after the instants
    ``counted`` [S], None before the first call. ``columns`` [S]: columns in the ring, -1 for none. ``since`` [S]: data
    time of the first anomalous point of the alert that is on, 0 for none. ``exemplars``: what people called expected.
    """

    model: str
    pack: str
    entries: tuple[Entry, ...]
    scorer: Scorer
    thresholds: ThresholdStack
    owned: Bool
    points: I64
    counted: I64 | None = None
    state: AlertState | None = None
    end: int | None = None
    last: Scores | None = None
    columns: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    version: int = -1
    since: I64 | None = None
    exemplars: Exemplars | None = None
    confidence: F64 | None = None
    budgets: F64 | None = None
    habits: Habits | None = None

    @classmethod
    def of(cls, model: str, pack: str, entries: Sequence[Entry], scorer: Scorer) -> Group:
        """A group that has scored nothing yet; ``scorer`` holds the models of ``entries``, row by row."""
        thresholds = ThresholdStack.of([e.threshold for e in entries])
        series = len(entries)
        return cls(
            model, pack, tuple(entries), scorer, thresholds, np.ones(series, np.bool_), np.zeros(series, np.int64)
        )

    def renew(self, entries: tuple[Entry, ...]) -> None:
        """Take over what is new about the same models: verdicts on others, figures, habits; the alert state goes on."""
        self.entries, self.habits = entries, None
        if self.last is not None:
            self.last = replace(self.last, entries=entries)

    def learn(self, known: Shelved, spec: ExemplarSpec, step: int) -> None:
        """Take what people called expected for the entities of the group; what does not fit the target is left out."""
        fits = (step, self.scorer.scale.shape[1])
        found = [
            [k.exemplar for k in known.get(e.entity, ()) if (k.exemplar.step, k.exemplar.level.size) == fits]
            for e in self.entries
        ]
        self.exemplars = Exemplars(found, spec) if any(found) else None

    def forget(self) -> None:
        """Begin anew with a warm-up: the ring was filled from elsewhere."""
        self.state, self.end = None, None

    def locate(self, ring: Ring) -> I64:
        """Columns of the entities in ``ring``."""
        if self.version != ring.version:
            self.columns = ring.columns([e.entity for e in self.entries])
            self.version = ring.version
        return self.columns

    def score(self, tail: Tail, rules: Rules, features: tuple[str, ...], replay: int) -> Scores:
        """Verdict of the newest instant of a ring, which must have been read.

        Folds every instant since the last call; at first, and after more than ``replay`` of them, the newest ``replay``
        instants.

        Raises:
            AnomalyModelsError: models and samples do not fit each other.
        """
        end = tail.end
        steps = replay + 1 if self.end is None else (end - self.end) // tail.ring.step
        if steps > 0 or self.last is None:
            if not 0 < steps <= replay:
                self.state, steps = None, replay
            self.last = self._detect(tail, rules, features, steps)
            self.end = end
        return replace(self.last, owned=self.owned, shown=self.last.shown & self.owned)

    def silent(self) -> tuple[Scores, ...]:
        """The last verdict with nothing shown: models are in force, but there is no data."""
        if self.last is None:
            return ()
        return (replace(self.last, owned=self.owned, shown=np.zeros(len(self.entries), np.bool_)),)

    def _windows(self, tail: Tail, steps: int) -> Windows:
        """The newest ``steps`` windows of the entities."""
        return tail.windows(self.locate(tail.ring), self.scorer.window, steps)

    def _confidence(self, step: int) -> F64:
        """How far the thresholds can be trusted [S]: by the history that they rest on."""
        if self.confidence is None:
            seconds = [step * _samples(entry) for entry in self.entries]
            self.confidence = sharing.confidence(seconds)
        return self.confidence

    def _budgets(self, rules: Rules) -> F64:
        """False alerts allowed per week, [S]."""
        if self.budgets is None:
            self.budgets = specs.budgets(rules.target, [e.entity for e in self.entries])
        return self.budgets

    def _detect(self, tail: Tail, rules: Rules, features: tuple[str, ...], steps: int) -> Scores:
        windows = self._windows(tail, steps)
        columns = self.locate(tail.ring)
        if self.habits is None:
            self.habits = habits_of(self.entries, len(features))
        known = signs(tail, columns, self.entries, self.habits, windows.end.shape[1])
        verdict = detector.detect(
            self.scorer,
            windows,
            self.thresholds,
            rules.threshold,
            rules.alert,
            rules.min_features,
            self.state,
            exemplars=self.exemplars,
            signs=known,
            budget=self._budgets(rules),
        )
        self.state = verdict.state
        step = tail.ring.step
        lead = (rules.alert.persistence - 1) * step
        self.since = since(verdict.detected, np.isfinite(verdict.score), windows.end, self.since, lead)
        newest = tail.end - step
        # What a warm-up replays happened before we watched; only its newest instant is news.
        counted = np.full(len(self.entries), newest - step) if self.counted is None else self.counted
        with np.errstate(invalid="ignore"):
            self.points = self.points + ((verdict.score >= 1) & (windows.end > counted[:, None])).sum(axis=1)
        self.counted = np.full(len(self.entries), newest)
        parts = verdict.parts
        shown = show(tail, columns, self.entries, self.habits, known, verdict)
        return Scores(
            model=self.model,
            features=features,
            entries=self.entries,
            owned=self.owned,
            shown=np.isfinite(verdict.score[:, -1]),
            error=verdict.error[:, -1],
            threshold=verdict.threshold[:, -1],
            score=verdict.score[:, -1],
            detected=verdict.detected[:, -1],
            points=self.points,
            observed=verdict.observed[:, -1],
            expected=verdict.expected[:, -1],
            lower=verdict.lower[:, -1],
            upper=verdict.upper[:, -1],
            contribution=verdict.contribution[:, -1],
            members=_member_scores(verdict, self._budgets(rules)),
            member_names=verdict.member_names,
            shape=shown.shape,
            slope=self.habits.slope,
            seconds_to_limit=shown.seconds_to_limit,
            regime=shown.regime,
            provisional=verdict.provisional[:, -1],
            confidence=self._confidence(step),
            since=np.where(verdict.detected[:, -1], self.since, np.nan),
            parts={
                "previous": parts.previous,
                "recent": parts.recent,
                "previous_sigma": parts.previous_sigma,
                "recent_sigma": parts.recent_sigma,
                "weight": parts.weight,
                "decay": parts.decay[:, -1],
            },
        )


def since(detected: Bool, scored: Bool, end: I64, before: I64 | None, lead: int) -> I64:
    """Data time [S] of the first anomalous point of the alert that is on at the newest of B instants, 0 for none.

    ``detected`` and ``scored`` [S, B] are folded after ``before`` [S] (None: nothing known). An alert is detected
    ``lead`` seconds after its first anomalous point. An instant without a score ends nothing.
    """
    series, instants = detected.shape
    at = np.arange(instants)
    ended = np.where(scored & ~detected, at, -1).max(axis=1, initial=-1)
    began = np.where(detected & (at > ended[:, None]), at, instants).min(axis=1, initial=instants)
    known = np.zeros(series, np.int64) if before is None else before
    fresh = np.where(began < instants, end[np.arange(series), np.minimum(began, instants - 1)] - lead, 0)
    return np.where((ended < 0) & (known > 0), known, fresh).astype(np.int64)


def _samples(entry: Entry) -> int:
    """Observed samples that a model was trained and judged on."""
    parts = entry.training.get("samples")
    return sum(n for n in parts.values() if isinstance(n, int)) if isinstance(parts, Mapping) else 0


def _member_scores(verdict: Verdict, budgets: F64) -> F32 | None:
    """What each member of an ensemble says of the newest instant, as scores [S, M]."""
    return None if verdict.members is None else detector.rarity_score(verdict.members[:, -1], budgets)
