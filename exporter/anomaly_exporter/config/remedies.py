"""What a person is likely to do next, by what departs and in which direction."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Annotated, Literal, Self

import yaml
from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from .base import LabelName, Name, Section


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from error
    if "`" in text or "(?<" in text or "(?=" in text or "(?!" in text or re.search(r"\\[1-9]", text):
        raise ValueError("expected a regular expression of RE2, without back quotes, look-around or back-references")
    return text


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]
Line = Annotated[str, Field(pattern=r"^[^\n\r]+$")]


class Remedy(Section):
    target: Name | None = None
    """Only for series of this target."""
    metric: Pattern | None = None
    """Only for this `metric`: a regular expression that matches the whole value."""
    direction: Literal["any", "up", "down"] = "any"
    """Only when the observed value lies above (`up`) or below (`down`) the expected one."""
    labels: dict[LabelName, Pattern] = {}
    """Only for series with these label values: regular expressions that match the whole value."""
    text: Line
    """The step, in one line."""
    runbook: Line | None = None
    """URL of a page that says more."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.target is not None and self.metric is not None:
            raise ValueError("a remedy matches by target or by metric, received both")
        return self


@cache
def default_remedies() -> tuple[Remedy, ...]:
    """The remedies that ship with the package, in order."""
    text = (resources.files(__package__) / "remedies.yaml").read_text(encoding="utf-8")
    return TypeAdapter(tuple[Remedy, ...]).validate_python(yaml.safe_load(text))
