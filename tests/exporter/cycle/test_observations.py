"""Promises of what is observed beside the scores, through training and cycles as they run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anomaly_exporter.clock import Clock
from anomaly_exporter.snapshot import Scores
from anomaly_exporter.train.fitting import Run
from anomaly_exporter.train.reading import update
from anomaly_models import shapes
from anomaly_models.frame import Span
from support.snapshots import config_of
from support.watched import BORN, NOW, STEP, World, between

FLAT = 20
"""Steps after which these series stand still too long."""


class At(Clock):
    def now(self) -> float:
        return float(NOW)


def world_of(root: Path, **target: object) -> World:
    """Three series, learned by zscore as training does it."""
    given = {"threshold": {"base": "mean_std"}, "alerting": {"persistence": 2}, "gate": {"enabled": False}}
    config = config_of({**given, "delay": 0, "labels": ["namespace", "container"], **target})
    world = World(root, config, {"cpu": ["a", "b", "c"]})
    learn(world, NOW)
    return world


def learn(world: World, until: int) -> None:
    """Train on everything until the data time ``until``."""
    target, span = world.config.target("cpu"), Span(BORN, until)
    update(world.source, world.history, target, span)
    run = Run(world.config, target, At(), world.history, world.generations, span, 0.0, lambda event: None)
    run.fit(("zscore",), world.history.entities(target, span))


def at(world: World, step: int) -> Scores:
    """Scores of the instant NOW + ``step`` steps, rows in the order of the names."""
    view = world.cycle.run(NOW + step * STEP).views[0]
    assert view.error is None
    (scores,) = view.scores
    return scores


def shape_of(scores: Scores, row: int) -> str | None:
    assert scores.shape is not None
    return shapes.NAMES[scores.shape[row]] if scores.shape[row] >= 0 else None


def held(world: World, name: str, first: int, last: int) -> None:
    """``name`` repeats a usual value from step ``first`` until before ``last``."""
    world.source.changes.append(between(name, first, last, 10.0))


def test_training_stores_habits_and_calm_series_show_nothing(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    scores = at(world, 0)
    for entry in scores.entries:
        assert entry.figures["habits"]["flat_limit"] == [FLAT]
        assert "regime" not in entry.figures["habits"]
    assert not scores.detected.any()
    assert scores.shape is not None
    assert (scores.shape == shapes.NONE).all()
    assert np.isnan(scores.regime).all()  # type: ignore[arg-type]
    assert np.isfinite(scores.slope).all()  # type: ignore[arg-type]


def test_a_flat_line_that_the_model_knows_well_is_detected_and_named(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    held(world, "b", 1, 100)
    for i in range(FLAT + 1):
        before = at(world, i)
    assert not before.detected.any()
    scores = at(world, FLAT + 1)
    assert scores.detected.tolist() == [False, True, False]
    assert scores.score[1] == 1
    assert scores.error[1] / scores.threshold[1] < 1
    assert shape_of(scores, 1) == "flat_line"


def test_a_flat_line_is_still_one_after_a_restart(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    held(world, "b", 1, 100)
    world.restart()
    assert at(world, 40).detected.tolist() == [False, True, False]


@pytest.mark.parametrize(("direction", "detected"), [("both", True), ("up", False)])
def test_a_fall_to_zero_is_detected_where_the_way_down_matters(tmp_path: Path, direction: str, detected: bool) -> None:
    world = world_of(tmp_path, alerting={"persistence": 2, "direction": direction})
    world.source.changes.append(between("a", 1, 100, 0.0))
    for i in range(10):
        scores = at(world, i)
    assert scores.detected.tolist() == [detected, False, False]
    assert shape_of(scores, 0) == ("zero" if detected else None)


def _move(world: World, name: str, first: int, by: float) -> None:
    def change(who: str, times: np.ndarray, values: np.ndarray) -> np.ndarray:
        return values + by * ((times >= NOW + first * STEP) & (who == name))

    world.source.changes.append(change)


def test_a_new_level_is_absorbed_within_the_hour_and_training_learns_it(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    _move(world, "c", 5, 3.0)
    seen = [bool(at(world, i).detected[2]) for i in range(60)]
    assert seen[6:45] == [True] * 39
    assert not any(seen[55:])
    scores = at(world, 60)
    assert scores.regime is not None
    assert scores.provisional is not None
    assert scores.regime[2] == NOW + 5 * STEP
    assert scores.provisional[2] > 1
    assert np.isnan(scores.regime[:2]).all()
    world.restart()
    again = at(world, 61)
    assert not again.detected.any(), "a restart is no incident"
    learn(world, NOW + 180 * STEP)
    world.restart()
    learned = at(world, 181)
    assert not learned.detected.any()
    assert learned.provisional is not None
    assert learned.provisional[2] == 1
    assert learned.regime is not None
    assert abs(learned.regime[2] - (NOW + 5 * STEP)) <= 15 * STEP


def test_switched_off_a_new_level_alerts_until_it_is_learned(tmp_path: Path) -> None:
    world = world_of(tmp_path, regime={"enabled": False})
    _move(world, "c", 5, 5.0)
    assert all(at(world, i).detected[2] for i in range(7, 80))


def test_impossible_values_are_missing_and_counted(tmp_path: Path) -> None:
    world = world_of(tmp_path, queries=[{"expr": "x", "valid": {"min": 0, "max": 100}}])
    world.source.changes.append(between("a", 2, 3, -1.0))
    world.source.changes.append(between("b", 2, 3, 101.0))
    at(world, 1)
    scores = at(world, 2)
    assert scores.shown.tolist() == [False, False, True]
    assert world.metrics.value("samples_invalid_total", target="cpu") == 2
