"""Whose days and hours the model `auto` compares."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

from .base import Section


def _known(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        # ZoneInfoNotFoundError is a KeyError that talks of packages; a folder of zones is an OSError.
        raise ValueError("expected an IANA time zone such as UTC, Europe/Berlin or America/New_York") from None
    return name


class Season(Section):
    timezone: Annotated[str, AfterValidator(_known)] = "UTC"
    """IANA time zone whose clock the load follows; the change to summer time moves the daily profile along."""
    excluded_days: tuple[date, ...] = ()
    """Local days, such as holidays, that are compared only with each other and teach no ordinary day what is usual."""
