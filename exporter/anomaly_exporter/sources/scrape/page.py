"""From the text of a metrics page to samples: text format 0.0.4 and OpenMetrics.

A line of a sample is the same in both. Only lines of metrics that somebody asked for are read; of these every one must
be sound, or nothing of the page is used. Every step is linear in the size of the page.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from anomaly_exporter.sources.base import SourceAnswerError

Labels = tuple[tuple[str, str], ...]
"""Labels of a series, sorted by name."""
Samples = dict[str, dict[Labels, float]]
"""Values by metric and labels."""

LONGEST_LINE = 64 * 1024
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|(?=\}))', re.DOTALL)
_VALUE = re.compile(r"[ \t]*([^ \t#]+)(?:[ \t]+[0-9.eE+-]+)?[ \t]*(?:#.*)?\Z")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf|infinity|nan)\Z", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


def parse(body: bytes, wanted: Collection[str], content_type: str = "") -> tuple[Samples, int]:
    """Samples of the metrics ``wanted``, and how many series came twice (the first one counts).

    Timestamps and exemplars on the page are passed over: a sample is as old as its scrape.

    Raises:
        SourceAnswerError: the page breaks the format, or ends before its end.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceAnswerError(f"the page is not UTF-8: {error}") from error
    lines = text.split("\n")
    if "openmetrics" in content_type.lower() and text.rstrip("\n").rpartition("\n")[2] != "# EOF":
        raise SourceAnswerError('the page is cut off: expected "# EOF" as the last line of OpenMetrics')
    found: Samples = {}
    twice = 0
    for number, line in enumerate(lines, 1):
        name = _NAME.match(line)
        if name is None or name[0] not in wanted:
            continue
        if len(line) > LONGEST_LINE:
            raise SourceAnswerError(f"line {number} of the page has {len(line)} characters, at most {LONGEST_LINE}")
        labels, value = _sample(line.rstrip("\r"), name.end(), number)
        series = found.setdefault(name[0], {})
        twice += labels in series
        series.setdefault(labels, value)
    return found, twice


def _sample(line: str, at: int, number: int) -> tuple[Labels, float]:
    """Labels and value of the line whose name ends at ``at``."""
    labels: dict[str, str] = {}
    at += len(line[at:]) - len(line[at:].lstrip(" \t"))
    if line[at : at + 1] == "{":
        at += 1
        while label := _LABEL.match(line, at):
            if label[1] in labels:
                raise _broken(number, line)
            labels[label[1]] = _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[0]), label[2])
            at = label.end()
        at += len(line[at:]) - len(line[at:].lstrip(" \t"))
        if line[at : at + 1] != "}":
            raise _broken(number, line)
        at += 1
    value = _VALUE.match(line, at)
    if value is None or not _NUMBER.match(value[1]):
        raise _broken(number, line)
    return tuple(sorted((k, v) for k, v in labels.items() if v)), float(value[1])


def _broken(number: int, line: str) -> SourceAnswerError:
    return SourceAnswerError(f'line {number} of the page: expected name{{label="value"}} number, got {line[:120]!r}')
