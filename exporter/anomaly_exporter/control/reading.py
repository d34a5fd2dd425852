"""What clients send, read strictly: JSON bodies, forms, queries, times."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from anomaly_exporter.config import ConfigError
from anomaly_exporter.config.load import describe
from anomaly_exporter.http_server import Request

from .problems import Problem, unprocessable

MAX_FIELDS: Final = 200
LATEST: Final = 253_402_300_799
"""The last second of the year 9999."""
Document = TypeVar("Document", bound=BaseModel)
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?\Z")


def json_body(request: Request) -> Any:
    """The JSON of a request. Raises Problem."""
    if content_type(request) != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json")
    try:
        return json.loads(request.body, parse_constant=_not_a_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "expected a body of valid JSON") from error


def document(kind: type[Document], data: Any) -> Document:
    """``data`` as a document of ``kind``. Raises Problem with a line for everything that is wrong."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise unprocessable([line.removeprefix("configuration: ") for line in describe(error)]) from error


def form(request: Request) -> dict[str, list[str]]:
    """The fields of a form. Raises Problem."""
    if content_type(request) != "application/x-www-form-urlencoded":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected a form: application/x-www-form-urlencoded")
    return _fields(request.body.decode("latin-1"))


def query(request: Request) -> dict[str, list[str]]:
    """The fields behind the question mark. Raises Problem."""
    return _fields(request.query)


def single(fields: Mapping[str, list[str]]) -> dict[str, str]:
    """Fields of which each may come once. Raises Problem."""
    if twice := sorted(name for name, values in fields.items() if len(values) > 1):
        raise unprocessable([f"{name[:80]}: expected once, received {len(fields[name])} times" for name in twice])
    return {name: values[0] for name, values in fields.items()}


def content_type(request: Request) -> str:
    """Media type of the body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_time(text: str) -> float:
    """Unix seconds of a time as people and programs write it.

    Seconds, or milliseconds as Grafana writes them (from 10^11 on), or ISO 8601, in UTC where no zone is given.

    Raises:
        ValueError: says what was expected.
    """
    text = text.strip()
    expected = f"expected Unix seconds, milliseconds or a time such as 2026-01-31T12:00:00Z, received {text[:60]!r}"
    if _NUMBER.match(text):
        number = float(text)
        seconds = number / 1000 if number >= 1e11 else number
    else:
        try:
            # The day before year 1 and the like overflow on the way to seconds.
            moment = datetime.fromisoformat(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError) as error:
            raise ValueError(expected) from error
    if not 0 <= seconds <= LATEST:
        raise ValueError(expected)
    return seconds


def written_time(seconds: float) -> str:
    """The time as documents write it: ``2026-01-31T12:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def lines_of(error: ConfigError) -> list[str]:
    """Problems of a configuration, one by one."""
    return str(error).splitlines()


def _fields(text: str) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"expected at most {MAX_FIELDS} fields") from error
    out: dict[str, list[str]] = {}
    for name, value in pairs:
        out.setdefault(name, []).append(value)
    return out


def _not_a_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large")
    return number
