"""The source `scrape` against a real page: live rows equal the history, whatever the page does the process goes on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly_exporter.blobs import DirectoryBlobs, StoreFullError
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import parse
from anomaly_exporter.history import History
from anomaly_exporter.sources import (
    ScrapeSource,
    SourceCounters,
    SourceRejectedError,
    SourceUnavailableError,
    open_source,
)
from anomaly_models.frame import Span
from support.app import Application
from support.waiting import wait_for

T0 = 1_800_000_000
SPEED = 300.0


class HandClock(Clock):
    """Data time is what the test says."""

    def __init__(self, at: float) -> None:
        super().__init__()
        object.__setattr__(self, "at", at)

    def now(self) -> float:
        return float(self.at)  # type: ignore[attr-defined]

    def set(self, at: float) -> None:
        object.__setattr__(self, "at", at)


def config(url: str, expr: str = "a", **scrape: Any) -> Any:
    return parse(
        f"""
scrape: {{url: "{url}", interval: 30s, labels: {{namespace: shop, container: api}}, timeout: 1s{
            "".join(f", {k}: {v}" for k, v in scrape.items())
        }}}
targets: [{{name: t, metric: m, queries: [{{name: v, expr: '{expr}'}}], models: [zscore]}}]
"""
    )


class World:
    """A source that is scraped by hand: ``scrape(at)``, seconds after T0."""

    def __init__(self, root: Path, url: str, **options: Any) -> None:
        self.config = config(url, **options)
        self.target = self.config.targets[0]
        self.clock = HandClock(T0)
        self.counters = SourceCounters()
        source = open_source(self.config, self.clock, self.counters)
        assert isinstance(source, ScrapeSource)
        self.source = source
        self.history = History(DirectoryBlobs(root))
        # Known to the source, but its thread stays out of it.
        self.source._history = self.history

    def scrape(self, at: float) -> None:
        self.clock.set(T0 + at)
        self.source.scrape()

    def read(self, first: int, last: int | None = None) -> list[float]:
        self.clock.set(max(self.clock.now(), T0 + (last or first) + 60))
        block = self.source.read(self.target, Span(T0 + first, T0 + (last or first) + 60))
        if not block.entities:
            return [float("nan")] * block.values.shape[0]
        return [float(v) for v in block.values[:, 0, 0]]


def test_a_live_read_returns_the_newest_scrape_of_its_instant(tmp_path: Path) -> None:
    values = iter([1.0, 2.0, 3.0])
    with Application(lambda: f"a {next(values)}\n") as app:
        world = World(tmp_path, app.url)
        for at in (15, 45, 75):
            world.scrape(at)
        assert world.read(60) == [2.0]
        assert world.read(60, 120) == [2.0, 3.0]
        assert world.source.lag(world.target, T0 + 180) == 105.0
        assert world.counters.snapshot().queries == {"ok": 3}


def test_what_is_read_live_is_what_the_history_holds(tmp_path: Path) -> None:
    count = iter(range(10_000))
    with Application(lambda: f"a {next(count)}\nb 1\n") as app:
        world = World(tmp_path, app.url)
        live: list[float] = []
        for step in range(1, 31):
            for at in (15, 45):
                if step not in (7, 8):
                    world.scrape(60 * (step - 1) + at)
            live += world.read(60 * step)
            if step % 5 == 0:
                world.source.save()
        kept = world.history.read(world.target, Span(T0 + 60, T0 + 31 * 60)).values[:, 0, 0]
        np.testing.assert_array_equal(kept, np.array(live, np.float32))
        assert np.flatnonzero(np.isnan(kept)).tolist() == [6, 7]
        assert world.history.holes(world.target, Span(T0 + 60, T0 + 31 * 60)) == [], "a missed scrape was looked at"


def test_after_a_restart_the_history_goes_on_and_the_pause_is_a_hole(tmp_path: Path) -> None:
    with Application(lambda: "a 1\n") as app:
        first = World(tmp_path, app.url)
        for at in (15, 75, 135):
            first.scrape(at)
        first.source.close()
        second = World(tmp_path, app.url)
        second.clock.set(T0 + 290)
        second.source = ScrapeSource(second.config.scrape, second.config.targets, second.clock)
        second.source.start(second.history)
        second.source.close()
        assert second.history.holes(second.target, Span(T0 + 60, T0 + 180)) == []
        second.scrape(290)
        second.scrape(350)
        second.source.save()
        assert second.history.holes(second.target, Span(T0 + 60, T0 + 360)) == [Span(T0 + 180, T0 + 300)]


def test_a_full_store_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Application(lambda: "a 1\n") as app:
        world = World(tmp_path, app.url)
        for at in (15, 75, 135):
            world.scrape(at)
        with monkeypatch.context() as full:
            full.setattr(world.history, "append", _full)
            world.source.save()
        world.scrape(195)
        world.source.save()
        assert world.history.holes(world.target, Span(T0 + 60, T0 + 240)) == []


def _full(*_: object) -> int:
    raise StoreFullError("no space left on device")


def test_another_process_does_not_scrape(tmp_path: Path) -> None:
    """Training opens the same configuration; the page is not asked and the history is all there is."""
    with Application(lambda: "a 1\n") as app:
        loaded = config(app.url)
        source = open_source(loaded, Clock(), SourceCounters())
        assert source.read(loaded.targets[0], Span(T0, T0 + 3600)).entities == ()
        assert app.scrapes == 0


@pytest.mark.parametrize(
    ("page", "status", "outcome"),
    [
        ("a x\n", 200, "invalid"),
        ("a" * 4096, 200, "invalid"),
        (b"\xff\xfe", 200, "invalid"),
        ("gone", 404, "rejected"),
        ("busy", 503, "unavailable"),
        ("moved", 302, "rejected"),
    ],
)
def test_a_bad_page_is_counted_and_the_next_good_one_is_used(
    tmp_path: Path, page: str | bytes, status: int, outcome: str
) -> None:
    with Application(lambda: page) as app:
        app.status = status
        world = World(tmp_path, app.url, max_answer_bytes=2048)
        world.scrape(15)
        with pytest.raises(SourceUnavailableError, match="target 't'"):
            world.read(60)
        app.page, app.status = lambda: "a 5\n", 200
        world.scrape(135)
        assert world.read(180) == [5.0]
        assert world.counters.snapshot().queries == {outcome: 1, "ok": 1}


@contextmanager
def hostile(answer: bytes, *, drip: bool = False) -> Iterator[str]:
    """A server that sends ``answer`` and hangs up, or drips its last byte for ever."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.sendall(answer)
                    while drip and not stop.wait(0.1):
                        connection.sendall(b"a")
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
    finally:
        stop.set()
        listener.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    ("answer", "drip"),
    [
        (b"", False),
        (b"nonsense\r\n\r\n", False),
        (HEAD, True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", False),
        (HEAD + b"Content-Length: 100\r\n\r\na 1\n", False),
        (HEAD + b"Content-Length: 1000000\r\n\r\n", True),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\na 1\n", False),
    ],
)
def test_a_hostile_server_costs_a_scrape_and_at_most_its_deadline(tmp_path: Path, answer: bytes, drip: bool) -> None:
    with hostile(answer, drip=drip) as url:
        world = World(tmp_path, url)
        began = time.monotonic()
        world.scrape(15)
        assert time.monotonic() - began < 3
        assert sum(world.counters.snapshot().queries.values()) == 1
        assert "ok" not in world.counters.snapshot().queries


