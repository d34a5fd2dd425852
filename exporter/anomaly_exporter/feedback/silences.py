"""Silences of Alertmanager (API v2) as feedback.

A silence on our alerts whose comment holds one of the configured words speaks of the entities that its matchers mean,
from its start to its end; an expired silence ends when it was expired. People silence an alert some minutes after it
began, so the statement begins with the oldest alert that the silence mutes, a day before the silence at most.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config

from .client import Client, UnheardError
from .matchers import Matcher, MatcherError
from .reading import Heard, clean_text, known_labels, remedy_in, verdict_in, wall_time, whole
from .record import LONGEST, MAX_NAME, MAX_TEXT, Record, RecordError

REACH: Final = 86_400.0
"""Wall seconds before a silence that an alert may have begun."""
OURS: Final = frozenset({"alertname", "severity", "service", "model", "alert"})
"""Labels of our alerts that tell no entity from another."""
SEVERAL: Final = "several"
"""Label ``metric`` of alerts about several metrics."""


def hear(client: Client, config: Config, clock: Clock, alerts: Collection[str]) -> Heard:
    """What the silences say now; ``alerts``: names of our alerts about entities. Raises UnheardError."""
    silences = client.get("/api/v2/silences")
    muted = client.get("/api/v2/alerts", [("active", "false"), ("inhibited", "false"), ("unprocessed", "false")])
    if not isinstance(silences, list) or not isinstance(muted, list):
        raise UnheardError(f"{client.shown}: expected lists of silences and alerts", "invalid")
    return of_silences(silences, began(muted), config, clock, alerts)


def began(alerts: Iterable[Any]) -> dict[str, float]:
    """Wall time at which the oldest alert began that a silence mutes, by the id of the silence."""
    out: dict[str, float] = {}
    for alert in alerts:
        try:
            start = wall_time(alert["startsAt"])
            for silence in alert["status"]["silencedBy"]:
                out[str(silence)] = min(start, out.get(str(silence), math.inf))
        except (KeyError, TypeError, ValueError):
            continue
    return out


def of_silences(
    silences: Iterable[Any], oldest: Mapping[str, float], config: Config, clock: Clock, alerts: Collection[str]
) -> Heard:
    """Statements of ``silences``; one that is malformed costs itself and nothing else."""
    known = known_labels(config)
    records: list[Record] = []
    mute: set[str] = set()
    skipped: Counter[str] = Counter()
    for silence in silences:
        try:
            identity = f"silence:{silence['id']}"
            record = _record(silence, identity, oldest, config, clock)
            if record is None:
                mute.add(identity)
                continue
            matchers = ours(silence["matchers"], known, alerts)
            if matchers is None:
                skipped["other_alerts"] += 1
                mute.add(identity)
            else:
                records.append(replace(record, matchers=matchers))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            skipped["matchers" if isinstance(error, MatcherError) else "malformed"] += 1
    return Heard(tuple(records), frozenset(mute), dict(skipped))


def ours(
    data: Iterable[Mapping[str, Any]], known: Collection[str], alerts: Collection[str]
) -> tuple[Matcher, ...] | None:
    """The matchers of a silence that tell entities apart; None when it is not about our alerts.

    It is when a matcher of ``alertname`` means one of ``alerts``, or when there is none and every other label is one of
    ours. Labels that Prometheus adds to every alert are left out then.

    Raises:
        MatcherError: a matcher cannot be used.
    """
    matchers = [Matcher(m["name"], _operator(m), m["value"]) for m in data]
    names = [m for m in matchers if m.name == "alertname"]
    telling = tuple(m for m in matchers if m.name in known and (m.name, m.value) != ("metric", SEVERAL))
    if names:
        return telling if any(all(m.matches(alert) for m in names) for alert in alerts) else None
    foreign = [m for m in matchers if m.name not in known and m.name not in OURS]
    return telling if not foreign and any(m.positive for m in telling) else None


def _operator(matcher: Mapping[str, Any]) -> str:
    """Alertmanager before 0.22 leaves ``isEqual`` out."""
    equal, regex = matcher.get("isEqual", True), matcher["isRegex"]
    return ("=~" if equal else "!~") if regex else "=" if equal else "!="


def _record(
    silence: Mapping[str, Any], identity: str, oldest: Mapping[str, float], config: Config, clock: Clock
) -> Record | None:
    """The statement of a silence without its matchers; None when it says nothing."""
    comment = clean_text(silence["comment"], MAX_TEXT)
    verdict = verdict_in(comment, config.feedback.words)
    starts, ends = wall_time(silence["startsAt"]), wall_time(silence["endsAt"])
    if verdict is None or ends <= starts:
        return None
    first = min(starts, max(oldest.get(str(silence["id"]), starts), starts - REACH))
    start, end = whole(clock.to_data(first), clock.to_data(ends))
    try:
        return Record(
            id=identity,
            verdict=verdict,
            start=start,
            end=min(end, start + LONGEST),
            author=clean_text(silence.get("createdBy"), MAX_NAME),
            source="silence",
            stated_at=wall_time(silence["updatedAt"]),
            recorded_at=clock.wall(),
            source_id=str(silence["id"]),
            comment=comment,
            fixed_by=remedy_in(comment),
        )
    except RecordError as error:
        raise ValueError(str(error)) from error
