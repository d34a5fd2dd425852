"""A series that no training knows yet is scored within minutes, carefully, by the model that its target shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly_exporter import specs
from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.exposition import DetailCache, Labels, render_detail
from anomaly_exporter.generations import SeedError, SharedEntry, plant, seed_of
from anomaly_exporter.generations.store import Generations
from anomaly_exporter.history import data_digest
from anomaly_exporter.seeding import plant_seed, run
from anomaly_models import pack as codec
from anomaly_models.frame import Span
from anomaly_models.sharing import LADDER, YOUNGEST
from anomaly_models.training import Plan, train_shared
from support.snapshots import config_of
from support.watched import BORN, LEARNED, NOW, STEP, World, between, entity, reason_of, row_of, score_of, view_of

MODELS = {"pca": {"recipe": "pca", "window": 12}}
FLEET = ["a", "b", "c", "d"]


def _world(root: Path, names: list[str] | None = None, **target: Any) -> World:
    config = config_of({"models": ["pca"], **target}, models=MODELS)
    return World(root, config, {"cpu": names or FLEET})


def share(world: World, names: list[str] | None = None, persistence: int = 3) -> SharedEntry:
    """Fit the shared model of the fleet on LEARNED steps and put it in force."""
    target = world.config.targets[0]
    before, world.source.names["cpu"] = world.source.names["cpu"], names or FLEET
    block = world.source.read(target, Span(BORN, NOW))
    world.source.names["cpu"] = before
    model = world.config.model("pca")
    plan = Plan(
        specs.model_spec(model, target),
        specs.cleaning_spec(target, model),
        specs.threshold_spec(target),
        persistence=persistence,
    )
    fit = train_shared(block, plan)
    encoded = codec.encode(fit.pack)
    world.generations.put_pack(encoded)
    training = {"recipe": "pca", "architecture": "pca", "origin": "trained"}
    entry = SharedEntry("pca", encoded.digest, fit.prior, data_digest(target), float(NOW), fit.data_end, training)
    world.generations.commit("cpu", (), shared=[entry])
    return entry


def born(world: World, name: str, step: int) -> None:
    """``name`` begins ``step`` steps after NOW."""

    def change(who: str, times: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.where((who == name) & (times < NOW + step * STEP), np.nan, values)

    world.source.changes.append(change)


def score(world: World, step: int, name: str) -> float | None:
    return score_of(world.at(step), "cpu", name, "pca")


def test_a_new_series_is_scored_as_soon_as_it_has_a_few_samples(tmp_path: Path) -> None:
    world = _world(tmp_path, [*FLEET, "new"])
    share(world)
    born(world, "new", 10)
    world.until(10 + YOUNGEST - 1)
    snapshot = world.at(10 + YOUNGEST - 1)
    assert score_of(snapshot, "cpu", "new", "pca") is None
    assert reason_of(snapshot, "cpu", "new", "pca") == "warmup"
    snapshot = world.at(10 + YOUNGEST)
    assert (score_of(snapshot, "cpu", "new", "pca") or 9) < 1
    assert view_of(snapshot, "cpu").counts() == {}
    assert view_of(snapshot, "cpu").models["shared"] == 5


def test_without_a_shared_model_a_new_series_waits_as_ever(tmp_path: Path) -> None:
    world = _world(tmp_path)
    assert reason_of(world.at(0), "cpu", "a", "pca") == "no_model"


def test_its_confidence_grows_and_its_threshold_changes_only_with_the_steps_of_the_ladder(tmp_path: Path) -> None:
    world = _world(tmp_path, [*FLEET, "new"])
    share(world)
    born(world, "new", 0)
    found = {}
    for step in range(LADDER[4] + 1):
        snapshot = world.at(step)
        if score_of(snapshot, "cpu", "new", "pca") is not None:
            scores, i = row_of(snapshot, "cpu", "new", "pca")
            assert scores.confidence is not None
            found[step] = (float(scores.threshold[i]), float(scores.confidence[i]))
    assert min(found) == YOUNGEST
    changes = [step for step in found if step - 1 in found and found[step][0] != found[step - 1][0]]
    assert changes == list(LADDER[1:5])
    confidences = [confidence for _, confidence in found.values()]
    assert confidences == sorted(confidences)
    assert 0 < confidences[0] < confidences[-1] < 0.2


def test_one_sample_of_an_unknown_series_alerts_nobody(tmp_path: Path) -> None:
    world = _world(tmp_path, [*FLEET, "new"], alerting={"persistence": 1})
    share(world, persistence=1)
    born(world, "new", 0)
    world.source.changes.append(between("new", 40, 45, 90.0))
    world.until(39)
    detected = [
        bool(scores.detected[i]) for scores, i in (row_of(world.at(k), "cpu", "new", "pca") for k in range(40, 44))
    ]
    assert detected == [False, False, True, True]


def test_an_anomaly_of_a_new_series_is_detected_and_a_restart_is_no_recovery(tmp_path: Path) -> None:
    world = _world(tmp_path, [*FLEET, "new"])
    share(world)
    born(world, "new", 0)
    world.source.changes.append(between("new", 40, 60, 30.0))
    world.until(39)
    calm, i = row_of(world.at(39), "cpu", "new", "pca")
    assert not calm.detected[i]
    world.until(44, first=40)
    alarmed, i = row_of(world.at(45), "cpu", "new", "pca")
    assert alarmed.detected[i]
    world.restart()
    again, i = row_of(world.at(46), "cpu", "new", "pca")
    assert again.detected[i]
    assert again.score[i] > 1


def test_an_incident_does_not_drag_the_scale_along(tmp_path: Path) -> None:
    world = _world(tmp_path, [*FLEET, "new"])
    share(world)
    born(world, "new", 0)
    world.source.changes.append(between("new", 33, 46, 30.0))
    world.until(33)
    first, i = row_of(world.at(34), "cpu", "new", "pca")
    world.until(44, first=35)
    later, j = row_of(world.at(45), "cpu", "new", "pca")
    assert later.score[j] == pytest.approx(first.score[i], rel=0.5)
    assert later.score[j] > 1


def test_alerts_and_counters_of_newcomers_go_on_when_another_one_arrives(tmp_path: Path) -> None:
    world = _world(tmp_path, [*FLEET, "late"])
    share(world)
    born(world, "late", 20)
    world.source.changes.append(between("a", 10, 40, 30.0))
    before, i = row_of(world.until(19), "cpu", "a", "pca")
    after, j = row_of(world.at(20), "cpu", "a", "pca")
    assert len(after.entries) == len(before.entries) + 1
    assert before.detected[i]
    assert after.detected[j]
    assert after.points[j] == before.points[i] + 1


def test_a_series_moves_to_its_own_model_and_its_counter_goes_on(tmp_path: Path) -> None:
    world = _world(tmp_path)
    share(world)
    scores, i = row_of(world.at(0), "cpu", "a", "pca")
    assert scores.entries[i].training["scope"] == "shared"
    world.train("cpu", "pca")
    snapshot = world.at(1)
    own, i = row_of(snapshot, "cpu", "a", "pca")
    assert own.entries[i].verdict == "promoted"
    assert view_of(snapshot, "cpu").models["shared"] == 0
    assert world.generations.current("cpu").shared  # type: ignore[union-attr]


def test_a_shared_model_of_other_queries_is_not_used(tmp_path: Path) -> None:
    world = _world(tmp_path)
    entry = share(world)
    other = SharedEntry("pca", entry.pack, entry.prior, "0" * 64, 1.0, NOW)
    world.generations.commit("cpu", (), shared=[other])
    assert reason_of(world.at(0), "cpu", "a", "pca") == "no_model"


def test_a_shared_pack_that_cannot_be_read_leaves_the_old_one_in_force(tmp_path: Path) -> None:
    world = _world(tmp_path)
    entry = share(world)
    assert score(world, 0, "a") is not None
    broken = SharedEntry("pca", "f" * 64, entry.prior, entry.data_digest, 1.0, NOW)
    world.generations.commit("cpu", (), shared=[broken])
    assert score(world, 1, "a") is not None
    assert world.metrics.value("model_load_failures_total", reason="missing") == 1
    world.restart()
    assert reason_of(world.at(2), "cpu", "a", "pca") == "no_model"


def test_a_newcomer_that_vanishes_is_counted_and_one_with_a_gap_is_not_judged(tmp_path: Path) -> None:
    world = _world(tmp_path)
    share(world)
    world.source.changes.append(between("a", 1, 10, float("nan")))
    world.at(0)
    snapshot = world.until(9, first=1)
    assert reason_of(snapshot, "cpu", "a", "pca") == "no_data"
    assert reason_of(world.at(10), "cpu", "a", "pca") == "gap"


def test_the_detail_page_says_scope_confidence_and_who_waits_for_training(tmp_path: Path) -> None:
    world = _world(tmp_path)
    share(world)
    snapshot = world.until(3)
    page = render_detail(snapshot, {}, Labels(world.config), DetailCache()).text.decode()
    lines = [line for line in page.splitlines() if 'container="a"' in line]
    assert any(x.startswith("anomaly_model_info{") and 'scope="shared"' in x for x in lines)
    assert any(x.startswith("anomaly_training_needed{") and x.endswith(" 1") for x in lines)
    ratio = next(float(x.split()[-1]) for x in lines if x.startswith("anomaly_confidence_ratio{"))
    assert 0 < ratio <= 1


def test_old_series_without_a_model_are_scored_too_and_their_scale_moves_on(tmp_path: Path) -> None:
    world = _world(tmp_path)
    share(world)
    world.at(0)
    scores, i = row_of(world.at(1), "cpu", "a", "pca")
    threshold, scale = scores.threshold[i], scores.upper[i] - scores.expected[i]
    assert LADDER[-1] < LEARNED
    for step in range(2, 70):
        snapshot = world.at(step)
        calm, j = row_of(snapshot, "cpu", "a", "pca")
        assert calm.shown[j]
        assert not calm.detected[j]
    scores, i = row_of(snapshot, "cpu", "a", "pca")
    assert scores.threshold[i] == pytest.approx(threshold, rel=0.6)
    assert scores.upper[i] - scores.expected[i] == pytest.approx(scale, rel=0.6)


def test_a_sidecar_starts_with_models_from_elsewhere(tmp_path: Path) -> None:
    elsewhere = _world(tmp_path / "elsewhere")
    entry = share(elsewhere)
    seed = tmp_path / "seed.json"
    seed.write_bytes(seed_of(elsewhere.generations, ["cpu"]))
    here = _world(tmp_path / "here", ["stranger"])
    config = here.config.model_copy(update={"store": here.config.store.model_copy(update={"seed": seed})})
    plant_seed(config, here.generations)
    current = here.generations.current("cpu")
    assert current is not None
    assert current.shared["pca"].pack == entry.pack
    assert current.shared["pca"].training["origin"] == "seed"
    assert (score(here, 0, "stranger") or 9) < 1.5
    plant_seed(config, here.generations)
    assert here.generations.current("cpu").number == current.number, "what is there is not planted twice"  # type: ignore[union-attr]


def test_a_seed_for_other_queries_is_not_planted(tmp_path: Path) -> None:
    elsewhere = _world(tmp_path / "elsewhere")
    share(elsewhere)
    seed = tmp_path / "seed.json"
    seed.write_bytes(seed_of(elsewhere.generations, ["cpu"]))
    here = Generations(DirectoryBlobs(tmp_path / "here"))
    assert plant(here, seed, {"cpu": "1" * 64}) == {}
    assert here.current("cpu") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "another form"),
        (b"[]", "another form"),
        (b'{"format": 2}', "expected format 1"),
        (b'{"format": 1, "packs": {"x": {}}, "targets": {}}', "another form"),
        (b'{"format": 1, "packs": {}, "targets": {"cpu": [{"pack": "../x"}]}}', "another form"),
    ],
)
def test_a_file_that_is_no_seed_is_refused_and_changes_nothing(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path, store = tmp_path / "seed.json", Generations(DirectoryBlobs(tmp_path / "store"))
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SeedError, match=message):
        plant(store, path, {"cpu": "0" * 64})
    assert not (tmp_path / "store").exists()


def test_a_seed_whose_weights_were_changed_is_refused(tmp_path: Path) -> None:
    world = _world(tmp_path / "elsewhere")
    share(world)
    data = seed_of(world.generations, ["cpu"])
    path = tmp_path / "seed.json"
    path.write_bytes(data.replace(b'"components.npy":"k05VTVBZ', b'"components.npy":"k05VTVBa'))
    with pytest.raises(SeedError, match="another form"):
        plant(Generations(DirectoryBlobs(tmp_path / "here")), path, {})


def test_the_command_writes_a_seed_or_says_why_not(tmp_path: Path) -> None:
    world = _world(tmp_path / "data")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"files: {{path: series}}\nstore: {{path: {tmp_path / 'data'}}}\n"
        "models: {pca: {recipe: pca, window: 12}}\n"
        "targets: [{name: cpu, metric: cpu, queries: [{expr: x}], models: [pca]}]\n"
    )
    out = tmp_path / "seed.json"
    assert run(config, out) == 4
    share(world)
    assert run(config, out) == 0
    assert plant(Generations(DirectoryBlobs(tmp_path / "here")), out, {"cpu": data_digest(world.config.targets[0])})
    assert run(tmp_path / "none.yaml", out) == 2
    assert run(config, tmp_path / "no" / "folder") == 5


def test_the_first_score_of_a_newcomer_needs_no_history_of_others(tmp_path: Path) -> None:
    world = _world(tmp_path, ["only"])
    share(world)
    assert score(world, 0, "only") is not None
    assert entity("cpu", "only") in {e.entity for e in row_of(world.at(1), "cpu", "only", "pca")[0].entries}
