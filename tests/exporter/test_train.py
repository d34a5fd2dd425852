"""Promises of ``anomaly-exporter train``."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from anomaly_exporter.blobs import DirectoryBlobs, StoreFullError
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import ConfigError, parse
from anomaly_exporter.generations import Generation, Generations
from anomaly_exporter.generations.sharding import shard_of
from anomaly_exporter.sources import FilesSource, SourceUnavailableError
from anomaly_exporter.train import Request, request, run, train_target
from anomaly_exporter.train.command import worst
from anomaly_exporter.train.events import for_people, json_lines
from anomaly_exporter.train.fitting import batches
from anomaly_exporter.train.memory import peak_since_last_call
from anomaly_models.frame import EntityKey
from support.waiting import wait_for

DAY = 86_400
NOW = 20_000 * DAY
TEST_ROOT = Path(__file__).resolve().parents[1]

CONFIG = """
files: {{path: {root}/series}}
store: {{path: {root}/store}}
timing: {{wall_origin: {wall}, data_origin: {now}}}
models:
  patient: {{recipe: fc, epochs: 300, patience: 300}}
targets:
  - name: cpu
    metric: cpu
    labels: [entity]
    tag: team
    step: 5m
    delay: 0
    queries: [{{name: cpu, expr: cpu}}]
    models: [{models}]
    training: {{history: 4d, min_history: 6h}}
