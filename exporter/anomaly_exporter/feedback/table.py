"""Statements as a CSV table: dataset, entity, metric, start, end, kind, role, note.

``dataset`` is a target (``*``: any), ``entity`` what its entities are told apart by: ``container=a,namespace=~b.*``, or
the plain value of one label; ``metric`` that of a target or ``*``; ``start`` and ``end`` data time in seconds, the end
not included; ``kind`` where it came from; ``role`` the verdict, see :data:`ROLES`; ``note`` the comment.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from anomaly_exporter.config import Config, Target

from .matchers import Matcher, MatcherError, parse_matcher
from .record import MAX_TEXT, Record, RecordError, Verdict

COLUMNS: Final = ("dataset", "entity", "metric", "start", "end", "kind", "role", "note")
ROLES: Final[Mapping[str, Verdict]] = {
    "anomaly": "incident",
    "incident": "incident",
    "expected": "expected",
    "ignore": "ignore",
    "ambiguous": "ignore",
}
"""What a role means; rows of other roles (``info``) say nothing and are counted."""
ROLE_OF: Final[Mapping[Verdict, str]] = {"incident": "anomaly", "expected": "expected", "ignore": "ignore"}
MAX_ROWS: Final = 100_000
ANY: Final = "*"


class TableError(ValueError):
    """A table cannot be imported; the message names the line and what was expected."""


@dataclass(frozen=True)
class Reading:
    """How a table is to be read: rows of ``dataset`` only, as entities of ``target``, told apart by ``label``."""

    dataset: str | None = None
    target: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Table:
    """Statements of a table, and rows that were left out by their role."""

    records: tuple[Record, ...]
    left_out: Counter[str]


def parse(text: str, config: Config, reading: Reading, author: str, now: float) -> Table:
    """The statements of a CSV table, made at wall time ``now``; the same row has the same id every time.

    Raises:
        TableError: a column or a row is wrong; nothing of the table is used then.
    """
    rows = csv.DictReader(io.StringIO(text), strict=True)
    if rows.fieldnames is None or not set(COLUMNS[:7]) <= set(rows.fieldnames):
        raise TableError(f"expected the columns {', '.join(COLUMNS)}, received {rows.fieldnames}")
    records: list[Record] = []
    left_out: Counter[str] = Counter()
    try:
        for row in rows:
            if rows.line_num > MAX_ROWS:
                raise TableError(f"a table has at most {MAX_ROWS} rows")
            if None in (row[name] for name in COLUMNS[:7]):
                raise ValueError(f"expected {len(COLUMNS)} cells, received {sum(v is not None for v in row.values())}")
            if reading.dataset is not None and row["dataset"] != reading.dataset:
                continue
            verdict = ROLES.get(row["role"].strip().lower())
            if verdict is None:
                left_out[row["role"]] += 1
            else:
                records.append(_record(row, verdict, config, reading, (author, now)))
    except (RecordError, MatcherError, csv.Error, ValueError, OverflowError) as error:
        raise TableError(f"line {rows.line_num}: {error}") from error
    return Table(tuple(records), left_out)


def write(statements: Iterable[Record]) -> str:
    """``statements`` as a table that :func:`parse` reads back."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for r in statements:
        metric = next((m.value for m in r.matchers if m.name == "metric" and m.operator == "="), ANY)
        entity = ",".join(str(m) for m in r.matchers if (m.name, m.operator) != ("metric", "=")) or ANY
        kind, role = r.source, ROLE_OF[r.verdict]
        rows.writerow((r.target or ANY, entity, metric, r.start, r.end, kind, role, r.comment))
    return out.getvalue()


def _record(
    row: Mapping[str, str], verdict: Verdict, config: Config, reading: Reading, said: tuple[str, float]
) -> Record:
    target = _target(row["dataset"], config, reading)
    start, end = (int(float(row[name])) for name in ("start", "end"))
    matchers = (*_entity(row["entity"].strip(), target, config, reading), *_metric(row["metric"], config))
    parts = [target.name if target else ANY, *map(str, matchers), str(start), str(end), verdict]
    author, now = said
    return Record(
        id=f"import:{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:32]}",
        verdict=verdict,
        start=start,
        end=end,
        author=author,
        source="import",
        stated_at=now,
        recorded_at=now,
        target=target.name if target else None,
        matchers=matchers,
        comment=(row.get("note") or "")[:MAX_TEXT],
    )


def _target(dataset: str, config: Config, reading: Reading) -> Target | None:
    name = reading.target or dataset
    if name in (ANY, ""):
        return None
    for target in config.targets:
        if target.name == name:
            return target
    known = ", ".join(t.name for t in config.targets)
    raise TableError(f"dataset {name!r} is no target; known are {known}; or say --target, and --dataset for its rows")


def _entity(text: str, target: Target | None, config: Config, reading: Reading) -> tuple[Matcher, ...]:
    if text in (ANY, ""):
        return ()
    if "=" in text or "!~" in text:
        return tuple(parse_matcher(part) for part in _parts(text))
    label = reading.label or (target or config.targets[0]).labels[-1]
    return (Matcher(label, "=", text),)


def _metric(text: str, config: Config) -> tuple[Matcher, ...]:
    """A metric that is no target's is a feature of one: statements are about the whole entity."""
    return (Matcher("metric", "=", text),) if text in {t.metric for t in config.targets} else ()


def _parts(text: str) -> list[str]:
    """Matchers between commas; commas inside quotes belong to a value."""
    out, quoted, escaped = [""], False, False
    for character in text:
        if character == "," and not quoted:
            out.append("")
            continue
        quoted ^= character == '"' and not escaped
        escaped = character == "\\" and not escaped
        out[-1] += character
    return [part for part in out if part.strip()]
