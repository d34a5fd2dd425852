"""The few things we do to PromQL: know a plain selector, put the step in, aggregate, compress time.

This is a reader of tokens, not a parser: the server parses. Strings and comments are never touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Aggregation = Literal["mean", "sum", "max"]

_OPERATOR = {"mean": "avg", "sum": "sum", "max": "max"}
_STRING = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)"""
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_MATCHER = rf"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*({_STRING})\s*"
_SELECTOR = re.compile(
    rf"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{{((?:{_MATCHER},)*(?:{_MATCHER})?\s*)\}})?\s*\Z", re.DOTALL
)
_LENGTH = rf"(?:{_DURATION}|\$step)"
_TOKEN = re.compile(
    rf"(?P<skip>{_STRING}|\#[^\n]*)"
    rf"|(?P<window>\[\s*\$step\s*\])"
    rf"|(?P<times>\[\s*{_LENGTH}\s*(?::\s*{_LENGTH}?\s*)?\]|\b(?i:offset)\s+-?\s*{_LENGTH})"
    rf"|(?P<step>\$step)\b",
    re.DOTALL,
)
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_MILLISECONDS = {
    "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000,
}  # fmt: skip
_NUMBERS = frozenset({"inf", "nan"})
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True)
class Matcher:
    """One condition of a selector; ``value`` is unescaped."""

    label: str
    operator: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` meet it; an absent label is empty, a regular expression must meet the whole value."""
        have = labels.get(self.label, "")
        if self.operator in ("=", "!="):
            return (have == self.value) == (self.operator == "=")
        return (re.fullmatch(self.value, have, re.DOTALL) is not None) == (self.operator == "=~")


@dataclass(frozen=True)
class Selector:
    """A plain selector: no range, no offset, no function."""

    metric: str
    matchers: tuple[Matcher, ...]

    def matches(self, metric: str, labels: Mapping[str, str]) -> bool:
        return (not self.metric or metric == self.metric) and all(
            m.matches({**labels, "__name__": metric}) for m in self.matchers
        )


def selector(expr: str) -> Selector | None:
    """``expr`` as a plain selector, or None when it is any other expression."""
    found = _SELECTOR.match(expr)
    if not found or (found[1] or "").lower() in _NUMBERS or not (found[1] or found[2]):
        return None
    parts = re.finditer(_MATCHER, found[2] or "", re.DOTALL)
    return Selector(found[1] or "", tuple(Matcher(m[1], m[2], _unquote(m[3])) for m in parts))


def quote(value: str) -> str:
    """``value`` as a PromQL string literal."""
    return '"' + value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'


def query(expr: str, by: Iterable[str], aggregation: Aggregation, step_ms: int, speed: float = 1.0) -> str:
    """What is asked for ``expr``: no lookback over gaps, one series per value of the labels ``by``.

    ``step_ms`` is the step in wall milliseconds. A plain selector is read by ``last_over_time``. ``[$step]`` is written
    one millisecond short: before Prometheus 3 a range includes its left end, and a sample that sits exactly on the
    previous instant would otherwise be painted over a gap.
    """
    inner = f"last_over_time({expr.strip()}[$step])" if selector(expr) else expr.strip()
    # The line break ends a comment on the last line of the expression.
    return f"{_OPERATOR[aggregation]} by ({', '.join(by)}) ({substitute(inner, step_ms, speed)}\n)"


def age(expr: str, speed: float = 1.0) -> str:
    """What is asked for the age of the newest raw sample of ``expr``, in wall seconds.

    The difference and not the time itself: a Unix time does not fit a float32.
    """
    return f"time() - max(timestamp({substitute(expr.strip(), 1000, speed)}\n))"


def substitute(expr: str, step_ms: int, speed: float) -> str:
    """``expr`` with ``$step`` put in, and its ranges and offsets divided by ``speed``."""

    def put(match: re.Match[str]) -> str:
        text = match[0]
        if match["skip"] is not None:
            return text
        if match["window"] is not None:
            return f"[{max(step_ms - 1, 1)}ms]"
        if match["times"] is not None and speed != 1:
            text = re.sub(_DURATION, lambda d: _compressed(d[0], speed), text)
        return text.replace("$step", f"{step_ms}ms")

    return _TOKEN.sub(put, expr)


def _compressed(duration: str, speed: float) -> str:
    milliseconds = sum(int(n) * _MILLISECONDS[unit] for n, unit in _PART.findall(duration))
    return f"{max(round(milliseconds / speed), 1)}ms"


def _unquote(literal: str) -> str:
    body = literal[1:-1]
    return body if literal[0] == "`" else "".join(_unescaped(body))


def _unescaped(body: str) -> Iterator[str]:
    pieces = re.finditer(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)|[^\\]+", body, re.DOTALL)
    for piece in pieces:
        code = piece[1]
        if code is None:
            yield piece[0]
        elif len(code) > 1:
            yield chr(int(code[1:], 16))
        else:
            yield _ESCAPES.get(code, code)
