"""What is common to silences and annotations: words, remedies, times, and which labels are ours."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from anomaly_exporter.config import Config, Words

from .record import MAX_TEXT, Record, Verdict
from .subjects import subject_labels

_FIXED: Final = re.compile(r"\bfixed by:?\s+([^\n\r]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Heard:
    """What a source says now. ``records``: statements; ``mute``: ids that are there but say nothing (any more);
    ``skipped``: how many were no feedback although they looked like it, by reason."""

    records: tuple[Record, ...] = ()
    mute: frozenset[str] = frozenset()
    skipped: dict[str, int] = field(default_factory=dict)


def verdict_in(text: str, words: Words) -> Verdict | None:
    """The verdict whose word stands first in ``text`` as a whole word, in any case."""
    found: list[tuple[int, Verdict]] = []
    meanings: tuple[tuple[Verdict, Iterable[str]], ...] = (
        ("expected", words.expected),
        ("incident", words.incident),
        ("ignore", words.ignore),
    )
    for verdict, of_verdict in meanings:
        for word in of_verdict:
            # A hyphen belongs to a word: "non-expected" is not "expected".
            match = re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text, re.IGNORECASE)
            if match:
                found.append((match.start(), verdict))
    return min(found)[1] if found else None


def remedy_in(text: str) -> str:
    """What stands behind ``fixed by`` in ``text``, up to the end of its line."""
    match = _FIXED.search(text)
    return match.group(1).strip()[:MAX_TEXT] if match else ""


def wall_time(text: object) -> float:
    """Unix time of an RFC 3339 instant. Raises ValueError."""
    if not isinstance(text, str) or len(text) > 64:
        raise ValueError(f"expected an instant such as 2026-01-31T12:00:00Z, received {str(text)[:80]!r}")
    # Python reads microseconds, Go writes nanoseconds.
    seconds = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    if seconds.tzinfo is None:
        raise ValueError(f"expected an instant with a time zone, received {text[:80]!r}")
    return seconds.timestamp()


def clean_text(text: object, longest: int) -> str:
    """``text`` as a record may hold it: no NUL, nothing that cannot be encoded, not too long."""
    plain = text if isinstance(text, str) else ""
    return plain.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:longest]


def whole(start: float, end: float) -> tuple[int, int]:
    """The smallest span of whole seconds that holds [start, end)."""
    return max(math.floor(start), 0), max(math.ceil(end), 0)


def known_labels(config: Config) -> frozenset[str]:
    """Names of all labels by which an alert of ours can be told from another."""
    return frozenset(name for target in config.targets for name in subject_labels(config, target))
