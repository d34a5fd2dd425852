"""A small world to watch: a source in memory that can be broken, and models trained on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from anomaly_exporter import specs
from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, Target
from anomaly_exporter.cycle import Cycle, Resources
from anomaly_exporter.feedback import Shelf
from anomaly_exporter.generations import Entry, Generation, Generations
from anomaly_exporter.generations.sharding import UNDIVIDED, Shard
from anomaly_exporter.history import History, data_digest
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Scores, Snapshot, TargetView
from anomaly_models import pack as codec
from anomaly_models import training
from anomaly_models.frame import Block, EntityKey, Span, grid

STEP = 60
BORN = 1_800_000_000 // 86_400 * 86_400
"""Data time of the first sample."""
LEARNED = 600
"""Steps of history that models are trained on."""
NOW = BORN + LEARNED * STEP

Change = Callable[[str, np.ndarray, np.ndarray], np.ndarray]


def noise(name: str, times: np.ndarray) -> np.ndarray:
    """A calm series around 10: the same instant always has the same value."""
    phase = sum(map(ord, name))
    return 10 + 0.2 * np.sin(times / 977 + phase) + 0.1 * np.sin(times / 131 * (1 + phase % 7))


class MemorySource:
    """Serves :func:`noise` for the ``names`` of every target, changed by ``changes``; a source of the tests.

    ``failing``: errors by target name. ``hanging``: targets whose reading waits for ``released``. ``reads``: spans.
    """

    def __init__(self, names: Mapping[str, list[str]]) -> None:
        self.names = dict(names)
        self.changes: list[Change] = []
        self.failing: dict[str, Exception] = {}
        self.hanging: set[str] = set()
        self.released = threading.Event()
        self.reads: list[tuple[str, Span]] = []

    def read(self, target: Target, span: Span) -> Block:
        self.reads.append((target.name, span))
        if target.name in self.hanging:
            self.released.wait(30)
        if target.name in self.failing:
            raise self.failing[target.name]
        times = grid(span, target.step)
        keys = [entity(target.name, name) for name in self.names[target.name]]
        block = Block.empty(span, target.step, keys, target.features)
        for i, name in enumerate(self.names[target.name]):
            for f in range(len(target.features)):
                values = noise(name, times) * (f + 1)
                for change in self.changes:
                    values = change(name, times, values)
                block.values[:, i, f] = np.where(times >= BORN, values, np.nan)
        return block

    def lag(self, target: Target, at: int) -> float | None:
        if target.name in self.failing:
            raise self.failing[target.name]
        return float(at % target.step)


def entity(target: str, name: str) -> EntityKey:
    return EntityKey.of(target, {"namespace": "ns", "container": name})


def between(name: str, first: int, last: int, value: float) -> Change:
    """``name`` has ``value`` from step ``first`` after NOW until before step ``last``; NaN makes it vanish."""

    def change(who: str, times: np.ndarray, values: np.ndarray) -> np.ndarray:
        inside = (times >= NOW + first * STEP) & (times < NOW + last * STEP)
        return np.where(inside & (who == name), value, values)

    return change


class World:
    """Source, store and a cycle over a configuration; ``at(k)`` is the cycle that reads the instant NOW + k steps."""

    def __init__(self, root: Path, config: Config, names: Mapping[str, list[str]]) -> None:
        self.config = config
        self.source = MemorySource(names)
        self.blobs = DirectoryBlobs(root)
        self.history = History(self.blobs)
        self.generations = Generations(self.blobs)
        self.restart()

    def restart(self, shard: Shard = UNDIVIDED) -> None:
        """A new process for the entities of ``shard``: nothing is left but the store."""
        self.metrics = SelfMetrics()
        shelf = Shelf(self.blobs)
        resources = Resources(self.source, self.history, self.generations, Clock(), self.metrics, shard, shelf)
        self.cycle = Cycle(self.config, resources)

    def train(self, target: str, model: str | None = None, until: int = NOW, **fields: object) -> Generation:
        """Fit the models of a target on LEARNED steps before ``until`` and put them in force."""
        wanted = self.config.target(target)
        block = self.source.read(wanted, Span(until - LEARNED * STEP, until))
        generation = None
        for name in [model] if model else wanted.models:
            batch = training.train(block, self.plan(wanted, name))
            assert batch.pack is not None
            encoded = codec.encode(batch.pack)
            self.generations.put_pack(encoded)
            entries = [
                Entry(
                    entity=row.entity,
                    model=name,
                    pack=encoded.digest,
                    row=row.row,
                    threshold=row.threshold,
                    figures=row.figures,
                    training={"state": "succeeded", "recipe": self.config.model(name).recipe},
                    **{  # type: ignore[arg-type]
                        "data_digest": data_digest(wanted),
                        "trained_at": float(until),
                        "trained_data_end": row.data_end,
                        "evaluated_at": float(until),
                        **fields,
                    },
                )
                for row in batch.rows
            ]
            generation = self.generations.commit(target, entries)
        assert generation is not None
        return generation

    def plan(self, target: Target, name: str) -> training.Plan:
        model = self.config.model(name)
        return training.Plan(
            specs.model_spec(model, target),
            specs.cleaning_spec(target, model),
            specs.threshold_spec(target),
            ensemble=specs.ensemble_spec(target),
        )

    def at(self, step: int) -> Snapshot:
        return self.cycle.run(NOW + step * STEP + 60)

    def until(self, last: int, first: int = 0) -> Snapshot:
        """Run the cycles of the steps ``first`` to ``last``; the last snapshot."""
        snapshot = self.at(first)
        for step in range(first + 1, last + 1):
            snapshot = self.at(step)
        return snapshot


def view_of(snapshot: Snapshot, target: str) -> TargetView:
    return next(v for v in snapshot.views if v.target == target)


def row_of(snapshot: Snapshot, target: str, name: str, model: str = "zscore") -> tuple[Scores, int]:
    """Where a series stands in a snapshot, shown or not; KeyError when it is not there."""
    for scores in view_of(snapshot, target).scores:
        for i, entry in enumerate(scores.entries):
            if entry.entity.get("container") == name and entry.model == model and scores.owned[i]:
                return scores, i
    raise KeyError(name)


def score_of(snapshot: Snapshot, target: str, name: str, model: str = "zscore") -> float | None:
    """The score that is shown, None when the series is absent."""
    try:
        scores, i = row_of(snapshot, target, name, model)
    except KeyError:
        return None
    return float(scores.score[i]) if scores.shown[i] else None


def reason_of(snapshot: Snapshot, target: str, name: str, model: str = "zscore") -> str | None:
    """Why a series is not scored."""
    for item in view_of(snapshot, target).unscored:
        if item.model == model and name in {e.get("container") for e in item.entities}:
            return item.reason
    return None