def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    world = World(tmp_path, "http://127.0.0.1:1/metrics")
    with pytest.raises(SourceUnavailableError, match="nothing was scraped yet"):
        world.read(60)
    world.scrape(75)
    with pytest.raises(SourceUnavailableError, match=r"127\.0\.0\.1:1"):
        world.read(120)


def test_the_thread_scrapes_saves_and_ends(tmp_path: Path) -> None:
    with Application(lambda: "a 1\n") as app:
        loaded = config(app.url, save_every="2m")
        source = ScrapeSource(loaded.scrape, loaded.targets, Clock(SPEED, time.time(), T0))
        history = History(DirectoryBlobs(tmp_path))
        source.start(history)
        target = loaded.targets[0]
        wait_for(lambda: history.entities(target, Span(T0, T0 + 86_400)), 10, "rows in the history")
        source.close()
        scrapes = app.scrapes
        assert scrapes >= 4
        assert history.read(target, Span(T0 + 120, T0 + 121)).values.tolist() == [[[1.0]]]
        source.close()
        assert app.scrapes == scrapes


def test_promql_that_only_a_server_evaluates_is_refused_at_once() -> None:
    with pytest.raises(SourceRejectedError, match="possible are"):
        open_source(config("http://localhost:1/metrics", "sum(a)"), Clock(), SourceCounters())
