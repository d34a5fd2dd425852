"""Series from a real Prometheus: one grid, the same bits live and in ranges, within every limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import PrometheusConnection, Query, Target
from anomaly_exporter.demo.stack import PrometheusServer
from anomaly_exporter.sources import PrometheusSource, SourceLimitError, SourceRejectedError
from anomaly_models.frame import EntityKey, Span, merge
from support.fault_proxy import FaultProxy, Request, honest, status, vector, when
from support.openmetrics import Raw, every
from support.prometheus import prometheus

pytestmark = pytest.mark.e2e

T0 = 1_700_000_040  # on the grid of 60 s
SPEED_T0 = 1_700_000_000
ROWS = 200
RANDOM = np.random.default_rng(3)


def walk() -> list[float]:
    return np.round(RANDOM.random(ROWS).cumsum(), 6).tolist()


def gappy(values: list[float], *missing: int) -> list[tuple[float, float]]:
    return [sample for i, sample in enumerate(every(60, T0, values, -17.5)) if i not in missing]


PAST = [
    # Pods of two containers; scraped 17.5 s before each instant.
    *(Raw("cpu", {"namespace": "a", "container": "web", "pod": p}, gappy(walk(), 50, 51, 120)) for p in "xyz"),
    Raw("cpu", {"namespace": "a", "container": "db", "pod": "d"}, gappy(walk(), *range(80, 200))),
    Raw(
        "cpu",
        {"namespace": 'q"\\\n✓', "container": "odd", "pod": "o"},
        gappy([0.1, float("inf"), float("nan"), 1e300] * 50),
    ),
    Raw("memory", {"namespace": "a", "container": "web", "pod": "x"}, gappy(walk(), *range(60))),
    # Samples exactly on the instants, one missing.
    Raw("exact", {"namespace": "a"}, [s for i, s in enumerate(every(60, T0, range(1, 21))) if i != 10]),
    # The same data a hundred times as fast: a sample each 0.6 s.
    Raw("fast", {"namespace": "a"}, [(SPEED_T0 + 0.6 * i, float(i)) for i in range(100)]),
    Raw("renamed", {"exported_namespace": "a", "namespace": "monitoring"}, every(60, T0, [1.0, 2.0])),
    Raw("colliding", {"one": "a"}, every(60, T0, [1.0, 2.0])),
    Raw("colliding", {"two": "a"}, every(60, T0, [3.0, 4.0])),
    *(Raw("wide", {"namespace": f"n{i:03}"}, every(60, T0, [float(i)] * 40)) for i in range(100)),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    with prometheus(tmp_path_factory.mktemp("past"), PAST, extra_flags=("--query.max-samples=3500",)) as running:
        yield running


@pytest.fixture
def proxy(server: PrometheusServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.url) as running:
        yield running


def source(url: str, **more: object) -> PrometheusSource:
    return PrometheusSource(PrometheusConnection.model_validate({"url": url, **more}))


def target(*exprs: str, **more: object) -> Target:
    queries = tuple(Query(name=f"q{i}", expr=expr) for i, expr in enumerate(exprs))
    return Target.model_validate({"name": "t", "metric": "cpu", "queries": queries, **more})


def entity(**labels: str) -> EntityKey:
    return EntityKey.of("t", labels)


@pytest.mark.parametrize(
    ("aggregation", "max_points", "max_samples"),
    [("mean", 11_000, 10_000_000), ("sum", 7, 10_000_000), ("max", 11_000, 1000)],
)
def test_live_reads_equal_the_range_read_bit_for_bit(
    server: PrometheusServer, aggregation: str, max_points: int, max_samples: int
) -> None:
    """The promise behind the buffers: 200 instants read one by one are the history of a range read."""
    watched = target("cpu", "memory", aggregation=aggregation)
    reader = source(server.url, max_points=max_points, max_samples=max_samples)
    span = Span(T0, T0 + ROWS * 60)
    history = reader.read(watched, span)
    live = merge((reader.read(watched, Span(int(t), int(t) + 60)) for t in history.times), span, 60, watched.features)
    assert live.entities == history.entities
    np.testing.assert_array_equal(live.values.view(np.uint32), history.values.view(np.uint32))
    assert 0.3 < np.isfinite(history.values[:, :, 0]).mean() < 1


def test_values_are_those_that_were_stored(server: PrometheusServer) -> None:
    stored = {(raw.metric, raw.labels["container"], raw.labels["pod"]): dict(raw.samples) for raw in PAST[:6]}
    block = source(server.url).read(target("cpu", "memory"), Span(T0, T0 + ROWS * 60))
    assert block.entities == (
        entity(container="db", namespace="a"),
        entity(container="odd", namespace='q"\\\n✓'),
        entity(container="web", namespace="a"),
    )
    db = [stored["cpu", "db", "d"].get(t - 17.5, np.nan) for t in block.times]
    np.testing.assert_array_equal(block.values[:, 0, 0], np.array(db, np.float32))
    memory = [stored["memory", "web", "x"].get(t - 17.5, np.nan) for t in block.times]
    np.testing.assert_array_equal(block.values[:, 2, 1], np.array(memory, np.float32))
    assert np.isnan(block.values[:, 0, 1]).all()
    np.testing.assert_array_equal(block.values[:4, 1, 0], np.array([0.1, np.nan, np.nan, np.nan], np.float32))


def test_lookback_never_paints_over_a_gap(server: PrometheusServer) -> None:
    """A plain selector looks back five minutes by default; a closed range sees the previous instant's sample."""
    block = source(server.url).read(target("exact", labels=("namespace",)), Span(T0, T0 + 25 * 60))
    expected = [float(i) for i in range(1, 21)] + [np.nan] * 5
    expected[10] = np.nan
    np.testing.assert_array_equal(block.values[:, 0, 0], np.array(expected, np.float32))


