"""Logs to stderr, one line per event, as logfmt or JSON; credentials in a line are masked.

Fields come through the standard ``extra``: ``log.warning("read failed", extra={"target": "cpu"})``.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

STYLES = ("logfmt", "json")

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_NAMES = {logging.CRITICAL: "error", **{number: name for name, number in LEVELS.items()}}
RESERVED_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Names that ``extra`` may not use."""
_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f\u2028\u2029]+\Z")
_KEY = re.compile(r"[^A-Za-z0-9_.-]")
_SECRETS = (
    # user:password@ of a URL, then what follows an authorization scheme.
    (re.compile(r"(?<=://)[^/\s@\"']+@"), "***@"),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE), r"\1 ***"),
)


def setup_logging(level: str = "info", style: str = "logfmt", stream: TextIO | None = None) -> None:
    """Send the log of the whole process to ``stream`` (stderr) in ``style``, from ``level`` upwards.

    Raises:
        ValueError: ``level`` is not one of :data:`LEVELS`, or ``style`` not one of :data:`STYLES`.
    """
    if level not in LEVELS or style not in STYLES:
        raise ValueError(f"expected a level of {list(LEVELS)} and a style of {list(STYLES)}, received {level}, {style}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Formatter(style))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    # Connection pools narrate every request on debug; their URLs are ours to log, once.
    logging.getLogger("urllib3").setLevel(max(LEVELS[level], logging.INFO))


def mask(text: str) -> str:
    """``text`` without passwords in URLs and without bearer or basic credentials."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class Formatter(logging.Formatter):
    """One record, one line: ``ts level logger msg``, then the fields in alphabetical order."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self._layout = style

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        if self._layout == "json":
            return json.dumps(fields, ensure_ascii=True, default=str)
        return " ".join(f"{key}={_value(value)}" for key, value in fields.items())


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.created, UTC)
    fields: dict[str, Any] = {
        "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": _NAMES.get(record.levelno, record.levelname.lower()),
        "logger": record.name,
        "msg": mask(record.getMessage()),
    }
    for key, value in sorted(vars(record).items()):
        if key not in RESERVED_FIELDS:
            plain = isinstance(value, bool | int | float) or value is None
            fields[_KEY.sub("_", key)] = value if plain else mask(str(value))
    if record.exc_info and record.exc_info[1] is not None:
        fields["trace"] = mask("".join(traceback.format_exception(*record.exc_info)).rstrip())
    return fields


def _value(value: object) -> str:
    """A logfmt value: bare where that is unambiguous, otherwise quoted with JSON's escapes, always on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=True)
