"""Are injected anomalies like real ones? Detection of both, by the same detectors at the same number of false alerts.

    python -m bench.quality.injection --data FOLDER [--datasets aiops,nab] [--models zscore,seasonal,pca] [--entities N]

Per set: how large and how long labelled events are, in the units that injected ones have; then, for every entity and
detector, the share of labelled events and of injected anomalies found at one false notification a week. If injection
ranked detectors as real events do, a champion chosen by it would find as many events as the best one does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomaly_exporter.evaluate.data import Series, read
from anomaly_exporter.evaluate.labels import Labels, read_labels
from anomaly_models import injection, judging, proving
from anomaly_models.alerting import AlertSpec
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Block, EntityKey
from anomaly_models.judging import Truth
from anomaly_models.model_spec import ModelSpec
from anomaly_models.proving import Contender, Ground, Rules
from anomaly_models.thresholds import ThresholdSpec
from anomaly_models.training import Plan, train

RULES = Rules(ThresholdSpec(), AlertSpec(persistence=1))
SEEDS = 3
BEFORE = 7200
"""Seconds before an event that its size is measured from."""


@dataclass(frozen=True)
class Found:
    """One detector on one entity: labelled events found of how many, and share of injected anomalies by shape."""

    entity: str
    detector: str
    events: int
    found: int
    injected: float
    shapes: dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--datasets", default=None)
    parser.add_argument("--models", default="zscore,seasonal,pca")
    parser.add_argument("--entities", type=int, default=1000, help="at most so many of every set")
    asked = parser.parse_args(arguments)
    labels = read_labels(asked.data)
    if labels is None:
        raise SystemExit(f"{asked.data}: expected labels.csv")
    series = [s for part in read(asked.data, asked.datasets.split(",") if asked.datasets else None) for s in part]
    for dataset in sorted({s.dataset for s in series}):
        own = [s for s in series if s.dataset == dataset][: asked.entities]
        print(f"\n{dataset}: {len(own)} entities")
        print(distribution(own, labels))
        rows = [row for s in own for row in compared(s, labels.truth(s), asked.models.split(","))]
        print(table(rows))
        sys.stdout.flush()
    return 0


def distribution(series: Sequence[Series], labels: Labels) -> str:
    """Quartiles of size and duration of the labelled events."""
    sizes: list[float] = []
    minutes: list[float] = []
    for s in series:
        size = injection.variation(s.values[s.test_rows[0] :, None, :])[0]
        for event in labels.truth(s).events:
            a, b = (int(np.searchsorted(s.test_times, t)) for t in (event.start, event.end + 1))
            before = s.values[s.test_rows[max(a - BEFORE // s.step, 0) : max(a, 1)]]
            inside = s.values[s.test_rows[a : max(b, a + 1)]]
            with np.errstate(invalid="ignore"):
                away = np.abs(inside - np.nanmedian(before, axis=0)) / size
            if np.isfinite(away).any():
                sizes.append(float(np.nanmax(away)))
                minutes.append((event.end - event.start + s.step) / 60)
    if not sizes:
        return "no labelled events"
    quartiles = [
        "/".join(f"{q:.0f}" for q in np.percentile(values, (10, 25, 50, 75, 90))) for values in (sizes, minutes)
    ]
    return (
        f"labelled events (10/25/50/75/90 %): size {quartiles[0]} local variations, {quartiles[1]} minutes;"
        " injected: size 4, 8, 16, minutes 5 to 120"
    )


def compared(s: Series, truth: Truth, models: Sequence[str]) -> list[Found]:
    """What every detector finds of the events of ``s`` and of anomalies injected into its normal test samples."""
    step, key = s.step, EntityKey.of("injection", {"entity": s.entity})
    block = Block(s.first * step, step, (key,), tuple(f"f{i}" for i in range(len(s.features))), s.values[:, None, :])
    begin = int(s.test_times[0])
    out = []
    for name in models:
        spec = ModelSpec(
            name, window=2 if name in ("zscore", "seasonal") else 24, min_features=-(-len(s.features) // 2)
        )
        learned = Block(block.start, step, block.entities, block.features, block.values[: s.train[1]])
        try:
            batch = train(learned, Plan(spec, persistence=1))
        except InvalidShapeError as error:  # a detector that does not fit the series is left out of its comparison
            print(f"{s.entity} {name}: {error}", file=sys.stderr)
            continue
        if batch.scorer is None:
            continue
        contender = Contender(batch.scorer, [batch.rows[0].threshold])
        lead = proving.lead_of([contender], RULES)
        ground = Ground.of(block, CleaningSpec(), np.array([begin]), lead)
        replay = ground.replay(contender, RULES)
        normal = np.zeros(replay.shape[1], np.bool_)
        normal[(truth.times[truth.normal] - begin) // step] = True
        quiet = np.where(normal[None], replay, np.float32(np.nan))
        level = proving.level_for(quiet, step, np.array([int(truth.weeks)]))
        score = np.nan_to_num(replay[0, (truth.times - begin) // step], nan=0.0)
        caught, counted, cases = [], [], []
        for seed in range(SEEDS):
            drawn = injection.cases(step, least=2, seed=1000 * seed)
            trials = ground.trials(np.isfinite(quiet), drawn, lead)
            proof = proving.prove(ground, contender, RULES, replay, trials)
            caught.append(proof.caught(level)[0])
            counted.append(proof.counted[0])
            cases += list(drawn)
        hit, did = np.concatenate(caught), np.concatenate(counted)
        shape = np.array([case.shape for case in cases])
        shapes = {x: float(hit[(shape == x) & did].mean()) for x in injection.SHAPES if ((shape == x) & did).any()}
        found = int((judging.peaks(truth, score) >= level[0]).sum())
        out.append(
            Found(s.entity, name, len(truth.events), found, float(hit[did].mean()) if did.any() else 0.0, shapes)
        )
    return out


def table(rows: Sequence[Found]) -> str:
    """Recall of both by detector; rank correlation within entities; what a champion by injection would find."""
    names = list(dict.fromkeys(row.detector for row in rows))
    lines = [f"{'detector':<10} {'events':>7} {'injected':>9}  " + " ".join(f"{x[:9]:>9}" for x in injection.SHAPES)]
    for name in names:
        own = [row for row in rows if row.detector == name]
        events = sum(row.events for row in own)
        shapes = [np.mean([row.shapes[x] for row in own if x in row.shapes] or [np.nan]) for x in injection.SHAPES]
        found, injected = sum(row.found for row in own) / max(events, 1), np.mean([row.injected for row in own])
        lines.append(f"{name:<10} {found:>7.2f} {injected:>9.2f}  " + " ".join(f"{x:>9.2f}" for x in shapes))
    by_entity = [
        of
        for entity in dict.fromkeys(row.entity for row in rows)
        if len(of := [row for row in rows if row.entity == entity and row.events]) == len(names) > 1
    ]
    if by_entity:
        ranks = [r for of in by_entity if (r := _spearman([x.found for x in of], [x.injected for x in of])) is not None]
        events = sum(of[0].events for of in by_entity)
        chosen = sum(max(of, key=lambda x: x.injected).found for of in by_entity) / events
        best = sum(max(x.found for x in of) for of in by_entity) / events
        single = max(sum(of[i].found for of in by_entity) for i in range(len(names))) / events
        middle = f"{np.mean(ranks):+.2f} over {len(ranks)} entities" if ranks else "no entity tells detectors apart"
        lines.append(f"rank correlation of detectors within an entity, events against injected: {middle}")
        lines.append(
            f"events found: best single detector {single:.2f}, champion by injection {chosen:.2f}, oracle {best:.2f}"
        )
    return "\n".join(lines)


def _spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation with mean ranks of ties; None where one side is constant."""
    x, y = (np.array([np.mean(np.less(v, w) + 0.5 * np.equal(v, w)) for w in v]) for v in map(np.asarray, (a, b)))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


if __name__ == "__main__":
    raise SystemExit(main())
