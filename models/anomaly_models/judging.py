"""Scores against labels, as whoever gets the mails would count: events found, notifications that were false.

A threshold turns scores into notifications: a run of alerting samples is one, holes of up to ``GAP`` closed, and one
more per started ``REPEAT`` seconds (Alertmanager's usual ``repeat_interval``). An event is found by an alerting sample
inside it or up to ``TOLERANCE`` after. Around an event (two steps before, ``AFTER`` behind) nothing counts as false.
Scores are compared as they are: never point-adjusted, which makes random scores look excellent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .exceptions import InvalidShapeError
from .frame import I64, Bool

REPEAT = 4 * 3600
GAP = 900
TOLERANCE = 300
AFTER = 1800
MERGE = 180
"""Labels less than this many seconds apart are one event."""
WEEK = 604_800
BUFFER = 3600
"""Seconds around an event that the ranking measure grants in part."""

NORMAL_PEAKS = 30
"""Highest normal scores of each series that a common threshold is looked for between."""
MOST_CANDIDATES = 400
RANKING_THRESHOLDS = 250
RANKING_BUFFERS = 11

Samples = npt.NDArray[np.floating]
F64 = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """Seconds of data time, both ends included."""

    start: int
    end: int


@dataclass(frozen=True)
class Truth:
    """What is known of the B test instants ``times`` of one series.

    ``events``: merged. ``reach`` [E, 2]: half-open rows in which an alert finds each. ``inside`` [B]: within an event;
    ``judged`` [B]: neither ignored nor ambiguous; ``normal`` [B]: judged and far from every event.
    """

    step: int
    times: I64
    events: tuple[Interval, ...]
    reach: I64
    inside: Bool
    judged: Bool
    normal: Bool

    @classmethod
    def of(cls, times: I64, step: int, events: Sequence[Interval], ignored: Sequence[Interval] = ()) -> Truth:
        """Labels ``events`` and ``ignored`` laid on ``times`` (ascending). Events beyond all instants are left out."""
        merged = _merged(events, max(MERGE, step))
        judged, inside, near = np.ones(times.size, np.bool_), *(np.zeros(times.size, np.bool_) for _ in range(2))
        for one in ignored:
            judged[_rows(times, one.start, one.end)] = False
        found: list[Interval] = []
        reach: list[tuple[int, int]] = []
        for event in merged:
            rows = _rows(times, event.start, event.end)
            inside[rows] = judged[rows] = True
            near[_rows(times, event.start - 2 * step, event.end + max(AFTER, 2 * step))] = True
            reached = _rows(times, event.start, event.end + max(TOLERANCE, step))
            if reached.stop > reached.start:
                found.append(event)
                reach.append((reached.start, reached.stop))
        return cls(step, times, tuple(found), np.array(reach, np.int64).reshape(-1, 2), inside, judged, judged & ~near)

    @property
    def weeks(self) -> float:
        """Weeks of normal operation."""
        return float(self.normal.sum()) * self.step / WEEK


class Confusion(NamedTuple):
    """Judged samples by label and alert."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def precision(self) -> float | None:
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float | None:
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def f1(self) -> float | None:
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)


def confusion(truth: Truth, score: Samples, threshold: float) -> Confusion:
    """Judged samples of ``score`` [B] (no NaN) that alert at ``threshold`` or not, inside events or not."""
    alert, judged = _checked(truth, score) >= threshold, truth.judged
    positive = (judged & truth.inside & alert).sum(), (judged & ~truth.inside & alert).sum()
    negative = (judged & truth.inside & ~alert).sum(), (judged & ~truth.inside & ~alert).sum()
    return Confusion(int(positive[0]), int(positive[1]), int(negative[0]), int(negative[1]))


