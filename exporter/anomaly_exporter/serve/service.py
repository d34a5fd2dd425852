"""The running exporter: a thread that runs cycles, one that serves pages, one that trains."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from anomaly_exporter.blobs import BlobError, open_blobs
from anomaly_exporter.canary import Station
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import CANARY_TARGET, Config, ConfigError, LoadedConfig, load
from anomaly_exporter.control import ControlService, Desk, pages_url
from anomaly_exporter.cycle import Cycle, Resources
from anomaly_exporter.exposition import DetailCache, Labels, render_detail, render_metrics
from anomaly_exporter.feedback import Feedback, Shelf
from anomaly_exporter.generations import Generations
from anomaly_exporter.generations.sharding import UNDIVIDED, Shard
from anomaly_exporter.history import History
from anomaly_exporter.http_server import Address, Limits, Server
from anomaly_exporter.launch import Launcher, LauncherConfigError, open_launcher, require_training
from anomaly_exporter.seeding import plant_seed
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot
from anomaly_exporter.sources import ScrapeSource, Source, SourceCounters, SourceError, open_source

from .figures import Figures
from .listening import Ears
from .site import Site

log = logging.getLogger(__name__)


class Service:
    """Everything `serve` runs, from :meth:`start` to :meth:`stop`, for the entities of ``shard``.

    Raises:
        OSError, ValueError: an address cannot be listened on.
        SourceError: the source cannot be opened.
        LauncherConfigError: this installation cannot train as configured.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        config_path: Path,
        addresses: Sequence[Address],
        telemetry_path: str = "/metrics",
        launcher: Launcher | None = None,
        *,
        shard: Shard = UNDIVIDED,
    ) -> None:
        config = loaded.config
        self.metrics = SelfMetrics()
        self._path = config_path
        self._shard = shard
        self._config = config
        self._pending: tuple[Config, Source] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._counters = SourceCounters()
        self._clock = Clock.of(config.timing)
        self._blobs = open_blobs(config.store)
        self._history = History(self._blobs)
        self._source = open_source(config, self._clock, self._counters, self._blobs)
        self._generations = generations = Generations(self._blobs, self._clock.wall)
        resources = Resources(
            self._source, self._history, generations, self._clock, self.metrics, shard, Shelf(self._blobs)
        )
        self._cycle = Cycle(config, resources)
        self.feedback = Feedback(self._blobs, self._clock.wall)
        self._ears = Ears(config, self._clock, self.feedback, self.metrics) if shard.ordinal == 0 else None
        self._labels, self._details = Labels(config), DetailCache()
        self.launcher = launcher or open_launcher(
            config_path, config, self._clock, self.metrics, shard=shard, blobs=self._blobs
        )
        self.station = Station(self._clock, self.metrics)
        self._figures = Figures(self._blobs, self.metrics)
        self.site = Site(self.metrics, self.reload, self.launcher.status, self.station, telemetry_path)
        self.server = Server(addresses, self.site.handle, _limits(config), self.metrics)
        self.control = self._open_control(generations) if config.control.enabled else None
        self._thread = threading.Thread(target=self._run, name="cycles", daemon=True)

    def start(self) -> None:
        """Begin to serve, to score and to train."""
        try:
            if swept := self._blobs.sweep():
                log.info("orphans of interrupted writes were removed", extra={"count": swept})
        except (BlobError, OSError) as error:
            log.error("the store cannot be swept", extra={"error": str(error)})
        plant_seed(self._config, self._generations)
        self.metrics.begin("queries_total", "outcome", ("ok", "invalid", "limit", "rejected", "unavailable"))
        self.metrics.set("total_shards", self._shard.total)
        self.metrics.set("shard_ordinal", self._shard.ordinal)
        self._reloaded(successful=True)
        self._configured()
        self.server.start()
        if self.control:
            self.control.start()
        _begin(self._source, self._history)
        self._thread.start()
        self.launcher.start()
        if self._ears:
            self._ears.start()

    def stop(self) -> None:
        """End training, cycles and server, in this order; each within a deadline. Idempotent."""
        self._stopping.set()
        self._wake.set()
        if self.control:
            self.control.stop()
        if self._ears:
            self._ears.stop()
        self.launcher.stop()
        if self._thread.ident is not None:
            self._thread.join(5.0)
        self._cycle.close()
        _end(self._source)
        self.server.stop()

    def _open_control(self, generations: Generations) -> ControlService:
        """The API and the pages. Raises OSError, ValueError."""
        desk = Desk(
            config=lambda: self._config,
            snapshot=lambda: current.snapshot if (current := self.site.current()) else None,
            launcher=self.launcher,
            generations=generations,
            feedback=self.feedback,
            clock=self._clock,
        )
        try:
            return ControlService(self._config, desk, self.metrics)
        except (OSError, ValueError):
            self.server.stop()
            raise

    def reload(self) -> str | None:
        """Read the configuration again; what is wrong with it, None when it will be in force in the next cycle."""
        with self._lock:
            try:
                config = load(self._path).config
                if _fixed(config) != _fixed(self._config):
                    raise ConfigError(
                        "store.path, store.s3, timing, launcher and control cannot be changed by a reload:"
                        " restart the exporter"
                    )
                if config.launcher.kind == "local":
                    require_training(config)
                source = self._source_of(config)
            except (ConfigError, LauncherConfigError, SourceError) as error:
                self._reloaded(successful=False)
                log.error("the configuration is not reloaded, the last good one stays", extra={"error": str(error)})
                return str(error)
            self._pending = config, source
        self._reloaded(successful=True)
        self._wake.set()
        return None

    def _source_of(self, config: Config) -> Source:
        """The source in use, or a new one where the connection changed. Raises SourceError."""
        now = self._config
        if (config.prometheus, config.files, config.simulator) == (now.prometheus, now.files, now.simulator) and (
            config.scrape == now.scrape and (config.scrape is None or config.targets == now.targets)
        ):
            return self._source
        return open_source(config, self._clock, self._counters, self._blobs)

    def _reloaded(self, *, successful: bool) -> None:
        self.metrics.set("config_last_reload_successful", float(successful))
        if successful:
            self.metrics.set("config_last_reload_success_timestamp_seconds", self._clock.wall())

    def _run(self) -> None:
        """Cycle after cycle, until stopped; whatever happens in one, the next one comes."""
        while True:
            now = self._clock.now()
            try:
                self._swap()
                self._publish(self._cycle.run(now))
            except Exception:
                log.exception("a cycle failed")
                self.metrics.inc("cycles_total", outcome="failed")
            self.site.beat()
            due = self._cycle.next_after(self._clock.now())
            skipped = round((due - self._cycle.next_after(now)) / self._cycle.interval)
            if skipped > 0:
                self.metrics.inc("cycles_skipped_total", skipped)
                log.warning("cycles were left out because one was late", extra={"count": skipped})
            self._wait(due)
            if self._stopping.is_set():
                return

    def _wait(self, due: float) -> None:
        """Wait until data time ``due``, a new configuration or the end."""
        longest = 2 * self._cycle.interval
        while not self._stopping.is_set() and self._pending is None:
            left = due - self._clock.now()
            # More than ever planned: the system's clock was set back, and what was due is due again.
            if left <= 0 or left > longest:
                return
            self._wake.wait(min(self._clock.wall_duration(left), 1.0))
            self._wake.clear()

    def _swap(self) -> None:
        """Put a new configuration in force."""
        with self._lock:
            if self._pending is None:
                return
            before = self._source
            (self._config, self._source), self._pending = self._pending, None
            config, source = self._config, self._source
        plant_seed(config, self._generations)
        if source is not before:
            _end(before)
            _begin(source, self._history)
        self._cycle.reconfigure(config, source)
        self._labels, self._details = Labels(config), DetailCache()
        self.launcher.reconfigure(config)
        if self._ears:
            self._ears.reconfigure(config)
        self.server.limits = _limits(config)
        self._configured()
        log.info("a new configuration is in force", extra={"targets": len(config.targets)})

    def _configured(self) -> None:
        interval = self._clock.wall_duration(self._cycle.interval)
        self.metrics.set("cycle_interval_seconds", interval)
        self.site.configure(self._config, interval)
        self.station.configure(self._config.canary)
        self.metrics.replace("control_info", {(pages_url(self._config),): 1.0})

    def _publish(self, snapshot: Snapshot) -> None:
        self.launcher.observe(snapshot)
        self._figures.publish(snapshot)
        if self._ears:
            self._ears.observe(snapshot)
        if self._config.canary.enabled and any(v.target == CANARY_TARGET and v.scored for v in snapshot.views):
            self.station.scored()
        metrics = render_metrics(snapshot, self._config, self._labels)
        detail = render_detail(snapshot, self.launcher.status(), self._labels, self._details)
        self._labels.sweep()
        self._details.sweep()
        self.site.publish(snapshot, metrics, detail)
        counted = self._counters.snapshot()
        for outcome, count in counted.queries.items():
            self.metrics.raise_to("queries_total", count, outcome=outcome)
        self.metrics.raise_to("partial_responses_total", counted.partial)
        self.metrics.raise_to("samples_read_total", counted.samples)
        for reason, count in list(self._history.failures.items()):
            self.metrics.raise_to("store_failures_total", count, reason=f"history_{reason}")


def _begin(source: Source, history: History) -> None:
    """A source that remembers for itself begins to; others have a server that does."""
    if isinstance(source, ScrapeSource):
        source.start(history)


def _end(source: Source) -> None:
    if isinstance(source, ScrapeSource):
        source.close()


def _limits(config: Config) -> Limits:
    return Limits(config.exposition.max_connections, float(config.exposition.request_deadline))


def _fixed(config: Config) -> tuple[object, ...]:
    """What only a restart can change."""
    return config.store.path, config.store.s3, config.timing, config.launcher, config.control
