"""One thing that somebody said about a stretch of time of some entities, and its JSON.

A record is a *version* of a statement: an edit and a withdrawal are further records with the same ``id``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from anomaly_models.frame import Span

from .matchers import Matcher, MatcherError

Verdict = Literal["expected", "incident", "ignore"]
Origin = Literal["page", "api", "cli", "silence", "annotation", "import"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)
ORIGINS: Final[tuple[Origin, ...]] = get_args(Origin)

MAX_MATCHERS = 32
MAX_TEXT = 2000
"""Characters of a comment or a remedy."""
MAX_NAME = 200
"""Characters of an author, an id or the name of a target."""
LONGEST = 366 * 86_400
"""Seconds that one statement may span."""
LATEST = 2**40
_ID = re.compile(r"[A-Za-z0-9._:=+-]{1,200}\Z")
_FIELDS = frozenset(
    {"id", "verdict", "withdrawn", "target", "matchers", "start", "end", "author", "source", "source_id"}
    | {"comment", "fixed_by", "stated_at", "recorded_at"}
)


class RecordError(ValueError):
    """A record breaks the format or a cap; the message says what was expected."""


@dataclass(frozen=True)
class Record:
    """``verdict`` on the entities of ``target`` (None: of any) that all ``matchers`` match, in [start, end) data time.

    ``expected``: it was normal and may come again; ``incident``: it was rightly an alert; ``ignore``: neither, do not
    learn from it. ``id`` names the statement, ``source_id`` the silence, annotation or row it came from.
    ``fixed_by``: the remedy that helped. ``stated_at``: wall time when somebody said so, which decides between
    statements that disagree; ``recorded_at``: wall time when this version was kept, which decides between versions.
    ``withdrawn``: this version takes the statement back.

    Raises:
        RecordError: a field is beyond its cap, or the span is empty or too long.
    """

    id: str
    verdict: Verdict
    start: int
    end: int
    author: str
    source: Origin
    stated_at: float
    recorded_at: float
    target: str | None = None
    matchers: tuple[Matcher, ...] = ()
    source_id: str = ""
    comment: str = ""
    fixed_by: str = ""
    withdrawn: bool = False

    def __post_init__(self) -> None:
        _require(self.verdict in VERDICTS, f"verdict must be one of {VERDICTS}, received {self.verdict!r:.80}")
        _require(self.source in ORIGINS, f"source must be one of {ORIGINS}, received {self.source!r:.80}")
        _require(_ID.match(self.id) is not None, f"id must be 1 to 200 of A-Za-z0-9._:=+-, received {self.id!r:.80}")
        _require(
            0 <= self.start < self.end <= LATEST and self.end - self.start <= LONGEST,
            f"a statement needs 0 <= start < end, at most {LONGEST // 86_400} days apart, "
            f"received [{self.start}, {self.end})",
        )
        for name, longest in (("author", MAX_NAME), ("source_id", MAX_NAME), ("comment", MAX_TEXT)):
            _short(name, getattr(self, name), longest)
        _short("fixed_by", self.fixed_by, MAX_TEXT)
        _short("target", self.target or "", MAX_NAME)
        _require(len(self.matchers) <= MAX_MATCHERS, f"at most {MAX_MATCHERS} matchers, received {len(self.matchers)}")
        times = (self.stated_at, self.recorded_at)
        _require(all(math.isfinite(t) and t >= 0 for t in times), f"times must be finite and >= 0, received {times}")

    @property
    def span(self) -> Span:
        return Span(self.start, self.end)

    def concerns(self, target: str, subject: Mapping[str, str]) -> bool:
        """Whether this is about the entity of ``target`` that ``subject`` describes (see :func:`.subjects.subject`)."""
        return self.target in (None, target) and all(m.matches(subject.get(m.name, "")) for m in self.matchers)


def to_json(record: Record) -> dict[str, Any]:
    """``record`` as JSON; :func:`from_json` reads it back."""
    out = {name: getattr(record, name) for name in sorted(_FIELDS)}
    out["matchers"] = [[m.name, m.operator, m.value] for m in record.matchers]
    return out


def from_json(data: object) -> Record:
    """The record that ``data`` describes. Raises RecordError."""
    if not isinstance(data, Mapping) or set(data) != _FIELDS:
        received = sorted(map(str, data))[:20] if isinstance(data, Mapping) else type(data).__name__
        raise RecordError(f"a record has the fields {sorted(_FIELDS)}, received {received}")
    for name in ("start", "end"):
        _require(type(data[name]) is int, f"{name} must be an integer, received {data[name]!r:.80}")
    for name in ("stated_at", "recorded_at"):
        number = isinstance(data[name], int | float) and not isinstance(data[name], bool)
        _require(number, f"{name} must be a number, received {data[name]!r:.80}")
    _require(isinstance(data["withdrawn"], bool), f"withdrawn must be a boolean, received {data['withdrawn']!r:.80}")
    for name in ("id", "verdict", "author", "source", "source_id", "comment", "fixed_by"):
        _require(isinstance(data[name], str), f"{name} must be a text, received {data[name]!r:.80}")
    target = data["target"]
    _require(target is None or isinstance(target, str), f"target must be a text or null, received {target!r:.80}")
    fields = {name: data[name] for name in _FIELDS - {"matchers"}}
    return Record(**fields, matchers=_matchers(data["matchers"]))


def _matchers(data: object) -> tuple[Matcher, ...]:
    if not isinstance(data, Sequence) or isinstance(data, str) or len(data) > MAX_MATCHERS:
        raise RecordError(f"matchers must be a list of at most {MAX_MATCHERS}, received {str(data)[:80]!r}")
    out = []
    for item in data:
        if not isinstance(item, Sequence) or len(item) != 3 or not all(isinstance(part, str) for part in item):
            raise RecordError(f"a matcher is [name, operator, value], received {str(item)[:80]!r}")
        try:
            out.append(Matcher(*item))
        except MatcherError as error:
            raise RecordError(str(error)) from error
    return tuple(out)


def _short(name: str, text: str, longest: int) -> None:
    _require(len(text) <= longest, f"{name} has at most {longest} characters, received {len(text)}")
    # A lone surrogate or a NUL passes JSON, but not what comes after: files, labels, other people's parsers.
    _require(text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text), f"{name} must be valid text")
    _require("\0" not in text, f"{name} must not hold a NUL")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise RecordError(message)
