"""Annotations of Grafana (HTTP API) as feedback.

An annotation is feedback when it is tagged ``anomaly:expected``, ``anomaly:incident`` or ``anomaly:ignore``. Its
entities come from further tags (``container:crabserver``, ``target:kube-eagle-cpu``), or else from the variables in a
link to a dashboard in its text (``var-container=crabserver``). One that names no entity says nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config
from anomaly_models.frame import Span

from .client import Client, UnheardError
from .matchers import Matcher
from .reading import Heard, clean_text, known_labels, remedy_in, whole
from .record import LONGEST, MAX_NAME, MAX_TEXT, VERDICTS, Record

PREFIX: Final = "anomaly:"
LIMIT: Final = 100
"""Annotations asked for in one answer: the API's own default, which no server refuses."""
MOST: Final = 20_000
"""Annotations asked for where even the shortest stretch of time holds more than LIMIT."""
SHORTEST: Final = 60_000
"""Milliseconds below which a stretch is not halved any more."""
POINT: Final = 300.0
"""Wall seconds on either side that an annotation of one instant stands for."""
AHEAD: Final = 86_400.0
"""How far into the future annotations are asked for: clocks differ, maintenance is announced."""
EVERYTHING: Final = frozenset({"$__all", "All", "all", ""})
_VARIABLE: Final = re.compile(r"[?&]var-([A-Za-z_][A-Za-z0-9_]*)=([^&\s)\"'<>]*)")


def hear(client: Client, config: Config, clock: Clock) -> tuple[Heard, Span]:
    """What the annotations say now, and the span of wall time that was asked for. Raises UnheardError."""
    grafana = config.feedback.grafana
    now = clock.wall()
    look_back = grafana.look_back if grafana else 0
    span = Span(max(int(now - look_back), 0), int(now + AHEAD))
    items = read(client, span.start * 1000, span.end * 1000)
    return of_annotations(items, config, clock), span


def read(client: Client, first: int, last: int) -> list[Any]:
    """All annotations with one of our tags that touch the milliseconds [first, last]. Raises UnheardError.

    The API has neither pages nor a promise about their order: a stretch that fills its answer is asked for in halves.
    Several tags would have to be there together, so each is asked for alone.
    """
    found: dict[Any, Any] = {}
    stretches = [(first, last, verdict) for verdict in VERDICTS]
    while stretches:
        start, end, verdict = stretches.pop()
        limit = LIMIT if end - start > SHORTEST else MOST
        items = _ask(client, (start, end), f"{PREFIX}{verdict}", limit)
        if len(items) >= limit:
            if limit == MOST:
                raise UnheardError(f"{client.shown}: more than {MOST} annotations within a minute", "invalid")
            middle = (start + end) // 2
            stretches += [(start, middle, verdict), (middle, end, verdict)]
            continue
        for item in items:
            if isinstance(item, Mapping) and isinstance(item.get("id"), int):
                found[item["id"]] = item
    return list(found.values())


def _ask(client: Client, span: tuple[int, int], tag: str, limit: int) -> list[Any]:
    params = [("from", str(span[0])), ("to", str(span[1])), ("limit", str(limit)), ("type", "annotation")]
    items = client.get("/api/annotations", [*params, ("tags", tag)])
    if not isinstance(items, list):
        raise UnheardError(f"{client.shown}: expected a list of annotations", "invalid")
    return items


def of_annotations(items: Iterable[Any], config: Config, clock: Clock) -> Heard:
    """Statements of ``items``; one that is malformed costs itself and nothing else."""
    known = known_labels(config)
    records: list[Record] = []
    mute: set[str] = set()
    skipped: Counter[str] = Counter()
    for item in items:
        try:
            identity = f"annotation:{int(item['id'])}"
            mute.add(identity)
            record = _record(item, identity, config, clock, known)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            skipped["malformed"] += 1
            continue
        if record is None:
            skipped["entity"] += 1
        else:
            mute.discard(identity)
            records.append(record)
    return Heard(tuple(records), frozenset(mute), dict(skipped))


def _record(
    item: Mapping[str, Any], identity: str, config: Config, clock: Clock, known: Collection[str]
) -> Record | None:
    """The statement of an annotation; None when it names no entity. Raises ValueError for one that says nothing."""
    tags, text = [str(tag) for tag in item["tags"]], clean_text(item.get("text"), MAX_TEXT)
    verdict = next(v for v in VERDICTS if f"{PREFIX}{v}" in [tag.lower() for tag in tags])
    target, matchers = entity_of(tags, text, known)
    if target is None and not matchers:
        return None
    if target is not None and all(t.name != target for t in config.targets):
        raise ValueError(f"there is no target {target!r}")
    first = int(item["time"]) / 1000
    last = int(item.get("timeEnd") or item["time"]) / 1000
    if last <= first:
        first, last = first - POINT, first + POINT
    start, end = whole(clock.to_data(first), clock.to_data(last))
    return Record(
        id=identity,
        verdict=verdict,
        start=start,
        end=min(end, start + LONGEST),
        author=clean_text(item.get("login") or item.get("email"), MAX_NAME),
        source="annotation",
        stated_at=int(item.get("updated") or item.get("created") or item["time"]) / 1000,
        recorded_at=clock.wall(),
        target=target,
        matchers=matchers,
        source_id=str(item["id"]),
        comment=text,
        fixed_by=remedy_in(text),
    )


def entity_of(tags: Iterable[str], text: str, known: Collection[str]) -> tuple[str | None, tuple[Matcher, ...]]:
    """Target and matchers that ``tags`` name, or else the variables of a link in ``text``."""
    pairs = [(name.strip(), value.strip()) for name, found, value in (t.partition(":") for t in tags) if found]
    chosen = _values(pairs, known)
    if not chosen:
        chosen = _values([(name, unquote_plus(value)) for name, value in _VARIABLE.findall(text)], known)
    target = chosen.pop("target", [None])[0]
    return target, tuple(sorted(_matcher(name, values) for name, values in chosen.items()))


def _values(pairs: Iterable[tuple[str, str]], known: Collection[str]) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for name, value in pairs:
        if (name in known or name == "target") and value not in EVERYTHING:
            out.setdefault(name, []).append(value)
    return out


def _matcher(name: str, values: list[str]) -> Matcher:
    """One value is meant exactly, several (a variable of many values) are alternatives."""
    if len(values) == 1:
        return Matcher(name, "=", values[0])
    return Matcher(name, "=~", "|".join(re.escape(value) for value in sorted(set(values))))
