"""The page of one application, scraped on a rhythm, evaluated on the grid, kept in the history.

There is no server to ask for the past, so the process that serves is the one that remembers: what it scraped becomes
rows on the grid, each made once, handed to the live reading and appended to the history as they are. Training and a
restart read the history; elsewhere than in the serving process this source is never started and knows nothing.

Scrapes fall between grid instants, half an interval off, so that one is complete before the instant it belongs to.
"""

from __future__ import annotations

import logging
import threading

from anomaly_exporter.blobs import BlobError
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import ScrapeConnection, Target
from anomaly_exporter.history import History
from anomaly_exporter.sources.base import SourceCounters, SourceError, SourceRejectedError, SourceUnavailableError
from anomaly_models.frame import Block, Span, grid

from .feed import Feed
from .fetch import Fetcher
from .page import parse

LOG = logging.getLogger(__name__)
_END = 5.0


class ScrapeSource:
    """Reads ``targets`` from one page. Thread-safe; between :meth:`start` and :meth:`close` it scrapes.

    Raises:
        SourceRejectedError: a query is not one of those that can be evaluated here.
    """

    def __init__(
        self,
        connection: ScrapeConnection,
        targets: tuple[Target, ...],
        clock: Clock | None = None,
        counters: SourceCounters | None = None,
    ) -> None:
        self.connection = connection
        self.clock = clock or Clock()
        self.counters = counters or SourceCounters()
        began = self.clock.now()
        self._feeds = {target.name: Feed(target, connection, began) for target in targets}
        self._wanted = frozenset(name for feed in self._feeds.values() for name in feed.metrics)
        self._fetcher = Fetcher(connection)
        self._history: History | None = None
        self._failure: str | None = "nothing was scraped yet"
        self._reading: bool | None = None
        self._save_at = began + connection.save_every
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scrapes", daemon=True)

    def start(self, history: History) -> None:
        """Scrape from now on, and append to ``history``."""
        self._history = history
        self._thread.start()

    def close(self) -> None:
        """Stop, and append what is left to the history. Idempotent."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_END)
        self.save()
        self._fetcher.close()

    def read(self, target: Target, span: Span) -> Block:
        times = grid(span, target.step)
        if not times.size or self._history is None:
            return Block.empty(span, target.step, (), target.features)
        with self._lock:
            feed = self._feed(target)
            # One that is asked for is made now: what comes later belongs to later instants.
            feed.settle(min(self.clock.now(), float(times[-1] + 1)))
            block = feed.block(span)
            if self._failure is not None and not block.entities:
                raise SourceUnavailableError(f"target {target.name!r}: {self._failure}")
        return block

    def lag(self, target: Target, at: int) -> float | None:
        with self._lock:
            seen = self._feed(target).seen
        return None if seen is None else max(at - seen, 0.0)

    def scrape(self) -> None:
        """Read the page once; what goes wrong is logged, counted and a gap in the rows."""
        at = self.clock.now()
        try:
            body, content_type = self._fetcher.get()
            page, twice = parse(body, self._wanted, content_type)
            found = {name: feed.select(page) for name, feed in self._feeds.items()}
        except SourceError as error:
            self.counters.query(error.outcome)
            if self._reading is not False:
                LOG.error("the page cannot be read", extra={"url": self.connection.url, "error": str(error)})
            failure: str | None = str(error)
            found = {}
        else:
            self.counters.query("ok")
            self.counters.add(samples=sum(map(len, page.values())), duplicates=twice)
            failure = None
            if not self._reading:
                LOG.info("the page is read", extra={"url": self.connection.url, "metrics": len(page)})
        with self._lock:
            self._failure, self._reading = failure, failure is None
            for name, feed in self._feeds.items():
                feed.settle(at)
                feed.add(at, found.get(name, []))

    def save(self) -> None:
        """Append to the history what is not there yet; what cannot be stored is kept and tried again later."""
        if self._history is None:
            return
        with self._saving:
            for feed in self._feeds.values():
                with self._lock:
                    block = feed.unsaved()
                if block is None:
                    continue
                try:
                    self._history.append(feed.target, block)
                except (BlobError, OSError) as error:
                    LOG.error(
                        "what was scraped cannot be stored, it is tried again",
                        extra={"target": feed.target.name, "error": str(error)},
                    )
                    continue
                with self._lock:
                    feed.saved(block.end)

    def _run(self) -> None:
        interval = self.connection.interval
        while not self._stop.is_set():
            try:
                self.scrape()
                if self.clock.now() >= self._save_at:
                    self._save_at = self.clock.now() + self.connection.save_every
                    self.save()
            except Exception:
                LOG.exception("a scrape failed")
                self.counters.query(SourceError.outcome)
            due = ((self.clock.now() - interval / 2) // interval + 1) * interval + interval / 2
            self.clock.wait_until(due, self._stop)

    def _feed(self, target: Target) -> Feed:
        feed = self._feeds.get(target.name)
        if feed is None or feed.target != target:
            raise SourceRejectedError(f"target {target.name!r} is not one that is scraped")
        return feed