def test_an_empty_answer_is_a_block_without_entities(server: PrometheusServer) -> None:
    block = source(server.url).read(target("nothing"), Span(T0, T0 + 300))
    assert block.values.shape == (5, 0, 1)


def test_a_span_between_two_instants_asks_nothing(server: PrometheusServer) -> None:
    reader = source(server.url)
    assert reader.read(target("cpu"), Span(T0 + 1, T0 + 60)).values.shape[0] == 0
    assert not reader.counters.queries


def test_a_vanished_series_is_missing_and_its_neighbours_are_untouched(server: PrometheusServer) -> None:
    at = T0 + 150 * 60
    block = source(server.url).read(target("cpu"), Span(at, at + 60))
    assert entity(container="db", namespace="a") not in block.entities
    assert np.isfinite(block.values[0, block.entities.index(entity(container="web", namespace="a"))]).all()


def test_labels_are_renamed_on_the_way_in(server: PrometheusServer) -> None:
    watched = target("renamed", labels=("namespace",), rename={"exported_namespace": "namespace"})
    assert source(server.url).read(watched, Span(T0, T0 + 60)).entities == (entity(namespace="a"),)


def test_series_that_become_one_entity_by_renaming_are_counted_and_the_first_wins(
    server: PrometheusServer, caplog: pytest.LogCaptureFixture
) -> None:
    watched = target("colliding", labels=("namespace",), rename={"two": "namespace", "one": "namespace"})
    reader = source(server.url)
    block = reader.read(watched, Span(T0, T0 + 120))
    assert block.entities == (entity(namespace="a"),)
    assert block.values[:, 0, 0].tolist() == [1.0, 2.0]
    assert reader.counters.duplicates == 1
    assert "target 't', query 'q0': 1 series have the same labels as another one after renaming" in caplog.text


def test_a_label_that_a_series_lacks_is_empty(server: PrometheusServer) -> None:
    block = source(server.url).read(target("exact", labels=("namespace", "nowhere"), tag="x"), Span(T0, T0 + 60))
    assert block.entities == (entity(namespace="a", nowhere=""),)


