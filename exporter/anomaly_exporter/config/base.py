"""What every section shares: strictness, immutability and Prometheus-style durations."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:\d+[smhdw])+\Z")
_PART = re.compile(r"(\d+)([smhdw])")

LABEL_NAME = r"^[a-zA-Z_][a-zA-Z0-9_]*$"
NAME = r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$"


def parse_duration(value: Any) -> Any:
    """Seconds of a Prometheus duration: ``"90s"``, ``"1h30m"``, ``"30d"``, or a plain number of seconds."""
    if isinstance(value, str):
        if not _DURATION.match(value):
            raise ValueError("expected a duration such as 60s, 5m, 2h, 30d or 1h30m")
        return sum(int(n) * _UNITS[unit] for n, unit in _PART.findall(value))
    return value


def format_duration(seconds: int) -> str:
    """The shortest Prometheus duration of ``seconds``: 7200 -> ``2h``."""
    if seconds == 0:
        return "0s"
    out, rest = "", seconds
    for unit, size in reversed(_UNITS.items()):
        if unit != "w" and rest >= size:
            out, rest = f"{out}{rest // size}{unit}", rest % size
    return out


Seconds = Annotated[
    int,
    BeforeValidator(parse_duration, json_schema_input_type=int | str),
    Field(ge=0),
]
PositiveSeconds = Annotated[
    int,
    BeforeValidator(parse_duration, json_schema_input_type=int | str),
    Field(gt=0),
]
LabelName = Annotated[str, Field(pattern=LABEL_NAME)]
Name = Annotated[str, Field(pattern=NAME)]


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values are immutable, every field is documented."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)
