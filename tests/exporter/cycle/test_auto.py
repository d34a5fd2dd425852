"""The calibrated ensemble in service: what it says is what evaluation says of it, over restarts and new generations."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomaly_exporter import specs
from anomaly_exporter.config import Config
from anomaly_exporter.exposition import DetailCache, Labels, render_detail, render_metrics
from anomaly_models import scorers
from anomaly_models.evaluation import Walk, walk
from anomaly_models.frame import Span
from anomaly_models.training import Previous, train
from support.snapshots import config_of
from support.watched import LEARNED, NOW, STEP, World, between, reason_of, row_of, score_of

MODELS = {"auto": {"recipe": "auto", "epochs": 2, "max_windows": 128, "window": 12}}
NAMES = {"cpu": ["a", "b"]}
INCIDENT = between("a", 4, 30, 14.0)


def _config(models: dict[str, object] | None = None, **target: object) -> Config:
    return config_of({"models": ["auto"], **target}, models=models or MODELS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which `auto` is in force; the tests only read it."""
    root = tmp_path_factory.mktemp("store")
    World(root, _config(), NAMES).train("cpu")
    return root


def _walked(world: World, last: int, budget: float = 1.0) -> Walk:
    """What evaluation says of the instants up to ``last`` steps after NOW."""
    target = world.config.target("cpu")
    generation = world.generations.current("cpu")
    assert generation is not None
    entries = sorted(generation.entries.values(), key=lambda e: e.row)
    pack = world.generations.open_pack(entries[0].pack)
    scorer = scorers.restore(pack.kind, pack.spec, pack.tensors)
    block = world.source.read(target, Span(NOW - LEARNED * STEP, NOW + (last + 1) * STEP))
    alert = specs.alert_spec(target, world.config.model("auto"))
    inputs = [e.threshold for e in entries]
    return walk(scorer, inputs, block, replace(world.plan(target, "auto"), budget=budget), alert, since=NOW)


def test_serving_says_what_evaluation_says_of_the_same_samples(store: Path) -> None:
    world = World(store, _config(), NAMES)
    world.source.changes.append(INCIDENT)
    said = _walked(world, 9)
    for step in range(10):
        snapshot = world.at(step)
        scores, _ = row_of(snapshot, "cpu", "a", "auto")
        at = int(np.flatnonzero(said.end == NOW + step * STEP)[0])
        np.testing.assert_allclose(scores.score, said.score[:, at], rtol=1e-5)
        np.testing.assert_allclose(scores.error, said.error[:, at], rtol=1e-5)
        np.testing.assert_allclose(scores.threshold, said.threshold[:, at], rtol=1e-5)
    assert (said.score[:, : said.end.tolist().index(NOW + 4 * STEP)] < 1).all()
    assert said.score[0, -1] > 1


def test_evaluation_keeps_the_budget_of_its_plan(store: Path) -> None:
    world = World(store, _config(), NAMES)
    usual, frugal = (_walked(world, 3, budget) for budget in (1.0, 0.1))
    np.testing.assert_allclose(frugal.score, usual.score * 10 ** (-1 / 3), rtol=1e-5)


def test_an_incident_is_detected_at_once_for_its_score_counts_single_samples(store: Path) -> None:
    world = World(store, _config(), NAMES)
    world.source.changes.append(INCIDENT)
    detected = []
    for step in range(6):
        scores, i = row_of(world.at(step), "cpu", "a", "auto")
        detected.append(bool(scores.detected[i]))
    assert detected == [False] * 4 + [True] * 2
    assert (score_of(world.at(6), "cpu", "b", "auto") or 0) < 1


def test_a_smaller_budget_lowers_every_score_alike(store: Path) -> None:
    usual, frugal = (
        World(store, _config(alerting={"budget": {"false_alerts_per_week": n}}), NAMES).at(0) for n in (1.0, 0.1)
    )
    first, second = (row_of(snapshot, "cpu", "a", "auto")[0] for snapshot in (usual, frugal))
    np.testing.assert_allclose(second.score, first.score * 10 ** (-1 / 3), rtol=1e-5)