def test_a_range_over_the_servers_limits_is_read_in_pieces(proxy: FaultProxy) -> None:
    """The server takes 3,500 samples at once, 4,000 are there: 422, halves, and all of it at the end."""
    watched = target("wide", labels=("namespace",))
    reader = source(proxy.url)
    block = reader.read(watched, Span(T0, T0 + 40 * 60))
    expected = np.broadcast_to(np.arange(100, dtype=np.float32), (40, 100))
    np.testing.assert_array_equal(block.values[:, :, 0], expected)
    counters = reader.counters.snapshot()
    assert counters.queries["limit"] >= 1
    assert counters.samples >= 4000
    assert proxy.most_in_flight <= 2


def test_no_more_points_are_asked_for_than_allowed_and_at_most_two_at_once(proxy: FaultProxy) -> None:
    reader = source(proxy.url, max_points=10)
    reader.read(target("cpu"), Span(T0, T0 + 100 * 60))
    ranges = [r.fields for r in proxy.requests if r.path.endswith("query_range")]
    assert len(ranges) == 10
    assert {(float(r["end"]) - float(r["start"])) / float(r["step"]) for r in ranges} == {9.0}
    assert sorted(float(r["start"]) for r in ranges) == [T0 + 600 * i for i in range(10)]
    assert 1 <= proxy.most_in_flight <= 2


def test_wide_answers_are_split_by_their_number_of_samples(proxy: FaultProxy) -> None:
    reader = source(proxy.url, max_samples=1000)
    reader.read(target("wide", labels=("namespace",)), Span(T0, T0 + 40 * 60))
    points = [
        (float(r.fields["end"]) - float(r.fields["start"])) / 60 + 1
        for r in proxy.requests
        if r.path.endswith("query_range")
    ]
    assert points == [10] * 4
    assert reader.counters.queries == {"ok": 5}


def test_halving_ends_at_one_instant(proxy: FaultProxy) -> None:
    proxy.fault = when(
        lambda r: r.path.endswith("query_range") or "count" not in r.fields["query"], status(422, "too many")
    )
    with pytest.raises(SourceLimitError, match="target 't', query 'q0': HTTP 422: too many"):
        source(proxy.url).read(target("cpu"), Span(T0, T0 + 64 * 60))
    assert len(proxy.requests) == 1 + 7


def test_a_bad_expression_is_rejected_once_with_the_servers_own_words(proxy: FaultProxy) -> None:
    reader = source(proxy.url)
    with pytest.raises(SourceRejectedError, match=r"target 't', query 'q0'.*HTTP 400: .*parse error"):
        reader.read(target("rate(cpu"), Span(T0, T0 + 300))
    assert len(proxy.requests) == 1
    assert reader.counters.queries == {"rejected": 1}


def test_a_long_expression_goes_into_a_post(proxy: FaultProxy) -> None:
    long = " or ".join(["cpu"] * 1000)
    assert source(proxy.url).read(target(long), Span(T0, T0 + 60)).entities
    assert [r.method for r in proxy.requests] == ["POST"]


def test_compressed_time_is_read_on_its_own_grid(server: PrometheusServer) -> None:
    """At speed 100 a step of 60 s takes 0.6 s of the server's time; data time is what comes back."""
    clock = Clock(speed=100.0, wall_origin=float(SPEED_T0), data_origin=float(T0))
    reader = PrometheusSource(PrometheusConnection(url=server.url), clock)
    watched = target("fast", "rate(fast[2m])", labels=("namespace",))
    block = reader.read(watched, Span(T0, T0 + 100 * 60))
    np.testing.assert_array_equal(block.values[:, 0, 0], np.arange(100, dtype=np.float32))
    np.testing.assert_allclose(block.values[2:, 0, 1], 1 / 0.6, rtol=1e-5)
    live = reader.read(watched, Span(T0 + 600, T0 + 660))
    np.testing.assert_array_equal(live.values[0], block.values[10])
    assert reader.lag(watched, T0 + 630) == pytest.approx(30, abs=0.2)


def test_a_speed_that_gives_no_whole_milliseconds_is_refused(server: PrometheusServer) -> None:
    reader = PrometheusSource(PrometheusConnection(url=server.url), Clock(speed=7.0))
    with pytest.raises(SourceRejectedError, match=r"a step of 60 s at speed 7 is 8571.428\d* ms: expected whole"):
        reader.read(target("cpu"), Span(T0, T0 + 60))


