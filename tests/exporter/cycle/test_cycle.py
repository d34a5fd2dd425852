"""A cycle scores what can be scored, says why the rest is not, and never shows a number that may be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly_exporter.metrics import UNSCORED_REASONS
from anomaly_exporter.sources import SourceUnavailableError
from anomaly_models.frame import Span
from support.snapshots import config_of
from support.waiting import wait_for
from support.watched import (
    NOW,
    STEP,
    World,
    between,
    entity,
    reason_of,
    row_of,
    score_of,
    view_of,
)

WINDOW = 6
MODELS = {"zscore": {"recipe": "zscore", "window": WINDOW}}
NAN = float("nan")


def _world(root: Path, names: dict[str, list[str]] | None = None, *targets: dict[str, Any], **sections: Any) -> World:
    config = config_of(*targets, **{"models": MODELS, **sections})
    return World(root, config, names or {"cpu": ["a", "b", "c"]})


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = _world(tmp_path, None, {"alerting": {"persistence": 3}})
    made.train("cpu")
    return made


def test_every_entity_with_data_and_a_model_is_scored_and_a_calm_one_is_calm(world: World) -> None:
    snapshot = world.at(0)
    assert [score_of(snapshot, "cpu", name) is not None for name in "abc"] == [True] * 3
    assert all((score_of(snapshot, "cpu", name) or 0) < 1 for name in "abc")
    view = view_of(snapshot, "cpu")
    assert (view.scored, view.expected, view.unscored, view.generation) == (3, 3, (), 1)
    assert view.at == NOW


def test_an_incident_is_detected_after_persistence_and_counted_in_points(world: World) -> None:
    world.source.changes.append(between("a", 2, 20, 40.0))
    detected, points = [], []
    for step in range(6):
        scores, i = row_of(world.at(step), "cpu", "a")
        detected.append(bool(scores.detected[i]))
        points.append(int(scores.points[i]))
    assert detected == [False, False, False, False, True, True]
    assert points == [0, 0, 1, 2, 3, 4]
    assert (score_of(world.at(6), "cpu", "b") or 0) < 1


@pytest.mark.parametrize("killed_at", [2, 3, 4, 6, 9, 12])
def test_a_restart_in_mid_incident_changes_nothing_that_is_said(tmp_path: Path, killed_at: int) -> None:
    changes = [between("a", 2, 8, 40.0), between("b", 0, 5, NAN), between("c", 3, 4, 40.0)]
    steady, killed = _world(tmp_path / "steady"), _world(tmp_path / "killed")
    for made in (steady, killed):
        made.train("cpu")
        made.source.changes += changes
    killed.until(killed_at)
    killed.restart()
    for step in range(13):
        before = steady.at(step)
        if step <= killed_at:
            continue
        after = killed.at(step)
        for name in "abc":
            (one, i), (two, j) = row_of(before, "cpu", name), row_of(after, "cpu", name)
            assert one.shown[i] == two.shown[j]
            assert one.detected[i] == two.detected[j], (name, step)
            assert one.score[i] == two.score[j] or (np.isnan(one.score[i]) and np.isnan(two.score[j]))


def test_a_restart_reads_only_what_the_history_lacks(world: World) -> None:
    target = world.config.target("cpu")
    world.history.append(target, world.source.read(target, Span(NOW - 500 * STEP, NOW - 3 * STEP)))
    world.source.reads.clear()
    world.restart()
    world.at(0)
    assert world.source.reads == [("cpu", Span(NOW - 3 * STEP, NOW + STEP))]


def test_the_ring_read_live_equals_what_one_reading_gives(world: World) -> None:
    world.until(12)
    watch = world.cycle._watches["cpu"]
    ring = watch._ring
    assert ring is not None
    at_once = world.source.read(world.config.target("cpu"), Span(ring.start, ring.start + ring.rows * STEP))
    np.testing.assert_array_equal(ring.values, at_once.values)


def test_missed_cycles_leave_no_gap(world: World) -> None:
    world.source.changes.append(between("a", 3, 30, 40.0))
    world.at(0)
    world.source.reads.clear()
    snapshot = world.at(7)
    assert world.source.reads == [("cpu", Span(NOW + STEP, NOW + 8 * STEP))]
    scores, i = row_of(snapshot, "cpu", "a")
    assert scores.detected[i]
    assert scores.points[i] == 5, "instants 3 to 7 were anomalous, read or not at their time"


def test_a_break_longer_than_the_ring_warms_up_again(world: World) -> None:
    world.at(0)
    snapshot = world.at(2000)
    assert score_of(snapshot, "cpu", "a") is not None


def test_an_entity_without_data_is_absent_at_once_and_comes_back(world: World) -> None:
    world.source.changes.append(between("a", 2, 4, NAN))
    said = [(score_of(s, "cpu", "a") is not None, reason_of(s, "cpu", "a")) for s in map(world.at, range(6))]
    assert said == [(True, None), (True, None), (False, "no_data"), (False, "no_data"), (True, None), (True, None)]
    assert score_of(world.at(6), "cpu", "b") is not None


def test_after_a_gap_too_long_to_bridge_the_window_must_fill_again(world: World) -> None:
    world.source.changes.append(between("a", 2, 10, NAN))
    world.until(9)
    assert [reason_of(world.at(step), "cpu", "a") for step in range(10, 17)] == ["gap"] * (WINDOW - 1) + [None] * 2


def test_a_new_entity_with_a_model_warms_up_and_one_without_has_none(world: World) -> None:
    world.source.names["cpu"] = ["a", "b"]
    world.restart()
    world.at(0)
    world.source.names["cpu"] = ["a", "b", "c", "new"]
    snapshot = world.at(1)
    assert reason_of(snapshot, "cpu", "c") == "warmup"
    assert reason_of(snapshot, "cpu", "new") == "no_model"
    world.until(WINDOW - 1, 2)
    assert reason_of(world.at(WINDOW), "cpu", "c") is None


def test_without_any_generation_everything_waits_for_a_model(tmp_path: Path) -> None:
    view = view_of(_world(tmp_path).at(0), "cpu")
    assert view.counts() == {"no_model": 3}
    assert view.untrained
    assert view.error is None
    assert view.models == {"loaded": 0, "failed": 0, "stale": 0, "untrained": 3, "shared": 0}


def test_too_few_features_are_said_to_be_the_reason(tmp_path: Path) -> None:
    target = {
        "queries": [{"name": n, "expr": n} for n in ("x", "y", "z")],
        "min_features": 2,
    }
    world = _world(tmp_path, None, target)
    world.train("cpu")
    world.at(0)
    read = world.source.read

    def only_one_feature(target: Any, span: Span) -> Any:
        block = read(target, span)
        block.values[:, 0, 1:] = np.nan
        return block

    world.source.read = only_one_feature  # type: ignore[method-assign]
    for step in range(1, 8):
        snapshot = world.at(step)
    assert reason_of(snapshot, "cpu", "a") == "features"
    assert score_of(snapshot, "cpu", "b") is not None


def test_changed_queries_put_the_old_models_out_of_force(world: World) -> None:
    world.train("cpu", data_digest="0" * 64)
    view = view_of(world.at(0), "cpu")
    assert view.counts() == {"config_changed": 3}
    assert view.untrained
    assert view.scores == ()


def test_a_target_that_cannot_be_read_loses_its_gauges_and_nobody_elses(tmp_path: Path) -> None:
    names = {"cpu": ["a"], "memory": ["a"]}
    world = _world(tmp_path, names, {"name": "cpu"}, {"name": "memory", "metric": "memory"})
    world.train("cpu")
    world.train("memory")
    world.at(0)
    world.source.failing["cpu"] = SourceUnavailableError("connection refused")
    snapshot = world.at(1)
    assert score_of(snapshot, "cpu", "a") is None
    assert score_of(snapshot, "memory", "a") is not None
    view = view_of(snapshot, "cpu")
    assert view.error == "connection refused"
    assert view.counts() == {"no_data": 1}
    assert view.expected == 1, "what was there is still expected, so that coverage falls"
    assert world.metrics.value("cycles_total", outcome="partial") == 1
    del world.source.failing["cpu"]
    assert score_of(world.at(2), "cpu", "a") is not None, "back within one cycle"


def test_an_unexpected_error_of_one_target_stays_its_own(tmp_path: Path) -> None:
    names = {"cpu": ["a"], "memory": ["a"]}
    world = _world(tmp_path, names, {"name": "cpu"}, {"name": "memory", "metric": "memory"})
    world.train("memory")
    world.source.failing["cpu"] = ZeroDivisionError("a bug")
    snapshot = world.at(0)
    assert view_of(snapshot, "cpu").error == "ZeroDivisionError: a bug"
    assert score_of(snapshot, "memory", "a") is not None


def test_an_empty_answer_is_a_failure_when_models_are_in_force(world: World) -> None:
    world.at(0)
    names, world.source.names["cpu"] = world.source.names["cpu"], []
    view = view_of(world.at(1), "cpu")
    assert view.error is not None
    assert "without a single sample" in view.error
    assert (view.scored, view.expected, view.counts()) == (0, 3, {"no_data": 3})
    assert world.metrics.value("cycles_total", outcome="failed") == 1
    world.source.names["cpu"] = names
    assert view_of(world.at(2), "cpu").scored == 3, "models are kept"


def test_a_hanging_target_does_not_hold_up_the_others_and_expires(tmp_path: Path) -> None:
    names = {"cpu": ["a"], "memory": ["a"]}
    world = _world(tmp_path, names, {"name": "cpu", "step": "1s"}, {"name": "memory", "metric": "memory", "step": "1s"})
    for target in names:
        world.train(target, until=NOW)
    run = world.cycle.run
    run(NOW + 60)
    world.source.hanging.add("cpu")
    snapshot = run(NOW + 61)
    assert score_of(snapshot, "memory", "a") is not None
    assert score_of(snapshot, "cpu", "a") is not None, "the last view may stay a little"
    later = wait_for(lambda: (s := run(NOW + 62)) and view_of(s, "cpu").error and s, 10, "the view to expire")
    assert score_of(later, "cpu", "a") is None
    assert score_of(later, "memory", "a") is not None
    world.source.hanging.clear()
    world.source.released.set()
    wait_for(lambda: score_of(run(NOW + 63), "cpu", "a") is not None, 10, "the target to come back")
    assert world.source.reads.count(("cpu", Span(NOW + 1, NOW + 2))) == 1, "not asked again while it hung"


def test_of_two_targets_with_equal_labels_the_first_wins_even_while_it_fails(tmp_path: Path) -> None:
    names = {"first": ["a", "b"], "second": ["b", "c"]}
    world = _world(tmp_path, names, {"name": "first"}, {"name": "second"})
    world.train("first")
    world.train("second")
    snapshot = world.at(0)
    assert [score_of(snapshot, "second", n) is not None for n in "bc"] == [False, True]
    assert reason_of(snapshot, "second", "b") == "duplicate"
    world.source.failing["first"] = SourceUnavailableError("down")
    snapshot = world.at(1)
    assert reason_of(snapshot, "second", "b") == "duplicate"
    assert score_of(snapshot, "second", "c") is not None


def test_equal_labels_of_different_metrics_or_models_are_no_duplicates(tmp_path: Path) -> None:
    names = {"cpu": ["a"], "memory": ["a"], "other": ["a"]}
    models = {**MODELS, "z2": {"recipe": "zscore", "window": WINDOW}}
    targets = ({"name": "cpu"}, {"name": "memory", "metric": "memory"}, {"name": "other", "models": ["z2"]})
    world = _world(tmp_path, names, *targets, models=models)
    for target in names:
        world.train(target)
    assert [v.scored for v in world.at(0).views] == [1, 1, 1]


def test_series_beyond_the_limit_are_counted_and_the_first_ones_stay(tmp_path: Path) -> None:
    names = {"cpu": ["a", "b"], "memory": ["a", "b"]}
    world = _world(
        tmp_path,
        names,
        {"name": "cpu"},
        {"name": "memory", "metric": "memory"},
        exposition={"max_series": 3},
    )
    world.train("cpu")
    world.train("memory")
    snapshot = world.at(0)
    assert [score_of(snapshot, "memory", n) is not None for n in "ab"] == [True, False]
    assert view_of(snapshot, "memory").counts() == {"limit": 1}
    world.source.names["cpu"] = ["0", "1", "a", "b"]
    snapshot = world.at(1)
    assert [score_of(snapshot, "cpu", n) is not None for n in "ab"] == [True, True]
    assert view_of(snapshot, "cpu").counts() == {"no_model": 1, "limit": 1}


def test_a_target_of_a_longer_step_keeps_its_score_between_its_instants(tmp_path: Path) -> None:
    names = {"cpu": ["a"], "slow": ["a"]}
    world = _world(tmp_path, names, {"name": "cpu"}, {"name": "slow", "metric": "slow", "step": "5m"})
    world.train("cpu")
    world.train("slow")
    world.at(0)
    world.source.reads.clear()
    for step in range(1, 5):
        assert score_of(world.at(step), "slow", "a") is not None
    assert {name for name, _ in world.source.reads} == {"cpu"}
    world.at(5)
    assert ("slow", Span(NOW + 300, NOW + 600)) in world.source.reads


def test_self_metrics_tell_what_the_cycle_found(world: World) -> None:
    world.source.changes.append(between("a", 0, 5, NAN))
    world.at(1)
    value = world.metrics.value
    assert value("series_expected", target="cpu") == 2
    assert value("series_scored", target="cpu") == 2
    assert {r: value("series_unscored", target="cpu", reason=r) for r in UNSCORED_REASONS} == {
        **dict.fromkeys(UNSCORED_REASONS, 0),
        "no_data": 1,
    }
    assert value("data_lag_seconds", target="cpu") == 0
    assert value("cycle_interval_seconds") == 60
    assert value("models", target="cpu", state="loaded") == 3
    assert value("ready") == 1
    assert value("last_success_timestamp_seconds")
    assert set(UNSCORED_REASONS) >= {item.reason for item in view_of(world.at(2), "cpu").unscored}


def test_cycles_come_when_the_delay_of_a_new_instant_is_over(tmp_path: Path) -> None:
    targets = ({"name": "cpu", "delay": "70s"}, {"name": "m", "metric": "m", "step": "5m", "delay": "90s"})
    cycle = _world(tmp_path, {"cpu": [], "m": []}, *targets).cycle
    assert cycle.interval == 60
    assert [cycle.next_after(t) for t in (600, 609.9, 610, 611, 669)] == [610, 610, 670, 670, 670]


def test_keys_of_the_tests_are_those_of_the_source(world: World) -> None:
    assert world.source.read(world.config.target("cpu"), Span(NOW, NOW + STEP)).entities[0] == entity("cpu", "a")
