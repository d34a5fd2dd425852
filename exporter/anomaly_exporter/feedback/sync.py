"""Bring the store up to what silences and annotations say now: what is new, changed or gone is appended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config

from . import silences
from .annotations import hear as hear_annotations
from .client import Client, UnheardError
from .reading import Heard
from .record import Record
from .store import Feedback

SOURCES = ("silence", "annotation")


@dataclass(frozen=True)
class Synced:
    """What one look at a source brought: statements appended that are new, changed or withdrawn; ``skipped`` by reason;
    ``error``: why it could not be read."""

    added: int = 0
    changed: int = 0
    withdrawn: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    error: UnheardError | None = None


class Listener:
    """Reads the configured sources; ``alerts``: names of our alerts about entities."""

    def __init__(self, config: Config, clock: Clock, feedback: Feedback, alerts: Collection[str]) -> None:
        self._config, self._clock, self._feedback, self._alerts = config, clock, feedback, frozenset(alerts)
        section = config.feedback
        self._alertmanager = Client(section.alertmanager) if section.alertmanager else None
        self._grafana = Client(section.grafana) if section.grafana else None

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources that are configured, of SOURCES."""
        clients = (self._alertmanager, self._grafana)
        return tuple(name for name, client in zip(SOURCES, clients, strict=True) if client)

    def sync(self, source: str) -> Synced:
        """One look at ``source``. Raises BlobError when the store cannot be read or written."""
        try:
            heard, gone = self._hear(source)
        except UnheardError as error:
            return Synced(error=error)
        before = newest(r for r in self._feedback.records() if r.source == source)
        return self._append(heard, before, gone)

    def close(self) -> None:
        """Close the connections."""
        for client in (self._alertmanager, self._grafana):
            if client:
                client.close()

    def _hear(self, source: str) -> tuple[Heard, Callable[[Record], bool]]:
        """What the source says, and which statements it would still name if they were there."""
        if source == "silence" and self._alertmanager:
            heard = silences.hear(self._alertmanager, self._config, self._clock, self._alerts)
            # Alertmanager forgets silences some days after their end: being gone says nothing.
            return heard, lambda record: False
        if source == "annotation" and self._grafana:
            heard, span = hear_annotations(self._grafana, self._config, self._clock)
            oldest = self._clock.to_data(span.start)
            return heard, lambda record: record.end > oldest + 1
        raise ValueError(f"expected one of the configured sources {self.sources}, received {source!r}")

    def _append(self, heard: Heard, before: Mapping[str, Record], gone: Callable[[Record], bool]) -> Synced:
        now, records = self._clock.wall(), []
        added = changed = withdrawn = 0
        for record in heard.records:
            known = before.get(record.id)
            wanted = replace(record, start=_first(record, known, self._clock.now()), recorded_at=now)
            if known is None or known.withdrawn:
                added += 1
            elif said(known) != said(wanted):
                changed += 1
            else:
                continue
            records.append(wanted)
        heard_ids = {r.id for r in heard.records}
        for identity, known in before.items():
            if known.withdrawn or identity in heard_ids:
                continue
            if identity in heard.mute or gone(known):
                withdrawn += 1
                records.append(replace(known, withdrawn=True, stated_at=now, recorded_at=now))
        self._feedback.add(records)
        return Synced(added, changed, withdrawn, heard.skipped)


def newest(records: Iterable[Record]) -> dict[str, Record]:
    """The newest version of every statement, withdrawn or not."""
    out: dict[str, Record] = {}
    for record in records:
        known = out.get(record.id)
        if known is None or record.recorded_at >= known.recorded_at:
            out[record.id] = record
    return out


def said(record: Record) -> tuple[object, ...]:
    """What makes two versions of a statement the same."""
    return (
        record.verdict,
        record.start,
        record.end,
        record.target,
        record.matchers,
        record.author,
        record.comment,
        record.fixed_by,
    )


def _first(record: Record, known: Record | None, now: float) -> int:
    """Where a statement begins: a silence keeps the beginning of its alert after that has resolved."""
    if record.source == "silence" and known is not None and not known.withdrawn and known.start <= now:
        return min(record.start, known.start)
    return record.start