def test_the_lag_is_the_age_of_the_newest_raw_sample_of_the_query_furthest_behind(server: PrometheusServer) -> None:
    reader = source(server.url)
    at = T0 + 30 * 60
    assert reader.lag(target("cpu"), at) == pytest.approx(17.5)
    assert reader.lag(target("sum(cpu)"), at) is None
    fresh = Target(
        name="t", metric="c", queries=(Query(expr="sum(cpu)", freshness="cpu"), Query(name="e", expr="exact"))
    )
    assert reader.lag(fresh, T0 + 10 * 60) == pytest.approx(60.0)
    assert reader.lag(target("nothing"), at) is None


def mentions_cpu(request: Request) -> bool:
    return "cpu" in request.fields["query"]


empty = vector()


def fallback_target(expr: str, fallback: str) -> Target:
    return Target(name="t", metric="c", queries=(Query(name="q", expr=expr, fallback=fallback),))


@pytest.fixture
def quarter_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """Now is 15 minutes after T0, as far as probing is concerned."""
    monkeypatch.setattr(Clock, "now", lambda _: T0 + 15 * 60.0)


def storing(url: str, store: Path) -> PrometheusSource:
    return PrometheusSource(PrometheusConnection(url=url), blobs=DirectoryBlobs(store))


@pytest.mark.usefixtures("quarter_past")
def test_the_fallback_is_chosen_once_stored_and_never_switched(proxy: FaultProxy, tmp_path: Path) -> None:
    """The expression finds nothing, so the raw metric it is; and stays, although the expression finds more later."""
    watched = fallback_target("cpu", "exact")
    proxy.fault = when(mentions_cpu, empty)
    assert storing(proxy.url, tmp_path).read(watched, Span(T0, T0 + 60)).values.tolist() == [[[1.0]]]
    proxy.fault = honest
    proxy.requests.clear()
    later = storing(proxy.url, tmp_path)
    assert later.read(watched, Span(T0, T0 + 60)).values.tolist() == [[[1.0]]]
    assert len(proxy.requests) == 1  # no second probe


def test_the_expression_is_chosen_when_it_finds_anything_within_the_hour(
    proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording rule that pauses at the very instant of the probe is not given up for good."""
    monkeypatch.setattr(Clock, "now", lambda _: T0 + 52 * 60.0)  # nothing in the minutes 50 and 51
    storing(proxy.url, tmp_path).read(fallback_target("cpu{container='web'}", "exact"), Span(T0, T0 + 60))
    blobs = DirectoryBlobs(tmp_path)
    assert b'"choice": "expr"' in blobs.fetch(blobs.list("sources/t/")[0]).read_bytes()


@pytest.mark.usefixtures("quarter_past")
def test_nothing_is_chosen_while_neither_finds_anything(proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.fault = empty
    assert storing(proxy.url, tmp_path).read(fallback_target("cpu", "exact"), Span(T0, T0 + 60)).entities == ()
    assert DirectoryBlobs(tmp_path).list("sources/") == []


@pytest.mark.usefixtures("quarter_past")
def test_a_changed_text_is_probed_anew(proxy: FaultProxy, tmp_path: Path) -> None:
    storing(proxy.url, tmp_path).read(fallback_target("cpu", "exact"), Span(T0, T0 + 60))
    storing(proxy.url, tmp_path).read(fallback_target("nothing", "exact"), Span(T0, T0 + 60))
    assert len(DirectoryBlobs(tmp_path).list("sources/t/")) == 2


@pytest.mark.usefixtures("quarter_past")
def test_a_choice_that_cannot_be_read_is_logged_and_probed_again(
    proxy: FaultProxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched = fallback_target("nothing", "exact")
    storing(proxy.url, tmp_path).read(watched, Span(T0, T0 + 60))
    blobs = DirectoryBlobs(tmp_path)
    blobs.fetch(blobs.list("sources/t/")[0]).write_bytes(b"{")
    assert storing(proxy.url, tmp_path).read(watched, Span(T0, T0 + 60)).values.tolist() == [[[1.0]]]
    assert "the stored choice of a query cannot be read and is probed again" in caplog.text