@pytest.mark.parametrize("killed_at", [4, 5, 12])
def test_a_restart_in_mid_incident_is_not_a_recovery(store: Path, killed_at: int) -> None:
    steady, killed = World(store, _config(), NAMES), World(store, _config(), NAMES)
    for world in (steady, killed):
        world.source.changes.append(INCIDENT)
    killed.until(killed_at)
    killed.restart()
    for step in range(15):
        before = steady.at(step)
        if step > killed_at:
            (one, i), (other, k) = (row_of(s, "cpu", "a", "auto") for s in (before, killed.at(step)))
            assert other.detected[k]
            assert (one.detected[i], one.score[i]) == (other.detected[k], pytest.approx(other.score[k], rel=1e-5))


def test_the_pages_show_the_ensemble_and_its_members(store: Path) -> None:
    world = World(store, _config(), NAMES)
    snapshot = world.at(0)
    labels = Labels(world.config)
    scores, i = row_of(snapshot, "cpu", "a", "auto")
    series = 'env="k8s-prod",namespace="ns",container="a",metric="cpu",model="auto",tag="ns"'
    metrics = render_metrics(snapshot, world.config, labels).text.decode()
    for name, value in (
        ("anomaly_score", scores.score[i]),
        ("anomaly_reconstruction_error", scores.error[i]),
        ("anomaly_threshold", scores.threshold[i]),
    ):
        assert f"{name}{{{series}}} {float(value)!r}\n" in metrics
    assert scores.members is not None
    detail = render_detail(snapshot, {}, labels, DetailCache()).text.decode()
    shown = [line.split('member="')[1] for line in detail.splitlines() if line.startswith("anomaly_member_score{")]
    own = [f'{name}"}} {float(value)!r}' for name, value in zip(scores.member_names, scores.members[i], strict=True)]
    assert own == shown[i * len(own) : (i + 1) * len(own)]
    assert "autoencoder" in scores.member_names


def test_a_generation_of_another_recipe_gives_way_to_auto(store: Path, tmp_path: Path) -> None:
    """The same model name stood for another recipe before: counters go on, nothing of the old scorer is left."""
    before = _config(models={"auto": {"recipe": "zscore"}})
    world = World(tmp_path, before, NAMES)
    world.train("cpu")
    world.source.changes.append(between("a", 0, 2, 40.0))
    points = row_of(world.until(3), "cpu", "a", "auto")[0].points
    assert points[0] == 2
    other = World(store, _config(), NAMES)
    generation = other.generations.current("cpu")
    assert generation is not None
    shutil.copytree(store / "packs", tmp_path / "packs", dirs_exist_ok=True)
    world.generations.commit("cpu", list(generation.entries.values()))
    world.config = _config()
    world.cycle.reconfigure(world.config, world.source)
    scores, i = row_of(world.until(40, 4), "cpu", "a", "auto")
    assert scores.member_names
    assert scores.shown.all()
    assert scores.score[i] < 1


def test_a_series_that_is_silent_now_is_absent_and_the_other_goes_on(store: Path) -> None:
    world = World(store, _config(), NAMES)
    world.source.changes.append(between("a", 2, 9, float("nan")))
    snapshot = world.until(3)
    assert score_of(snapshot, "cpu", "a", "auto") is None
    assert score_of(snapshot, "cpu", "b", "auto") is not None
    assert reason_of(snapshot, "cpu", "a", "auto") == "no_data"


def test_training_again_starts_from_the_autoencoder_inside_and_remembers_its_threshold(store: Path) -> None:
    world = World(store, _config(), NAMES)
    target = world.config.target("cpu")
    generation = world.generations.current("cpu")
    assert generation is not None
    entries = list(generation.entries.values())
    pack = world.generations.open_pack(entries[0].pack)
    scorer = scorers.restore(pack.kind, pack.spec, pack.tensors)
    previous = Previous(
        scorers={e.entity: scorer.take([e.row]) for e in entries},
        thresholds={e.entity: e.threshold for e in entries},
        test_starts={e.entity: 0 for e in entries},
    )
    block = world.source.read(target, Span(NOW - (LEARNED - 60) * STEP, NOW + 60 * STEP))
    plan = world.plan(target, "auto")
    once = replace(plan, model=replace(plan.model, epochs=1))
    cold, warm = train(block, once), train(block, once, previous)
    for first, again in zip(cold.rows, warm.rows, strict=True):
        assert again.loss["validation"] < first.loss["validation"]
        assert first.threshold.earlier == ()
        assert len(again.threshold.earlier) == 1
