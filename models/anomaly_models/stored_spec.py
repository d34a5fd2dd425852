"""Nested settings as JSON and back, checked field by field: what a pack says of them is not trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from .exceptions import PackRejectedError

Settings = TypeVar("Settings")
MOST = 1e12
"""Largest number of a setting."""
MAX_ITEMS = 1000
MAX_TEXT = 100


def to_json(settings: Any) -> dict[str, Any]:
    """A dataclass of numbers, texts, tuples of texts and such dataclasses, as JSON."""
    out: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            value = to_json(value)
        elif isinstance(value, tuple):
            value = list(value)
        out[field.name] = value
    return out


def from_json(kind: type[Settings], data: object, path: str = "settings") -> Settings:
    """The ``kind`` that ``to_json`` wrote.

    Raises:
        PackRejectedError: a field is missing, unknown, of another type, or beyond what such settings hold.
    """
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(data, Mapping) or set(data) != set(names):
        received = tuple(data)[:9] if isinstance(data, Mapping) else repr(data)[:80]
        raise PackRejectedError(f"{path} must hold exactly {', '.join(names)}, received {received}")
    hints = get_type_hints(kind)
    values = {name: _value(hints[name], data[name], f"{path}.{name}") for name in names}
    try:
        return kind(**values)
    except (ValueError, KeyError) as error:  # a KeyError is an unknown time zone
        raise PackRejectedError(f"{path}: {error}") from error


def _value(kind: Any, value: object, path: str) -> Any:
    if is_dataclass(kind):
        return from_json(kind, value, path)  # type: ignore[arg-type]
    if kind is int and type(value) is int and 0 <= value <= MOST:
        return value
    if kind is float and type(value) in (int, float) and math.isfinite(value) and abs(value) <= MOST:  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    if kind is str and isinstance(value, str) and len(value) <= MAX_TEXT:
        return value
    texts = isinstance(value, list) and all(isinstance(v, str) and len(v) <= MAX_TEXT for v in value)
    if kind == tuple[str, ...] and texts and len(value) <= MAX_ITEMS:  # type: ignore[arg-type]
        return tuple(value)  # type: ignore[arg-type]
    raise PackRejectedError(f"{path} must be {getattr(kind, '__name__', kind)}, received {value!r:.80}")
