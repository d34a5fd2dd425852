"""Prove models on held-out data: how often they would have sent a mail, and what they catch of injected anomalies.

Everything stands on the *alerting score* that evaluation and mails stand on: the minimum of the last ``persistence``
scores of :func:`detector.detect`. Nothing here fits, and nothing here decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from . import cleaning, detector, injection, judging, windows
from .alerting import AlertSpec, AlertState
from .cleaning import CleaningSpec
from .exceptions import InvalidShapeError
from .frame import F32, I64, Block, Bool, Scorer, Span, Windows
from .injection import Case
from .thresholds import ThresholdInputs, ThresholdSpec, ThresholdStack

F64 = npt.NDArray[np.float64]
DAY, WEEK = 86_400, 604_800
CHUNK_FLOATS = 2**21
"""Numbers of observed samples that one step of a replay holds: 8 MiB."""
TRIED = 64
"""Thresholds that are tried to meet an allowance of notifications."""
FEWEST = 5
"""Fewest injected anomalies to speak of a recall."""


@dataclass(frozen=True)
class Rules:
    """How scores become alerts; ``budget``: notifications per week that a calibrated score is read against."""

    threshold: ThresholdSpec
    alert: AlertSpec
    min_features: int = 1
    budget: float | F64 = 1.0

    def take(self, rows: Sequence[int]) -> Rules:
        """The rules of the entities at ``rows``: only the budget may differ between them."""
        budget = self.budget
        return replace(self, budget=budget[np.asarray(rows, np.intp)] if isinstance(budget, np.ndarray) else budget)


@dataclass(frozen=True)
class Contender:
    """Models of S entities, row by row, with the inputs of their thresholds."""

    scorer: Scorer
    inputs: Sequence[ThresholdInputs]

    def take(self, rows: Sequence[int]) -> Contender:
        """The entities at ``rows``, in that order."""
        return Contender(self.scorer.take(rows), [self.inputs[i] for i in rows])


@dataclass(frozen=True)
class Trial:
    """One case in an excerpt of its own for every entity.

    ``start`` [S]: row of the ground at which it begins, -1 where it has no place or would change nothing; ``altered``
    and ``valid`` [L, S, F]: the excerpt, whose first ``lead`` rows are untouched.
    """

    case: Case
    start: I64
    altered: F32
    valid: Bool
    lead: int

    def take(self, rows: Sequence[int]) -> Trial:
        """The entities at ``rows``, in that order."""
        at = np.asarray(rows, np.intp)
        return Trial(self.case, self.start[at], self.altered[:, at], self.valid[:, at], self.lead)


@dataclass(frozen=True)
class Ground:
    """Held-out samples of S entities: ``x`` and ``valid`` [T, S, F] as cleaning left them, row 0 at ``start``.

    The first ``lead`` rows only fill windows; the B = T - lead others are judged. ``size`` [S, F]: local variation, the
    unit of injected anomalies and of thresholds.

    Raises:
        InvalidShapeError: the arrays do not fit each other or nothing is left to judge.
    """

    x: F32
    valid: Bool
    start: int
    step: int
    lead: int
    size: F32

    def __post_init__(self) -> None:
        if self.x.ndim != 3 or self.valid.shape != self.x.shape or not 0 <= self.lead < len(self.x):
            raise InvalidShapeError(
                f"a ground needs x and valid [T, S, F] with more than {self.lead} rows, "
                f"received {self.x.shape} and {self.valid.shape}"
            )

    def take(self, rows: Sequence[int]) -> Ground:
        """The entities at ``rows``, in that order."""
        at = np.asarray(rows, np.intp)
        return Ground(self.x[:, at], self.valid[:, at], self.start, self.step, self.lead, self.size[at])

    @classmethod
    def of(cls, block: Block, clean: CleaningSpec, begin: I64, lead: int, end: I64 | None = None) -> Ground:
        """The samples of ``block`` from data time ``begin`` [S] up to ``end`` [S] (its own, where left out).

        Cleaned as they are for training and serving. ``lead`` rows before ``begin`` are there to fill windows; what was
        never observed, because the history is too short, is missing. The local variation is that of a typical day of
        the whole ``block``.
        """
        last = block.end if end is None else int(end.max())
        first = int(begin.min()) - lead * block.step
        margin = (clean.max_gap + clean.zero_gap + 1) * block.step
        part = block.slice(Span(min(first - margin, last), last))
        x, valid = cleaning.clean(part.values, clean)
        missing = max((part.start - first) // block.step, 0)
        pad = [(missing, 0), (0, 0), (0, 0)]
        skipped = max((first - part.start) // block.step, 0)
        x = np.pad(x[skipped:], pad, constant_values=np.nan).astype(np.float32)
        valid = np.pad(valid[skipped:], pad)
        at = first + block.step * np.arange(len(x))[:, None]
        hidden = at < (begin - lead * block.step)[None, :]
        if end is not None:
            hidden |= at >= end[None, :]
        x[hidden], valid[hidden] = np.nan, False
        return cls(x, valid, first, block.step, lead, injection.typical(block.values, max(DAY // block.step, 1)))

    @property
    def weeks(self) -> F64:
        """Weeks that were really observed in the judged rows, [S]."""
        return np.asarray(self._observed[self.lead :].sum(axis=0) * self.step / WEEK)

    @property
    def _observed(self) -> Bool:
        """Rows with any sample, [T, S]."""
        return np.asarray(self.valid.any(axis=2))

    def replay(self, contender: Contender, rules: Rules) -> F32:
        """Alerting score of every judged row, [S, B]; NaN where there is none.

        Raises:
            InvalidShapeError: the models do not fit the samples, or their window the lead.
        """
        rows = self.lead - _lead(contender, rules)
        if rows < 0:
            raise InvalidShapeError(
                f"a window of {contender.scorer.window} samples needs a longer lead than {self.lead} rows"
            )
        origin = np.full(self.x.shape[1], self.start + rows * self.step, np.int64)
        return _alerting(contender, self.x[rows:], self.valid[rows:], origin, self.step, rules)

    def trials(self, calm: Bool, cases: Sequence[Case], lead: int) -> tuple[Trial, ...]:
        """``cases`` at random places of the judged rows that are ``calm`` [S, B], with ``lead`` rows before each."""
        trail = max(-(-judging.TOLERANCE // self.step), 1)
        observed = self._observed
        fine = np.concatenate([observed[: self.lead], calm.T & observed[self.lead :]])
        alive: Bool = np.asarray(self.valid.any(axis=0))
        out = []
        for case in cases:
            start = injection.places(fine, case, lead, trail)
            length = lead + case.steps + trail
            clean = injection.excerpts(self.x, start, lead, length)
            altered = injection.inject(clean, case, lead, self.size, injection.features(alive, case))
            start = np.where(injection.visible(clean, altered, self.size), start, -1)
            valid = injection.excerpts(self.valid.astype(np.float32), start, lead, length) == 1
            out.append(Trial(case, start, altered, valid, lead))
        return tuple(out)


@dataclass(frozen=True)
class Proof:
    """What became of C trials with S entities.

    ``counted`` [S, C]: the trial took place. ``scores``: per trial its alerting scores [S, steps + trail]; ``clean``:
    those of the untouched samples, and of as many before them as a notification stands through.
    """

    counted: Bool
    scores: tuple[F32, ...]
    clean: tuple[F32, ...]

    def caught(self, level: float | F64 = 1.0) -> Bool:
        """Trials that send a notification at alerting scores of ``level`` (a number or [S]), [S, C].

        Not where one stands anyway because of the untouched samples: a model that always alerts catches nothing.
        """
        return np.isfinite(self.delays(level))

    def delays(self, level: float | F64 = 1.0) -> F64:
        """Steps from the beginning of a trial to its alert, [S, C]; NaN where it is missed or did not take place."""
        out = np.full(self.counted.shape, np.nan)
        limit = np.broadcast_to(np.asarray(level, np.float64), self.counted.shape[:1])[:, None]
        for c, (scores, clean) in enumerate(zip(self.scores, self.clean, strict=True)):
            with np.errstate(invalid="ignore"):
                alerts = (scores >= limit) & ~_standing(clean >= limit, scores.shape[1])
            out[:, c] = np.where(alerts.any(axis=1) & self.counted[:, c], alerts.argmax(axis=1), np.nan)
        return out


def lead_of(contenders: Sequence[Contender], rules: Rules) -> int:
    """Rows that the windows of all ``contenders`` need before the first judged one."""
    return max(_lead(c, rules) for c in contenders)


def prove(ground: Ground, contender: Contender, rules: Rules, replay: F32, trials: Sequence[Trial]) -> Proof:
    """Let ``contender``, whose alerting scores of the untouched samples are ``replay`` [S, B], judge ``trials``."""
    counted = np.zeros((replay.shape[0], len(trials)), np.bool_)
    scores: list[F32] = []
    clean: list[F32] = []
    need = _lead(contender, rules)
    for c, trial in enumerate(trials):
        counted[:, c] = trial.start >= 0
        first = trial.lead - need
        origin = ground.start + (np.maximum(trial.start, 0) - need) * ground.step
        said = _alerting(contender, trial.altered[first:], trial.valid[first:], origin, ground.step, rules)
        at = (trial.start - ground.lead)[:, None] + np.arange(-_hole(ground.step), said.shape[1])
        known = np.take_along_axis(replay, np.clip(at, 0, replay.shape[1] - 1), axis=1)
        scores.append(said)
        clean.append(np.where(at >= 0, known, np.float32(np.nan)))
    return Proof(counted, tuple(scores), tuple(clean))


def recall(caught: Bool, counted: Bool) -> F64:
    """Share of the ``counted`` trials [S, C] that were ``caught``, [S]; NaN where fewer than five took place."""
    number = counted.sum(axis=1)
    return np.where(number >= FEWEST, (caught & counted).sum(axis=1) / np.maximum(number, 1), np.nan)


def notifications(replay: F32, step: int, level: float | F64 = 1.0) -> I64:
    """Notifications that alerting scores [S, B] of ``level`` (a number or [S]) and above would have sent, [S].

    Counted as :func:`judging.notifications` counts them.
    """
    limit = np.broadcast_to(np.asarray(level, np.float64), replay.shape[:1])
    with np.errstate(invalid="ignore"):
        above = replay >= limit[:, None]
    return np.array([judging.notifications(np.flatnonzero(row) * step, step) for row in above], np.int64)


def level_for(replay: F32, step: int, allowed: I64) -> F64:
    """The lowest of 64 levels at which no more than ``allowed`` [S] notifications are sent, [S].

    The levels are spread over the highest alerting scores of each series; just above all of them nothing is sent.
    NaN for a series without any score.
    """
    out = np.full(replay.shape[0], np.nan)
    for s, scores in enumerate(replay):
        known = np.sort(scores[np.isfinite(scores)])
        if not known.size:
            continue
        ranks = np.unique((known.size - np.geomspace(1, known.size, TRIED)).astype(np.int64))[::-1]
        out[s] = np.nextafter(known[-1], np.float32(np.inf))
        for level in known[ranks]:
            if notifications(scores[None], step, float(level))[0] > allowed[s]:
                break
            out[s] = float(level)
    return out


def _hole(step: int) -> int:
    """Rows of quiet that do not end a notification."""
    return max(1, round(max(judging.GAP, step) / step))


def _standing(above: Bool, length: int) -> Bool:
    """Whether a notification stands in each of the last ``length`` columns of ``above`` [S, before + length]."""
    before = above.shape[1] - length
    so_far = np.concatenate([np.zeros((len(above), 1), np.int64), np.cumsum(above, axis=1)], axis=1)
    return np.asarray(so_far[:, before + 1 :] > so_far[:, :length])


def _lead(contender: Contender, rules: Rules) -> int:
    return contender.scorer.window - 1 + rules.alert.persistence - 1


def _alerting(  # noqa: PLR0917  the order of the data flow
    contender: Contender, x: F32, valid: Bool, origin: I64, step: int, rules: Rules
) -> F32:
    """Alerting scores [S, T - lead] of ``x`` [T, S, F], whose row 0 is the instant ``origin`` [S] of each series."""
    made = windows.make(x, valid, 0, step, contender.scorer.window)
    S, B, _, F = made.x.shape
    end = made.end + origin[:, None]
    stack = ThresholdStack.of(contender.inputs)
    out = np.full((S, B), np.nan, np.float32)
    state: AlertState | None = None
    size = max(CHUNK_FLOATS // max(S * F, 1), 1)
    for first in range(0, B, size):
        at = slice(first, first + size)
        part = Windows(made.x[:, at], made.valid[:, at], end[:, at])
        said = detector.detect(
            contender.scorer, part, stack, rules.threshold, rules.alert, rules.min_features, state, budget=rules.budget
        )
        state = said.state
        out[:, at] = said.alerting
    return out[:, rules.alert.persistence - 1 :]
