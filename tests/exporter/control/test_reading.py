"""Bodies, forms, queries and times are read strictly."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.control.problems import Problem
from anomaly_exporter.control.reading import LATEST, form, json_body, query, read_time, single, written_time
from anomaly_exporter.http_server import Request


def request(body: bytes = b"", kind: str = "application/json", asked: str = "") -> Request:
    return Request("POST", "/", {"content-type": kind}, True, len(body), body, asked)


@pytest.mark.parametrize(
    "text",
    [
        "1769860800",
        "1769860800000",
        "2026-01-31T12:00:00Z",
        "2026-01-31T13:00:00+01:00",
        "2026-01-31T12:00",
        " 1769860800.0",
    ],
)
def test_a_time_is_read_in_every_common_form(text: str) -> None:
    assert read_time(text) == 1_769_860_800


@pytest.mark.parametrize(
    "text", ["", "now", "-1", "1e9", "inf", "0001-01-01", "99999-01-01", "2026-13-01", "٣", "1" * 30]
)
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected Unix seconds"):
        read_time(text)


@given(st.integers(0, 10**11 - 1))
def test_a_time_that_was_written_reads_the_same(seconds: int) -> None:
    assert seconds > LATEST or read_time(written_time(seconds)) == seconds


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert 0 <= read_time(text) <= LATEST


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"[1e999]", b'{"a": Infinity}', b"\xff", b"[" * 60_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        json_body(request(body))
    assert caught.value.status == 400


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_json_must_be_called_json(kind: str) -> None:
    with pytest.raises(Problem) as caught:
        json_body(request(b"{}", kind))
    assert caught.value.status == 415


def test_fields_are_decoded_and_bounded() -> None:
    assert query(request(asked="a=1&a=%C3%A9&b=+%2B&c")) == {"a": ["1", "é"], "b": [" +"], "c": [""]}
    assert form(request(b"x=%ff&y=%00", "application/x-www-form-urlencoded")) == {"x": ["�"], "y": ["\0"]}
    with pytest.raises(Problem):
        query(request(asked="a=1&" * 300))
    with pytest.raises(Problem) as caught:
        single({"a": ["1", "2"]})
    assert caught.value.errors == ("a: expected once, received 2 times",)
