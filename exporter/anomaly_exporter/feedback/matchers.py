"""Label matchers as Alertmanager writes them, with regular expressions that cannot be made to take for ever."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

OPERATORS: Final = ("=", "!=", "=~", "!~")
MAX_VALUE = 500
"""Characters of a value or a pattern."""
MAX_OPEN = 3
"""Open repetitions (``*``, ``+``, ``{n,}``) in one pattern: a match then takes at most the cube of the length."""
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,199}\Z")
_TEXT = re.compile(r"""([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^",{}]*))\Z""", re.DOTALL)
_OPEN = re.compile(r"[*+]|\{\d*,\}")
_COUNTED = re.compile(r"\{\d+(,\d*)?\}")


class MatcherError(ValueError):
    """A matcher cannot be used; the message says what was expected."""


@dataclass(frozen=True, order=True)
class Matcher:
    """``name operator value``; patterns are anchored at both ends, a missing label is the empty text.

    Raises:
        MatcherError: an unknown operator, a name that is no label, or a pattern beyond the caps.
    """

    name: str
    operator: str
    value: str

    def __post_init__(self) -> None:
        if not _NAME.match(self.name) or self.operator not in OPERATORS or len(self.value) > MAX_VALUE:
            raise MatcherError(
                f"a matcher is a label name, one of {OPERATORS} and at most {MAX_VALUE} characters, "
                f"received {self.name!r:.80} {self.operator!r:.10} {self.value!r:.80}"
            )
        if self.operator in ("=~", "!~"):
            _pattern(self.value)

    def matches(self, value: str) -> bool:
        """Whether a label with ``value`` is meant."""
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        return _matches(self.value, value) == (self.operator == "=~")

    @property
    def positive(self) -> bool:
        """Whether only entities that have the label can be meant."""
        return self.operator in ("=", "=~") and not self.matches("")

    def __str__(self) -> str:
        quoted = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator}"{quoted}"'


def parse_matcher(text: str) -> Matcher:
    """The matcher ``name=value``, ``name!="value"``, ``name=~pattern`` or ``name!~"pattern"``. Raises MatcherError."""
    found = _TEXT.match(text.strip())
    if not found:
        raise MatcherError(
            f"expected a matcher such as container=crabserver or namespace=~'dmwm.*', received {text!r:.80}"
        )
    name, operator, quoted, bare = found.groups()
    value = bare if quoted is None else re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), quoted, flags=re.DOTALL)
    return Matcher(name, operator, value.strip() if quoted is None else value)


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str]:
    """The compiled pattern. Raises MatcherError for one that is wrong or could take too long."""
    plain = re.sub(r"\[(?:\\.|[^\]\\])+\]|\\.", "x", text, flags=re.DOTALL)
    # Alternatives are tried one after the other; inside groups they may add up.
    parts = [plain] if "(" in plain else plain.split("|")
    wrong = ""
    if "(?" in plain or re.search(r"\\[1-9]", text):
        wrong = "groups with options, look-around and back-references"
    elif re.search(r"\)\s*[*+{]", plain):
        wrong = "repeated groups"
    elif max(len(_OPEN.findall(part)) for part in parts) > MAX_OPEN:
        wrong = f"more than {MAX_OPEN} repetitions without an upper end"
    elif max(len(_COUNTED.findall(part)) for part in parts) > MAX_OPEN:
        wrong = f"more than {MAX_OPEN} counted repetitions"
    if wrong:
        raise MatcherError(f"expected a simple regular expression, without {wrong}; received {text!r:.80}")
    try:
        return re.compile(text, re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise MatcherError(f"expected a regular expression: {error}; received {text!r:.80}") from error


@lru_cache(maxsize=65_536)
def _matches(pattern: str, value: str) -> bool:
    return _pattern(pattern).fullmatch(value) is not None
