"""Mails against labels: which recorded faults were mailed, which mails were false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .recording import Event

SLACK = 600
"""Data seconds after the end of a fault within which its mail still counts: persistence, rule, grouping."""


@dataclass(frozen=True)
class Notice:
    """A mail that says something fires: the tag whose team got it, and when (data time).

    ``since`` is when the newest of its alerts began; a repeated mail is not a new alert. None = at ``at``.
    """

    entity: str
    at: float
    since: float | None = None

    @property
    def began(self) -> float:
        return self.at if self.since is None else self.since


@dataclass(frozen=True)
class Findings:
    """``found``: event and the mail that told of it; ``false``: mails outside everything labelled."""

    found: tuple[tuple[Event, Notice], ...]
    missed: tuple[Event, ...]
    false: tuple[Notice, ...]


def judge(events: Sequence[Event], forgiven: Sequence[Event], notices: Sequence[Notice]) -> Findings:
    """Every event with the first mail to its team between its start and ``SLACK`` after its end.

    One mail can tell of several events: Alertmanager does not mail again while an alert stands. A mail is false when
    its alert began where nothing is labelled for its entity.
    """
    found, missed = [], []
    for event in events:
        mails = [n for n in notices if n.entity == event.entity and _within(event, n.at)]
        if mails:
            found.append((event, min(mails, key=lambda n: n.at)))
        else:
            missed.append(event)
    labelled = (*events, *forgiven)
    false = [n for n in notices if not any(e.entity == n.entity and _within(e, n.began) for e in labelled)]
    return Findings(tuple(found), tuple(missed), tuple(false))


def _within(event: Event, at: float) -> bool:
    return event.start <= at <= event.end + SLACK
