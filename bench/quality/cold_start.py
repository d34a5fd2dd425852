"""The first hour, day and week of a new series: what is found, and what is a false alert.

    python -m bench.quality.cold_start --data FOLDER [--dataset aiops] [--model fc] [--days 7]

Two thirds of the series of a set are the fleet: they teach the shared model. The others begin, all at one instant,
each at several places of its past. A real cycle scores them every step; trainings run at the ages of ``TRAINED``,
through the functions that `anomaly-exporter train` calls. The same world runs twice, as it was and with anomalies put
into it. ``--scope own`` shows what there was before: nothing until the first training.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly_exporter import specs
from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, Target
from anomaly_exporter.cycle import Cycle, Resources
from anomaly_exporter.evaluate.data import Series, read
from anomaly_exporter.generations import Generations, SharedEntry, seed_of
from anomaly_exporter.history import History, data_digest
from anomaly_exporter.seeding import plant_seed
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.train.fitting import Run
from anomaly_models import injection, pack
from anomaly_models.frame import Block, EntityKey, Span, grid
from anomaly_models.training import Plan, train_shared

HOUR, DAY = 3600, 86_400
BORN = 1_800_000_000 // DAY * DAY
TRAINED = (3, 5, 7, 9, 12, 18, 24, 36, 48, 72, 96, 120, 144)
"""Ages in hours at which the newcomers are trained."""
PERIODS = (
    ("first hour", 0, HOUR),
    ("until the first training", HOUR, TRAINED[0] * HOUR),
    ("rest of the first day", TRAINED[0] * HOUR, DAY),
    ("rest of the first week", DAY, 7 * DAY),
)
STARTS = 4
AMPLITUDE = 8.0
INJECTED = (
    *((minute * 60, shape) for minute, shape in ((16, "spike"), (30, "dip"), (48, "spike"))),
    *((hour * HOUR, shape) for hour, shape in ((2, "spike"), (4, "level_shift"), (7, "dip"), (11, "drop_to_zero"))),
    *((hour * HOUR, shape) for hour, shape in ((15, "spike"), (20, "level_shift"))),
    *((hour * HOUR, shape) for hour, shape in ((30, "spike"), (50, "dip"), (70, "level_shift"), (90, "spike"))),
    *((hour * HOUR, shape) for hour, shape in ((110, "drop_to_zero"), (130, "dip"), (150, "spike"))),
)
"""Ages in seconds at which an anomaly begins, and its shape."""


@dataclass(frozen=True)
class Newcomers:
    """Series that begin at BORN: ``values`` [T, N, F], and ``judged`` [T, N]: nothing labelled is near."""

    names: tuple[str, ...]
    values: np.ndarray
    judged: np.ndarray


class Replay:
    """A source that plays newcomers back."""

    def __init__(self, new: Newcomers) -> None:
        self.new = new

    def read(self, target: Target, span: Span) -> Block:
        keys = tuple(EntityKey.of(target.name, {"container": name}) for name in self.new.names)
        block = Block.empty(span, target.step, keys, target.features)
        rows = (grid(span, target.step) - BORN) // target.step
        inside = (rows >= 0) & (rows < len(self.new.values))
        block.values[inside] = self.new.values[rows[inside]]
        return block

    def lag(self, target: Target, at: int) -> float | None:
        return 0.0


def newcomers(series: Sequence[Series], labels: pd.DataFrame, rows: int) -> Newcomers:
    """Every series from several places of its past on."""
    names, values, judged = [], [], []
    for one in series:
        whole = one.values
        near = np.zeros(len(whole), np.bool_)
        for row in labels[labels.entity == one.entity].itertuples():
            first, last = (int(t) // one.step - one.first for t in (row.start, row.end))
            near[max(first - 10, 0) : max(last + 1 + 1800 // one.step, 0)] = True
        for k in np.linspace(0, len(whole) - rows - 1, STARTS).astype(int):
            if k < 0:
                continue
            names.append(f"{one.entity}-{k}")
            values.append(whole[k : k + rows])
            judged.append(~near[k : k + rows])
    return Newcomers(tuple(names), np.stack(values, axis=1), np.stack(judged, axis=1))


def injected(new: Newcomers, step: int) -> tuple[Newcomers, list[tuple[int, int]]]:
    """The same with anomalies, and the rows of each."""
    values, events = new.values.copy(), []
    size = injection.variation(values)
    for i, (age, shape) in enumerate(INJECTED):
        steps = max(injection.cases(step)[injection.SHAPES.index(shape) * 3].steps, 3)
        at = age // step
        if at + steps >= len(values):
            continue
        case = injection.Case(shape, AMPLITUDE, steps, 1.0, i)
        values = injection.inject(values, case, at, size, np.ones(values.shape[1:], np.bool_))
        events.append((at, at + steps))
    return Newcomers(new.names, values, new.judged), events


def walk(config: Config, fleet: bytes | None, new: Newcomers, hours: float) -> tuple[np.ndarray, np.ndarray]:
    """Detected and scored [T, N] of a world whose store begins with the shared model ``fleet`` (a seed)."""
    target, source = config.targets[0], Replay(new)
    rows = int(hours * HOUR // target.step)
    detected, scored = (np.zeros((rows, len(new.names)), np.bool_) for _ in range(2))
    column = {name: i for i, name in enumerate(new.names)}
    with tempfile.TemporaryDirectory() as folder:
        blobs = DirectoryBlobs(Path(folder))
        history, generations = History(blobs), Generations(blobs)
        if fleet is not None:
            plant_bytes(Path(folder), config, generations, fleet)
        cycle = Cycle(config, Resources(source, history, generations, Clock(), SelfMetrics()))
        due = [hour * HOUR for hour in TRAINED]
        for row in range(rows):
            now = BORN + row * target.step
            if due and now - BORN >= due[0]:
                due.pop(0)
                train(config, source, history, generations, now)
            view = cycle.run(float(now)).views[0]
            for scores in view.scores:
                for i in np.flatnonzero(scores.shown):
                    at = column[scores.entries[i].entity.get("container")]
                    scored[row, at], detected[row, at] = True, scores.detected[i]
        cycle.close()
    return detected, scored


def plant_bytes(folder: Path, config: Config, generations: Generations, seed: bytes) -> None:
    """Let the store begin with ``seed``."""

    path = folder / "seed.json"
    path.write_bytes(seed)
    store = config.store.model_copy(update={"seed": path})
    plant_seed(config.model_copy(update={"store": store}), generations)


def train(config: Config, source: Replay, history: History, generations: Generations, now: int) -> None:
    """One training of the newcomers on all that there is."""
    target = config.targets[0]
    span = Span(max(now - target.training.history, BORN), now + target.step)
    for hole in history.holes(target, span):
        history.append(target, source.read(target, hole))
    clock = Clock(wall_origin=float(now), data_origin=now)
    run = Run(config, target, clock, history, generations, span, float(now), lambda event: None)
    run.fit(target.models, history.entities(target, span))


def fleet_seed(config: Config, fleet: Sequence[Series]) -> bytes:
    """The shared model of the fleet, as a seed."""

    target = config.targets[0]
    rows = min(len(one.values) for one in fleet)
    keys = tuple(EntityKey.of(target.name, {"container": one.entity}) for one in fleet)
    block = Block(0, target.step, keys, target.features, np.stack([one.values[:rows] for one in fleet], axis=1))
    name = target.models[0]
    model = config.model(name)
    plan = Plan(
        specs.model_spec(model, target),
        specs.cleaning_spec(target, model),
        specs.threshold_spec(target),
        persistence=specs.persistence(target.alerting, target.threshold, model),
    )
    fit = train_shared(block, plan)
    prior = fit.prior
    sys.stdout.write(
        f"fleet: {prior.series} series, {prior.walks} walks; scale/level {prior.relative[0]:.3f}; thresholds by age "
        + " ".join(f"{t:.1f}" for t in prior.thresholds)
        + f"; {specs.persistence(target.alerting, target.threshold, model)} in a row\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        generations = Generations(DirectoryBlobs(Path(folder)))
        encoded = pack.encode(fit.pack)
        generations.put_pack(encoded)
        entry = SharedEntry(
            name, encoded.digest, prior, data_digest(target), 0.0, fit.data_end, {"recipe": model.recipe}
        )
        generations.commit(target.name, (), shared=[entry])
        return seed_of(generations, [target.name])


def configuration(step: int, features: int, model: str, scope: str) -> Config:
    target = {
        "name": "new",
        "metric": "cpu",
        "labels": ["container"],
        "tag": "t",
        "step": step,
        "delay": 0,
        "models": [model],
        "queries": [{"name": f"f{i}", "expr": f"f{i}"} for i in range(features)],
        "training": {"scope": scope, "contamination": 0.01},
    }
    return Config.model_validate({"files": {"path": "."}, "targets": [target]})


def edges(detected: np.ndarray) -> np.ndarray:
    """Rows at which an alert begins."""
    before = np.concatenate([np.zeros((1, detected.shape[1]), np.bool_), detected[:-1]])
    return detected & ~before


def table(
    step: int, new: Newcomers, clean: tuple[np.ndarray, np.ndarray], hit: np.ndarray, events: list[tuple[int, int]]
) -> str:
    """A line per period."""
    lines = ["| period | scored | false alerts per series | injected found |", "|---|---|---|---|"]
    rows = len(clean[0])
    for name, begin, end in PERIODS:
        at = slice(begin // step, min(end // step, rows))
        if at.start >= rows:
            break
        false = (edges(clean[0])[at] & new.judged[at]).sum() / len(new.names)
        inside = [(a, b) for a, b in events if at.start <= a < at.stop and b < rows]
        found = [hit[a : b + max(300 // step, 1)].any(axis=0) for a, b in inside]
        recall = f"{np.mean(found):.2f} of {np.size(found)}" if found else "-"
        lines.append(f"| {name} | {clean[1][at].mean():.2f} | {false:.3f} | {recall} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.quality.cold_start", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled series (segments.csv)")
    parser.add_argument("--dataset", default="aiops")
    parser.add_argument("--model", default="fc")
    parser.add_argument("--scope", default="both", choices=["own", "shared", "both"])
    parser.add_argument("--days", type=float, default=7.0)
    given = parser.parse_args()
    series = next(iter(read(given.data, [given.dataset])))
    step = max({one.step for one in series}, key=[one.step for one in series].count)
    series = [one for one in series if one.step == step]
    labels = pd.read_csv(given.data / "labels.csv", dtype={"entity": str})
    labels = labels[labels.dataset == given.dataset]
    config = configuration(step, series[0].values.shape[1], given.model, given.scope)
    new = newcomers(series[2::3], labels, int(given.days * DAY // step) + 1)
    fleet = [one for i, one in enumerate(series) if i % 3 != 2]
    seed = fleet_seed(config, fleet) if given.scope != "own" else None
    hours = given.days * 24
    clean = walk(config, seed, new, hours)
    altered, events = injected(new, step)
    hit, _ = walk(config, seed, altered, hours)
    sys.stdout.write(
        f"{given.dataset}, model {given.model}, scope {given.scope}: {len(new.names)} beginnings of "
        f"{len(series[2::3])} series, step {step} s\n{table(step, new, clean, hit, events)}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
