"""The thread that reads silences and annotations and says what verdicts amount to."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

import numpy as np

from anomaly_exporter.blobs import BlobError
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, Target
from anomaly_exporter.feedback import VERDICTS, Feedback, subject
from anomaly_exporter.feedback.figures import OUTCOMES, Confusion, Tags, counted, precision
from anomaly_exporter.feedback.sync import SOURCES, Listener
from anomaly_exporter.rendering import entity_alerts
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot
from anomaly_models.frame import EntityKey

log = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 900.0
"""Wall seconds after which a source that cannot be read is asked again, at the latest."""
Numbers = dict[tuple[str, ...], float]
"""Values of a gauge by its label values."""
_OUTCOMES: Final = ("ok", "unavailable", "rejected", "invalid", "store")


class Ears:
    """Looks at every source of feedback each ``feedback.every`` wall seconds; one that fails is asked less often.

    Only one of several shards listens; all of them see what it appends.
    """

    def __init__(self, config: Config, clock: Clock, feedback: Feedback, metrics: SelfMetrics) -> None:
        self._clock, self._feedback, self._metrics = clock, feedback, metrics
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._snapshot: Snapshot | None = None
        self._failures: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._configure(config)
        self._thread = threading.Thread(target=self._run, name="feedback", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        for source in SOURCES:
            for outcome in _OUTCOMES:
                self._metrics.inc("feedback_syncs_total", 0, source=source, outcome=outcome)
        self._thread.start()

    def stop(self) -> None:
        """End; a request under way is abandoned. Idempotent."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def reconfigure(self, config: Config) -> None:
        """Go on with ``config``."""
        with self._lock:
            before = self._config
            if (config.feedback, config.targets) != (before.feedback, before.targets):
                self._listener.close()
                self._configure(config)
        self._wake.set()

    def observe(self, snapshot: Snapshot) -> None:
        """The newest snapshot: which entities there are, and how their models do."""
        self._snapshot = snapshot

    def look(self) -> None:
        """Read what is due and say what it amounts to; nothing that fails here stops the exporter."""
        with self._lock:
            config, listener, tags = self._config, self._listener, self._tags
        for source in listener.sources:
            if time.monotonic() >= self._due.get(source, 0.0):
                self._sync(source, listener, float(config.feedback.every))
        try:
            self._tell(config, tags)
        except (BlobError, OSError) as error:
            log.error("feedback cannot be read", extra={"error": str(error)})

    def _configure(self, config: Config) -> None:
        self._config = config
        self._listener = Listener(config, self._clock, self._feedback, entity_alerts(config))
        self._tags = Tags(config)
        self._due = {}

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception:
                log.exception("feedback failed")
            self._wake.wait(float(self._config.feedback.every))
            self._wake.clear()

    def _sync(self, source: str, listener: Listener, every: float) -> None:
        try:
            synced = listener.sync(source)
        except (BlobError, OSError) as error:
            outcome, message = "store", str(error)
        else:
            outcome, message = (synced.error.outcome, str(synced.error)) if synced.error else ("ok", "")
            for reason, number in synced.skipped.items():
                self._skipped(f"{source}_{reason}", number)
            if synced.added or synced.changed or synced.withdrawn:
                about = {"added": synced.added, "changed": synced.changed, "withdrawn": synced.withdrawn}
                log.info("feedback", extra={"source": source, **about})
        self._metrics.inc("feedback_syncs_total", source=source, outcome=outcome)
        failures = self._failures[source] = 0 if outcome == "ok" else self._failures.get(source, 0) + 1
        self._due[source] = time.monotonic() + min(every * 2 ** min(failures, 10), LONGEST_PAUSE) if failures else 0.0
        if failures:
            log.error("feedback cannot be read", extra={"source": source, "outcome": outcome, "error": message})
        else:
            self._metrics.set("feedback_last_success_timestamp_seconds", self._clock.wall(), source=source)

    def _skipped(self, reason: str, number: int) -> None:
        """A silence that is left out is left out at every look: the most at once is counted."""
        self._metrics.raise_to("feedback_skipped_total", number, reason=reason)

    def _tell(self, config: Config, tags: Tags) -> None:
        snapshot = self._snapshot
        tags.meet(_entities(config, snapshot))
        records, view = self._feedback.records(), self._feedback.current()
        for reason, number in list(self._feedback.failures.items()):
            self._skipped(f"blob_{reason}", number)
        for (tag, verdict), number in counted(records, tags).items():
            self._metrics.raise_to("anomaly_feedback_total", number, tag=tag, verdict=verdict)
        now = self._clock.now()
        ratios = precision(view.statements, tags, now - config.feedback.precision_window, now)
        self._metrics.replace("anomaly_alert_precision_ratio", {(tag,): ratio for tag, ratio in ratios.items()})
        in_force: Numbers = {(v,): float(sum(r.verdict == v for r in view.statements)) for v in VERDICTS}
        self._metrics.replace("feedback_statements", in_force)
        self._metrics.set("feedback_conflicts", len(view.conflicts))
        self._judge(config, snapshot)

    def _judge(self, config: Config, snapshot: Snapshot | None) -> None:
        """The confusion matrix of the models in force, per tag and model."""
        found = confusion(config, snapshot) if snapshot else {}
        events: Numbers = {
            (tag, model, outcome): float(getattr(c, outcome))
            for (tag, model), c in found.items()
            for outcome in OUTCOMES
        }
        self._metrics.replace("anomaly_labelled_events", events)
        for name in ("precision", "recall", "f1"):
            ratios: Numbers = {key: ratio for key, c in found.items() if (ratio := getattr(c, name)) is not None}
            self._metrics.replace(f"anomaly_labelled_{name}_ratio", ratios)


def confusion(config: Config, snapshot: Snapshot) -> dict[tuple[str, str], Confusion]:
    """What the models in force say of the stretches that people spoke of, per tag and model."""
    out: dict[tuple[str, str], Confusion] = {}
    targets = {target.name: target for target in config.targets}
    for view in snapshot.views:
        for scores in view.scores if view.target in targets else ():
            for row in np.flatnonzero(scores.owned):
                entry = scores.entries[row]
                labelled = entry.figures.get("labelled")
                found = Confusion.of(labelled) if isinstance(labelled, dict) else None
                if found is not None:
                    tag = subject(config, targets[view.target], entry.entity)["tag"]
                    out[tag, entry.model] = out.get((tag, entry.model), Confusion()) + found
    return out


def _entities(config: Config, snapshot: Snapshot | None) -> list[tuple[Target, EntityKey]]:
    """Every entity of the snapshot with its target."""
    targets = {target.name: target for target in config.targets}
    views = snapshot.views if snapshot else ()
    return [
        (targets[view.target], entity)
        for view in views
        if view.target in targets
        for entity in dict.fromkeys(e.entity for scores in view.scores for e in scores.entries)
    ]