def notifications(times: I64, step: int) -> int:
    """Notifications that alerting samples at ``times`` (ascending) make."""
    if times.size == 0:
        return 0
    hole = max(1, round(max(GAP, step) / step)) * step
    cut = np.flatnonzero(np.diff(times) > hole)
    first, last = np.append(times[:1], times[cut + 1]), np.append(times[cut], times[-1:])
    return int((1 + (last - first + step - 1) // REPEAT).sum())


def false_notifications(truth: Truth, score: Samples, threshold: float) -> int:
    """Notifications about normal samples."""
    return notifications(truth.times[truth.normal & (_checked(truth, score) >= threshold)], truth.step)


def peaks(truth: Truth, score: Samples) -> F64:
    """Highest score within reach of every event, [E]: the event is found at every threshold up to it."""
    _checked(truth, score)
    return np.array([float(score[a:b].max()) for a, b in truth.reach], np.float64)


def delays(truth: Truth, score: Samples, threshold: float) -> list[int]:
    """Seconds from the start of every event found to its first alerting sample."""
    out = []
    for event, (a, b) in zip(truth.events, truth.reach.tolist(), strict=True):
        alerting = np.flatnonzero(score[a:b] >= threshold)
        if alerting.size:
            out.append(max(int(truth.times[a + alerting[0]]) - event.start, 0))
    return out


def common_threshold(truths: Sequence[Truth], scores: Sequence[Samples], per_week: float) -> float:
    """Lowest threshold at which all series together have at most ``per_week`` false notifications per series and week.

    Found from above, for more alerts can make fewer notifications; infinite where none fits. Uses the labels: it says
    what a score could do, not what the product does.
    """
    allowed = per_week * sum(t.weeks for t in truths)
    tops = [
        np.concatenate([peaks(t, s), np.sort(s[t.normal])[-NORMAL_PEAKS:]]) for t, s in zip(truths, scores, strict=True)
    ]
    candidates = np.unique(np.concatenate(tops)) if tops else np.empty(0)
    if candidates.size > MOST_CANDIDATES:
        candidates = np.unique(np.quantile(candidates, np.linspace(0, 1, MOST_CANDIDATES)))
    best = np.inf
    for threshold in candidates[::-1].tolist():
        if sum(false_notifications(t, s, threshold) for t, s in zip(truths, scores, strict=True)) > allowed:
            break
        best = threshold
    return float(best)


def vus_pr(truth: Truth, score: Samples) -> float | None:
    """Volume under the precision-recall surface of judged samples, over label buffers of 0 to an hour.

    Paparrizos et al., "Volume Under the Surface" (VLDB 2022): samples near an event count in part, sqrt(1 - d/l) at
    distance d for a buffer of l, and recall is discounted by the share of events that are hit at all. None without an
    event or without a normal sample.
    """
    kept = truth.judged
    label, ranked = truth.inside[kept], _checked(truth, score)[kept]
    if not 0 < label.sum() < label.size:
        return None
    longest = int(np.clip(round(BUFFER / truth.step), 2, 100))
    widths = np.unique(np.linspace(0, longest, min(RANKING_BUFFERS, longest + 1)).astype(int))
    order = np.argsort(-ranked, kind="stable")
    thresholds = ranked[order][np.linspace(0, label.size - 1, RANKING_THRESHOLDS).astype(int)]
    predicted = np.searchsorted(-ranked[order], -thresholds, side="right")
    hits = _cumulated(label[order])[predicted]
    areas = []
    for width in widths.tolist():
        soft, extended = _buffered(label, width)
        near = _cumulated(soft[order])[predicted]
        best = np.sort([ranked[a:b].max() for a, b in _runs(extended)])
        existing = 1 - np.searchsorted(best, thresholds, side="left") / best.size
        recall = np.minimum((hits + near) / (label.sum() + near / 2), 1) * existing
        precision = (hits + near) / predicted
        areas.append(float(np.sum(np.diff(recall, prepend=0.0) * precision)))
    return float(np.mean(areas))


def _checked(truth: Truth, score: Samples) -> Samples:
    if score.shape != truth.times.shape:
        raise InvalidShapeError(f"a score per instant is needed, {truth.times.shape}, received {score.shape}")
    return score


def _merged(events: Sequence[Interval], apart: int) -> list[Interval]:
    out: list[Interval] = []
    for event in sorted(events):
        if out and event.start - out[-1].end < apart:
            out[-1] = Interval(out[-1].start, max(out[-1].end, event.end))
        else:
            out.append(event)
    return out


def _rows(times: I64, start: int, end: int) -> slice:
    """Rows of the instants in [start, end]."""
    return slice(int(np.searchsorted(times, start)), int(np.searchsorted(times, end, side="right")))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _cumulated(values: npt.NDArray[np.generic]) -> F64:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _runs(mask: Bool) -> list[tuple[int, int]]:
    """Half-open rows of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _buffered(label: Bool, width: int) -> tuple[F64, Bool]:
    """Partial labels beside the events for a buffer of ``width`` samples, and events with their buffers."""
    soft, half = np.zeros(label.size), width // 2
    for a, b in _runs(label) if half else ():
        behind, before = np.arange(b, min(b + half, label.size)), np.arange(max(a - half, 0), a)
        soft[behind] += np.sqrt(1 - (behind - b + 1) / width)
        soft[before] += np.sqrt(1 - (a - before) / width)
    soft[label] = 0
    np.minimum(soft, 1, out=soft)
    return soft, (soft > 0) | label
