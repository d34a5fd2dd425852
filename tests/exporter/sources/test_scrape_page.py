"""Pages of applications: what is on them is read; what breaks the format is refused as a whole, whatever it is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from anomaly_exporter.sources import SourceAnswerError
from anomaly_exporter.sources.scrape.page import LONGEST_LINE, parse

TEXT = "text/plain; version=0.0.4"


def read(text: str, *names: str, kind: str = TEXT) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    return parse(text.encode(), names, kind)[0]


@pytest.mark.parametrize("kind", [TEXT, OPENMETRICS])
def test_what_a_client_library_writes_is_read_in_both_formats(kind: str) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("queue_length", 'with "quotes" and \\ in the help', ["queue"], registry=registry)
    gauge.labels('a "b" \\ c\nd').set(3.5)
    gauge.labels("").set(-1e300)
    Counter("requests", "requests", registry=registry).inc(7)
    histogram = Histogram("seconds", "seconds", buckets=(0.1, 1), registry=registry)
    histogram.observe(0.5, {"trace": "abc"})
    text = generate_openmetrics(registry) if kind == OPENMETRICS else generate_latest(registry)
    found, twice = parse(text, {"queue_length", "requests_total", "seconds_bucket", "seconds_sum"}, kind)
    assert found["queue_length"] == {(("queue", 'a "b" \\ c\nd'),): 3.5, (): -1e300}
    assert found["requests_total"] == {(): 7.0}
    assert found["seconds_bucket"] == {(("le", "0.1"),): 0.0, (("le", "1.0"),): 1.0, (("le", "+Inf"),): 1.0}
    assert found["seconds_sum"] == {(): 0.5}
    assert twice == 0


def test_timestamps_and_exemplars_are_passed_over() -> None:
    assert read('a{x="1",} 2 1700000000000\nb_bucket{le="1"} 3 # {t="z"} 0.5 1.2\n', "a", "b_bucket") == {
        "a": {(("x", "1"),): 2.0},
        "b_bucket": {(("le", "1"),): 3.0},
    }


@pytest.mark.parametrize(
    ("text", "value"), [("1e3", 1000.0), ("+Inf", math.inf), ("-Inf", -math.inf), (".5", 0.5), ("-0", 0.0)]
)
def test_numbers_of_the_format_are_numbers(text: str, value: float) -> None:
    assert read(f"a {text}", "a")["a"][()] == value


def test_nan_is_read_as_such() -> None:
    assert math.isnan(read("a NaN", "a")["a"][()])


def test_lines_of_metrics_that_nobody_asked_for_may_be_anything() -> None:
    assert read('b{ "\\\n{{{{\na 1\n\x00\n', "a") == {"a": {(): 1.0}}


def test_of_two_equal_series_the_first_counts() -> None:
    assert parse(b"a 1\na 2\n", {"a"}) == ({"a": {(): 1.0}}, 1)


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a{",
        'a{x="1" 1',
        'a{x="1}',
        "a{x=1} 1",
        'a{x="1",x="2"} 1',
        "a x",
        "a 0x10",
        "a 1_000",
        "a 1 2 3",
        "a{} ",
        "a[] 1",
    ],
)
def test_one_broken_line_of_a_wanted_metric_refuses_the_page(line: str) -> None:
    with pytest.raises(SourceAnswerError, match="line 2"):
        read(f"a 1\n{line}\n", "a")


def test_a_line_without_end_is_refused_before_it_is_read() -> None:
    labels = ",".join(f'l{i}="x"' for i in range(LONGEST_LINE // 4))
    with pytest.raises(SourceAnswerError, match="characters"):
        read(f"a{{{labels}}} 1", "a")


def test_a_page_that_is_cut_off_is_refused() -> None:
    with pytest.raises(SourceAnswerError, match="EOF"):
        read("a 1\n", "a", kind=OPENMETRICS)
    assert read("a 1\n# EOF\n", "a", kind=OPENMETRICS) == {"a": {(): 1.0}}


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(SourceAnswerError, match="UTF-8"):
        parse(b"a 1\n\xff\xfe", {"a"})


@given(st.binary(max_size=200) | st.text('a{}="\\, 1eE#\n\t', max_size=80).map(str.encode))
def test_any_bytes_are_samples_or_a_refusal(body: bytes) -> None:
    try:
        found, _ = parse(body, {"a"})
    except SourceAnswerError:
        return
    assert all(isinstance(value, float) for value in found.get("a", {}).values())
