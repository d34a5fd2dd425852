"""What holds when: of statements that overlap on an entity, the one that was made last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from anomaly_models.frame import Span

from .record import Record, Verdict


@dataclass(frozen=True)
class Stretch:
    """``verdict`` holds for one entity in [start, end) because of ``record``."""

    start: int
    end: int
    verdict: Verdict
    record: Record

    @property
    def span(self) -> Span:
        return Span(self.start, self.end)


@dataclass(frozen=True)
class Conflict:
    """Two statements in force that say different things about ``span`` and may mean the same entity."""

    winner: Record
    loser: Record
    span: Span


def rank(record: Record) -> tuple[float, float, str]:
    """The greater one wins: who spoke later, then who was kept later."""
    return record.stated_at, record.recorded_at, record.id


def in_force(records: Iterable[Record]) -> tuple[Record, ...]:
    """The newest version of every statement that is not withdrawn, the earliest span first."""
    newest: dict[str, Record] = {}
    for record in records:
        known = newest.get(record.id)
        if known is None or record.recorded_at >= known.recorded_at:
            newest[record.id] = record
    return tuple(sorted((r for r in newest.values() if not r.withdrawn), key=lambda r: (r.start, r.end, r.id)))


def stretches(statements: Iterable[Record], target: str, subject: Mapping[str, str], span: Span) -> tuple[Stretch, ...]:
    """What is said of one entity in ``span``: no two overlap, in the order of time."""
    ours = [r for r in statements if r.start < span.end and r.end > span.start and r.concerns(target, subject)]
    ours.sort(key=rank)
    edges = sorted({min(max(t, span.start), span.end) for r in ours for t in (r.start, r.end)})
    out: list[Stretch] = []
    for start, end in pairwise(edges):
        last = next((r for r in reversed(ours) if r.start <= start and r.end >= end), None)
        if last is None:
            continue
        if out and out[-1].record is last and out[-1].end == start:
            out[-1] = Stretch(out[-1].start, end, last.verdict, last)
        else:
            out.append(Stretch(start, end, last.verdict, last))
    return tuple(out)


def conflicts(statements: Sequence[Record], most: int = 1000) -> tuple[Conflict, ...]:
    """Pairs of ``statements`` (in the order of :func:`in_force`) that disagree, ``most`` at most."""
    out: list[Conflict] = []
    for i, one in enumerate(statements):
        for other in statements[i + 1 :]:
            if other.start >= one.end:
                break
            if one.verdict != other.verdict and _may_overlap(one, other):
                loser, winner = sorted((one, other), key=rank)
                out.append(Conflict(winner, loser, Span(max(one.start, other.start), min(one.end, other.end))))
                if len(out) >= most:
                    return tuple(out)
    return tuple(out)


def _may_overlap(one: Record, other: Record) -> bool:
    """Whether an entity can be meant by both: some label is not fixed to a value that the other refuses."""
    if one.target is not None and other.target is not None and one.target != other.target:
        return False
    return not (_refuses(one, other) or _refuses(other, one))


def _refuses(one: Record, other: Record) -> bool:
    fixed = {m.name: m.value for m in other.matchers if m.operator == "="}
    return any(m.name in fixed and not m.matches(fixed[m.name]) for m in one.matchers)