"""


def write_series(root: Path, entities: dict[str, float], start: int = NOW - 3 * DAY, end: int = NOW) -> None:
    """A table of noisy daily waves, ``entities``: name -> level; NaN level writes nothing."""
    (root / "series").mkdir(exist_ok=True)
    lines = ["timestamp,entity,metric,value"]
    for i, (name, level) in enumerate(entities.items()):
        noise = np.random.default_rng(i)
        lines += [
            f"{t},{name},cpu,{level + np.sin(2 * np.pi * t / DAY) + 0.1 * noise.normal():.5f}"
            for t in range(start, end + 1, 300)
        ]
    (root / "series" / f"{start}.csv").write_text("\n".join(lines) + "\n")


def configured(root: Path, models: str = "zscore", now: float = NOW) -> Path:
    path = root / "config.yaml"
    path.write_text(CONFIG.format(root=root, wall=time.time(), now=now, models=models))
    return path


class Events(list[dict[str, Any]]):
    """Collects what a run emits."""

    def __call__(self, event: dict[str, Any]) -> None:
        self.append(event)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [e for e in self if e["event"] == kind]


def wanted(path: Path, shard: str = "0/1", model: str | None = None) -> Request:
    return request(parse(path.read_text()), "cpu", model, shard)


def trained(root: Path, models: str = "zscore", now: float = NOW, shard: str = "0/1") -> tuple[int, Events]:
    events = Events()
    clock = Clock(wall_origin=time.time(), data_origin=now + 1)
    return train_target(wanted(configured(root, models), shard), events, clock), events


def in_force(root: Path) -> Generation:
    generation = Generations(DirectoryBlobs(root / "store")).current("cpu")
    assert generation is not None
    return generation


def entity(name: str) -> EntityKey:
    return EntityKey.of("cpu", {"entity": name})


def test_a_training_puts_every_entity_and_model_in_force(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5, "b": 50})
    code, events = trained(tmp_path, "zscore, seasonal")
    assert code == 0
    generation = in_force(tmp_path)
    assert set(generation.entries) == {(entity(n), m) for n in "ab" for m in ("zscore", "seasonal")}
    entry = generation.entries[entity("a"), "zscore"]
    assert entry.trained_data_end == NOW
    assert entry.training["state"] == "succeeded"
    assert entry.training["samples"] == {"train": 606, "validation": 129, "test": 130}
    assert set(entry.figures["base"]) == {"budget", "mean_std", "mad", "p95", "p99"}
    pack = Generations(DirectoryBlobs(tmp_path / "store")).open_pack(entry.pack)
    assert pack.rows[entry.row]["entity"] == {"target": "cpu", "labels": {"entity": "a"}}
    assert events.of("trained")[0] == {
        "event": "trained",
        "target": "cpu",
        "model": "zscore",
        "entities": 2,
        "rejected": 0,
        "failed": {},
        "generation": generation.number,
    }
    assert events[-1]["event"] == "done"
    assert events[-1]["outcome"] == "succeeded"


def test_the_second_training_reads_only_what_is_new_and_remembers_the_first_threshold(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5, "b": 50})
    _, first = trained(tmp_path)
    before = in_force(tmp_path).entries[entity("a"), "zscore"].threshold
    write_series(tmp_path, {"a": 5, "b": 50}, start=NOW + 300, end=NOW + 7200)
    _, second = trained(tmp_path, now=NOW + 7200)
    assert first.of("start")[0]["samples_read"] == 2 * (3 * 288 + 1)
    assert second.of("start")[0]["samples_read"] == 2 * 24
    after = in_force(tmp_path).entries[entity("a"), "zscore"].threshold
    assert [r.at for r in after.earlier] == [before.recent.at]
    assert after.recent.at == NOW + 7200


def test_a_changed_base_method_starts_without_earlier_thresholds(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    trained(tmp_path)
    write_series(tmp_path, {"a": 5}, start=NOW + 300, end=NOW + 7200)
    config = parse(configured(tmp_path).read_text().replace("step: 5m", "step: 5m\n    threshold: {base: p99}"))
    clock = Clock(wall_origin=time.time(), data_origin=NOW + 7201)
    assert train_target(request(config, "cpu"), Events(), clock) == 0
    assert in_force(tmp_path).entries[entity("a"), "zscore"].threshold.earlier == ()


def test_what_cannot_be_trained_is_named_and_disturbs_nobody(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    write_series(tmp_path, {"young": 5}, start=NOW - 3600)
    code, events = trained(tmp_path)
    assert code == 0
    assert events.of("trained")[0]["failed"] == {"too_short": 1}
    assert set(in_force(tmp_path).entries) == {(entity("a"), "zscore")}


def test_a_framework_that_explodes_fails_its_batch_alone_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path, {"a": 5})
    with mock.patch("anomaly_models.seasonal.SeasonalLearner.fit", side_effect=RuntimeError("out of luck")):
        code, events = trained(tmp_path, "seasonal, zscore")
    assert code == 0
    assert {e["model"]: e["failed"] for e in events.of("trained")} == {"seasonal": {"error": 1}, "zscore": {}}
    assert "RuntimeError: out of luck" in [getattr(r, "error", "") for r in caplog.records]


def test_nothing_trainable_is_exit_4_and_leaves_what_is_in_force(tmp_path: Path) -> None:
    write_series(tmp_path, {"young": 5}, start=NOW - 3600)
    code, events = trained(tmp_path)
    assert code == 4
    assert events[-1]["outcome"] == "failed"
    assert Generations(DirectoryBlobs(tmp_path / "store")).current("cpu") is None


def test_shards_share_out_the_entities_and_merge_their_models(tmp_path: Path) -> None:
    names = [f"e{i}" for i in range(8)]
    write_series(tmp_path, dict.fromkeys(names, 5.0))
    counts = [trained(tmp_path, shard=f"{i}/2")[1].of("start")[0]["entities"] for i in (0, 1)]
    assert sum(counts) == 8
    assert min(counts) > 0
    assert {e.get("entity") for e, _ in in_force(tmp_path).entries} == set(names)


def test_a_shard_that_owns_nobody_has_done_its_work(tmp_path: Path) -> None:
    write_series(tmp_path, {"only": 5.0})
    owner = shard_of(entity("only"), 2)
    code, events = trained(tmp_path, shard=f"{1 - owner}/2")
    assert (code, events.of("done")[0]["outcome"]) == (0, "succeeded")
    assert Generations(DirectoryBlobs(tmp_path / "store")).current("cpu") is None


def test_without_a_target_all_are_trained_one_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path, {"a": 5.0})
    path = configured(tmp_path)
    text = path.read_text()
    again = text[text.index("  - name: cpu") :].replace("name: cpu\n    metric: cpu", "name: again\n    metric: again")
    path.write_text(text + again)
    assert run(path, None, output="json") == 0
    done = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(e["target"], e["outcome"]) for e in done if e["event"] == "done"] == [
        ("cpu", "succeeded"),
        ("again", "succeeded"),
    ]


@pytest.mark.parametrize(
    ("codes", "together"),
    [([0, 0], 0), ([0, 4], 0), ([4, 4], 4), ([0, 3], 3), ([4, 2], 2), ([2, 3], 3), ([3, 5], 5), ([0, 130], 130)],
)
def test_the_exit_code_of_several_targets_is_that_of_the_gravest(codes: list[int], together: int) -> None:
    assert worst(codes) == together


def test_an_indexed_job_tells_a_shard_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "2")
    assert wanted(configured(tmp_path), "auto/3").shard == (2, 3)
    with pytest.raises(ConfigError, match=r"--shard: expected i/n with 0 <= i < n"):
        wanted(configured(tmp_path), "auto/2")


def test_the_shard_of_an_entity_never_changes() -> None:
    assert [shard_of(entity(f"e{i}"), 4) for i in range(8)] == [3, 2, 0, 2, 3, 0, 1, 3]


def test_a_training_with_other_parameters_leaves_history_and_the_next_training_as_they_are(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5}, start=NOW - 3 * DAY)
    write_series(tmp_path, {"old": 5}, start=NOW - 3 * DAY - 300, end=NOW - DAY)
    assert trained(tmp_path)[0] == 0
    first = in_force(tmp_path)
    path, clock = configured(tmp_path), Clock(wall_origin=time.time(), data_origin=NOW + 301)
    path.write_text(f"{path.read_text()}gate: {{enabled: false}}\n")
    override = '{"parameters": {"recipe": "seasonal", "window": 3}, "training": {"history": "12h", "contamination": 0}}'
    asked = request(parse(path.read_text()), "cpu", override=override)
    assert train_target(asked, Events(), clock) == 0
    now = in_force(tmp_path)
    assert now.entries[entity("a"), "zscore"].training["recipe"] == "seasonal"
    assert now.entries[entity("a"), "zscore"].training["samples"]["train"] < 150, "half a day of samples"
    assert (entity("old"), "zscore") in now.entries, "a shorter look back forgets nobody"
    code, events = trained(tmp_path, now=NOW + 600)
    assert code == 0
    assert events.of("start")[0]["samples_read"] <= 4, "the history before the short look back is still there"
    again = in_force(tmp_path).entries[entity("a"), "zscore"]
    assert again.training["recipe"] == "zscore"
    assert again.training["samples"] == pytest.approx(first.entries[entity("a"), "zscore"].training["samples"], abs=5)


def test_a_wrong_override_is_exit_2_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path, {"a": 5})
    path = configured(tmp_path)
    assert run(path, "cpu", override='{"parameters": {"epochs": 0}}') == 2
    assert "parameters.epochs: Input should be greater than or equal to 1" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_only_the_model_asked_for_is_trained(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    wish = wanted(configured(tmp_path, "zscore, seasonal"), model="seasonal")
    assert train_target(wish, Events(), Clock(wall_origin=time.time(), data_origin=NOW + 1)) == 0
    assert {m for _, m in in_force(tmp_path).entries} == {"seasonal"}


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"target": "gpu"}, "known are cpu"),
        ({"target": "cpu", "model": "fc"}, "has the models zscore"),
        ({"target": "cpu", "shard": "2/2"}, "0 <= i < n"),
        ({"target": "cpu", "shard": "x"}, "0 <= i < n"),
    ],
)
def test_a_wrong_wish_is_exit_2_and_says_what_was_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wish: dict[str, str], says: str
) -> None:
    path = configured(tmp_path)
    with pytest.raises(ConfigError, match=says):
        request(parse(path.read_text()), **wish)
    assert run(path, **wish) == 2
    assert says in capsys.readouterr().err


def test_an_unreadable_source_is_exit_3_and_leaves_what_is_in_force(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    trained(tmp_path)
    before = in_force(tmp_path)
    with mock.patch.object(FilesSource, "read", side_effect=SourceUnavailableError("down")):
        code, events = trained(tmp_path, now=NOW + 7200)
    assert code == 3
    assert events[-1]["outcome"] == "failed"
    assert in_force(tmp_path) == before


def test_a_full_store_is_exit_5_and_leaves_what_is_in_force(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    trained(tmp_path)
    before = in_force(tmp_path)
    with mock.patch.object(Generations, "put_pack", side_effect=StoreFullError("full")):
        code, _ = trained(tmp_path)
    assert code == 5
    assert in_force(tmp_path) == before


def test_a_damaged_pack_in_force_does_not_stop_training(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    trained(tmp_path)
    pack = in_force(tmp_path).entries[entity("a"), "zscore"].pack
    (tmp_path / "store" / "packs" / pack / "center.npy").write_bytes(b"")
    write_series(tmp_path, {"a": 5}, start=NOW + 300, end=NOW + 7200)
    code, _ = trained(tmp_path, now=NOW + 7200)
    assert code == 0
    assert in_force(tmp_path).entries[entity("a"), "zscore"].threshold.earlier == ()


def test_a_damaged_generation_in_force_does_not_stop_training(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    trained(tmp_path)
    (tmp_path / "store" / "generations" / "cpu" / "1.json").write_bytes(b"")
    assert trained(tmp_path)[0] == 0
    assert in_force(tmp_path).number == 2


def test_memory_is_told_for_every_stage(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    _, events = trained(tmp_path)
    stages = {e["stage"]: e["rss_bytes"] for e in events.of("stage")}
    assert set(stages) == {"read", "clean", "fit", "score", "gate", "freed"}
    assert min(stages.values()) > 10 * 2**20


def test_the_peak_of_a_stage_does_not_outlive_it() -> None:
    peak_since_last_call()
    ballast = np.ones(2**25)
    high = peak_since_last_call()
    del ballast
    peak_since_last_call()
    assert high > peak_since_last_call() + 2**26


def test_batches_hold_at_most_64_entities_and_fit_the_memory() -> None:
    entities = [entity(str(i)) for i in range(130)]
    assert [len(b) for b in batches(entities, 43_200, 1)] == [64, 64, 2]
    wide = [len(b) for b in batches(entities, 43_200, 38)]
    assert max(wide) == 20
    assert sum(wide) == 130
    assert [len(b) for b in batches(entities[:2], 10**9, 38)] == [1, 1]


def sample_events() -> Iterable[dict[str, Any]]:
    yield {"event": "start", "target": "cpu", "entities": 2, "samples_read": 10}
    yield {"event": "progress", "target": "cpu", "model": "fc", "done": 1, "total": 2, "epoch": 3}
    yield {"event": "stage", "target": "cpu", "stage": "fit", "rss_bytes": 1}
    yield {
        "event": "trained",
        "target": "cpu",
        "model": "fc",
        "entities": 1,
        "failed": {"too_short": 1},
        "generation": 7,
    }
    yield {"event": "done", "target": "cpu", "outcome": "succeeded", "seconds": 1.25}


def test_events_for_people_are_sentences() -> None:
    out = io.StringIO()
    emit = for_people(out)
    for event in sample_events():
        emit(event)
    assert out.getvalue().splitlines() == [
        "cpu: 2 entities, 10 new samples read",
        "cpu: 1 trained with fc, generation 7; not trained: 1 too_short",
        "cpu: succeeded after 1.2 s",
    ]


def test_on_a_terminal_progress_is_a_bar() -> None:
    out = io.StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    emit = for_people(out)
    for event in sample_events():
        emit(event)
    assert f"fc [{'#' * 15}{' ' * 15}] 1/2, epoch 3\n" in out.getvalue()


def test_events_for_machines_are_json_lines() -> None:
    out = io.StringIO()
    emit = json_lines(out)
    for event in sample_events():
        emit(event)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == list(sample_events())


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "anomaly_exporter", "train", "-c", str(root / "config.yaml"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_speaks_json_lines_and_never_imports_tensorflow_for_simple_recipes(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    configured(tmp_path, now=NOW + 1)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorflow'] = None\n")
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(tmp_path)}):
        process = start(tmp_path, "--target", "cpu", "--output", "json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert [json.loads(line)["event"] for line in out.splitlines()][-1] == "done"


def test_a_recipe_that_needs_tensorflow_says_how_to_install_it(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    configured(tmp_path, "fc", now=NOW + 1)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorflow'] = None\n")
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(tmp_path)}):
        process = start(tmp_path, "--target", "cpu")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "anomaly-exporter[train-cpu]" in err


STUBBORN = """
import hashlib, sys
from anomaly_exporter.train.stopping import Stopped, stop_on_signals
try:
    with stop_on_signals(grace=0.3):
        print("ready", flush=True)
        if sys.argv[1] == "native":
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**30)
        while True:
            pass
except Stopped:
    sys.exit(130)
"""


@pytest.mark.parametrize("busy", ["python", "native"])
def test_a_signal_ends_the_process_with_130_also_in_a_long_native_call(busy: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN, busy], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 130


@pytest.mark.keras
def test_sigterm_in_the_middle_of_a_fit_is_130_and_leaves_the_last_good_generation(tmp_path: Path) -> None:
    write_series(tmp_path, {"a": 5})
    trained(tmp_path)
    before = in_force(tmp_path)
    configured(tmp_path, "patient", now=NOW + 1)
    process = start(tmp_path, "--target", "cpu", "--output", "json")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    wait_for(lambda: '"epoch":' in next(lines), 90, "the first epoch", every=0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 130
    process.communicate()
    assert in_force(tmp_path) == before
