"""Generations swap between cycles; one that cannot be loaded changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomaly_exporter.generations.verdicts import against, settle
from support.snapshots import config_of
from support.watched import NOW, World, between, reason_of, row_of, score_of, view_of

MODELS = {"zscore": {"recipe": "zscore", "window": 6}}


def _world(root: Path, **target: object) -> World:
    return World(root, config_of(target, models=MODELS), {"cpu": ["a", "b", "c"]})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return _world(tmp_path)


def _pack_files(world: World, digest: str) -> list[Path]:
    return [world.blobs.fetch(name) for name in world.blobs.list(f"packs/{digest}/")]


def test_a_new_generation_is_in_force_in_the_next_cycle(world: World) -> None:
    world.at(0)
    world.train("cpu")
    assert view_of(world.at(1), "cpu").scored == 3
    world.train("cpu", until=NOW - 60)
    view = view_of(world.at(2), "cpu")
    assert (view.generation, view.scored) == (2, 3)
    assert view.trained_at == NOW - 60


def test_points_go_on_over_a_change_of_generation(world: World) -> None:
    world.train("cpu")
    world.source.changes.append(between("a", 1, 9, 40.0))
    scores, i = row_of(world.until(3), "cpu", "a")
    assert scores.points[i] == 3
    world.train("cpu", until=NOW - 60)
    scores, i = row_of(world.at(5), "cpu", "a")
    assert scores.points[i] == 5, "the instants 4 and 5 came with the swap"


def test_an_alert_goes_on_over_a_change_of_generation(world: World) -> None:
    world.train("cpu")
    world.source.changes.append(between("a", 1, 20, 40.0))
    world.until(6)
    world.train("cpu", until=NOW - 60)
    scores, i = row_of(world.at(7), "cpu", "a")
    assert scores.detected[i]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_pack_leaves_what_was_in_force_and_the_entities_of_other_packs_alone(
    world: World, damage: str
) -> None:
    world.train("cpu")
    before = world.at(0)
    good = world.generations.current("cpu")
    assert good is not None
    world.source.names["cpu"] = ["a", "b"]
    world.train("cpu", until=NOW - 60)
    newer = world.generations.current("cpu")
    assert newer is not None
    world.source.names["cpu"] = ["a", "b", "c"]
    digest = next(iter(newer.packs - good.packs))
    for path in _pack_files(world, digest):
        data = path.read_bytes()
        if damage == "missing":
            path.unlink()
        elif path.suffix == ".npy":
            path.chmod(0o644)
            path.write_bytes(data[: len(data) // 2] if damage == "truncated" else data[:-1] + bytes([data[-1] ^ 255]))
    after = world.at(1)
    assert [score_of(after, "cpu", n) is not None for n in "abc"] == [True] * 3
    assert row_of(after, "cpu", "a")[0].entries == row_of(before, "cpu", "a")[0].entries
    reason = {"truncated": "truncated", "flipped": "rejected", "missing": "missing"}[damage]
    assert world.metrics.value("model_load_failures_total", reason=reason) == 1
    world.at(2)
    assert world.metrics.value("model_load_failures_total", reason=reason) == 1, "not tried again every cycle"
    world.restart()
    fresh = world.at(3)
    assert [reason_of(fresh, "cpu", n) for n in "abc"] == ["model_failed", "model_failed", None]


def test_a_damaged_pointer_or_document_changes_nothing(world: World) -> None:
    world.train("cpu")
    world.at(0)
    world.blobs.fetch("generations/cpu/current").write_bytes(b"{")
    assert view_of(world.at(1), "cpu").scored == 3
    assert world.metrics.value("model_load_failures_total", reason="rejected") == 1
    world.blobs.fetch("generations/cpu/current").unlink()
    assert view_of(world.at(2), "cpu").scored == 3
    assert world.metrics.value("model_load_failures_total", reason="missing") == 1


def test_models_of_other_features_are_refused(world: World, tmp_path: Path) -> None:
    wide = config_of({"queries": [{"name": n, "expr": n} for n in "xy"]}, models=MODELS)
    other = World(tmp_path, wide, {"cpu": ["a", "b", "c"]})
    from anomaly_exporter.history import data_digest

    other.train("cpu", data_digest=data_digest(world.config.target("cpu")))
    snapshot = world.at(0)
    assert reason_of(snapshot, "cpu", "a") == "model_failed"
    assert world.metrics.value("model_load_failures_total", reason="rejected") == 1


def test_a_commit_for_other_entities_leaves_the_alerts_of_the_rest_as_they_are(world: World) -> None:
    world.source.names["cpu"] = ["a"]
    world.train("cpu")
    world.source.names["cpu"] = ["b", "c"]
    world.train("cpu")
    world.source.names["cpu"] = ["a", "b", "c"]
    world.at(0)
    groups = {g.pack: g for g in world.cycle._watches["cpu"]._models.groups}
    world.source.names["cpu"] = ["b", "c"]
    world.train("cpu", until=NOW - 60)
    world.source.names["cpu"] = ["a", "b", "c"]
    world.at(1)
    after = {g.pack: g for g in world.cycle._watches["cpu"]._models.groups}
    assert len(set(groups) & set(after)) == 1
    same = (set(groups) & set(after)).pop()
    assert groups[same] is after[same]


def test_a_rejected_successor_is_seen_and_leaves_the_alerts_as_they_are(world: World) -> None:
    world.train("cpu")
    world.at(0)
    before = world.cycle._watches["cpu"]._models.groups[0]
    current = world.generations.current("cpu")
    assert current is not None
    refused = [
        replace(entry, verdict="rejected", gate={"against": against(entry), "rejections": 1}, pack="f" * 64)
        for entry in current.entries.values()
    ]
    world.generations.commit("cpu", refused, settle=settle)
    scores = view_of(world.at(1), "cpu").scores[0]
    assert world.cycle._watches["cpu"]._models.groups[0] is before
    assert {entry.gate["rejections"] for entry in scores.entries} == {1}
    assert scores.shown.all()


def test_models_of_a_longer_window_make_the_ring_longer(tmp_path: Path) -> None:
    world = _world(tmp_path)
    world.train("cpu")
    world.at(0)
    rows = world.cycle._watches["cpu"]._ring.rows  # type: ignore[union-attr]
    longer = World(tmp_path, config_of(models={"zscore": {"recipe": "zscore", "window": 150}}), world.source.names)
    longer.train("cpu", until=NOW - 60)
    assert view_of(world.at(1), "cpu").scored == 3
    assert world.cycle._watches["cpu"]._ring.rows == rows + 150 - 121  # type: ignore[union-attr]


def test_reconfiguring_keeps_the_alerts_of_targets_that_stay_the_same(tmp_path: Path) -> None:
    names = {"cpu": ["a"], "memory": ["a"]}
    targets = {"name": "cpu"}, {"name": "memory", "metric": "memory"}
    world = World(tmp_path, config_of(*targets, models=MODELS), names)
    for target in names:
        world.train(target)
    world.at(0)
    watches = dict(world.cycle._watches)
    changed = config_of(targets[0], {**targets[1], "threshold": {"k": 9}}, models=MODELS, static_labels={"env": "x"})
    world.cycle.reconfigure(changed, world.source)
    assert world.cycle._watches["cpu"] is watches["cpu"]
    assert world.cycle._watches["memory"] is not watches["memory"]
    assert [v.scored for v in world.at(1).views] == [1, 1]
    world.cycle.reconfigure(config_of(targets[1], models=MODELS), world.source)
    assert [v.target for v in world.at(2).views] == ["memory"]
    assert world.metrics.value("series_scored", target="cpu") is None


def test_two_models_of_one_target_are_scored_side_by_side(tmp_path: Path) -> None:
    models = {**MODELS, "s": {"recipe": "seasonal", "window": 8}}
    world = World(tmp_path, config_of({"models": ["zscore", "s"]}, models=models), {"cpu": ["a", "b"]})
    world.train("cpu", "zscore")
    snapshot = world.at(0)
    assert score_of(snapshot, "cpu", "a") is not None
    assert reason_of(snapshot, "cpu", "a", "s") == "no_model"
    assert view_of(snapshot, "cpu").untrained, "one of the two models is still missing"
    world.train("cpu", "s")
    snapshot = world.at(1)
    assert score_of(snapshot, "cpu", "a", "s") is not None
    assert not view_of(snapshot, "cpu").untrained


def test_isolated_zeros_are_gaps_live_as_in_training(tmp_path: Path) -> None:
    world = _world(tmp_path, zero_gap=2)
    world.train("cpu")
    world.source.changes.append(between("a", 3, 5, 0.0))
    world.source.changes.append(between("b", 3, 40, 0.0))
    said = [(score_of(s, "cpu", "a"), score_of(s, "cpu", "b")) for s in map(world.at, range(3, 8))]
    assert [a is None for a, _ in said] == [True, True, False, False, False]
    assert all(a < 1 for a, _ in said if a is not None)
    assert [b is None for _, b in said[:2]] == [True, True]
    assert said[3][1] is not None, "a long run of zeros is a value"
    assert said[3][1] > 1


def test_the_threshold_is_computed_anew_and_says_what_it_was_made_of(world: World) -> None:
    world.train("cpu")
    world.train("cpu", until=NOW - 60)
    scores, i = row_of(world.at(0), "cpu", "a")
    parts = {name: values[i] for name, values in scores.parts.items()}
    assert set(parts) == {"previous", "recent", "previous_sigma", "recent_sigma", "weight", "decay"}
    assert np.isfinite(scores.threshold[i])
