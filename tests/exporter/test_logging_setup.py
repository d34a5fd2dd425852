"""Logs are one parsable line per event, in two formats, without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter import logging_setup


@pytest.fixture(autouse=True)
def _restore_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def _logged(style: str, level: str = "info") -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logging_setup.setup_logging(level, style, stream)
    return logging.getLogger("anomaly_exporter.test"), stream


def test_logfmt_has_time_level_logger_message_then_fields() -> None:
    log, stream = _logged("logfmt")
    log.warning("read failed", extra={"target": "cpu", "seconds": 1.5, "attempt": 2})
    line = stream.getvalue()
    assert line.startswith("ts=20")
    assert line.split(" ", 1)[1] == (
        'level=warn logger=anomaly_exporter.test msg="read failed" attempt=2 seconds=1.5 target=cpu\n'
    )


def test_json_holds_the_same_fields() -> None:
    log, stream = _logged("json")
    log.error("read failed", extra={"target": "cpu"})
    fields = json.loads(stream.getvalue())
    assert fields.pop("ts").endswith("Z")
    assert fields == {"level": "error", "logger": "anomaly_exporter.test", "msg": "read failed", "target": "cpu"}


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)])
def test_a_level_lets_itself_and_the_graver_ones_through(level: str, lines: int) -> None:
    log, stream = _logged("logfmt", level)
    for call in (log.debug, log.info, log.warning, log.error):
        call("x")
    assert len(stream.getvalue().splitlines()) == lines


@given(st.text(max_size=60), st.text(max_size=60))
def test_hostile_text_never_breaks_the_line(message: str, value: str) -> None:
    for style in ("logfmt", "json"):
        record = logging.makeLogRecord({"msg": "%s", "args": (message,), "levelno": logging.INFO, "field": value})
        line = logging_setup.Formatter(style).format(record)
        assert len(line.splitlines()) == 1
        if style == "json":
            assert json.loads(line)["field"] == logging_setup.mask(value)


@pytest.mark.parametrize("style", ["logfmt", "json"])
def test_credentials_are_masked_in_messages_fields_and_traces(style: str) -> None:
    log, stream = _logged(style)
    try:
        raise RuntimeError("GET http://admin:s3cr3t@prometheus:9090/api failed")
    except RuntimeError:
        log.exception(
            "sent Authorization: Bearer abcdefgh12345678 to https://u:s3cr3t@host/x", extra={"url": "http://s3cr3t@h/"}
        )
    text = stream.getvalue()
    assert "s3cr3t" not in text
    assert "abcdefgh" not in text
    assert "http://***@prometheus:9090/api" in text


def test_a_trace_stays_on_the_line_of_its_event() -> None:
    log, stream = _logged("logfmt")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    assert len(stream.getvalue().splitlines()) == 1
    assert "ZeroDivisionError" in stream.getvalue()


@pytest.mark.parametrize(("level", "style"), [("loud", "json"), ("info", "xml")])
def test_an_unknown_level_or_style_is_refused_by_name(level: str, style: str) -> None:
    with pytest.raises(ValueError, match=r"loud|xml"):
        logging_setup.setup_logging(level, style)
