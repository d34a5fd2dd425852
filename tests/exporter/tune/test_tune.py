"""Promises of ``anomaly-exporter tune``: real trainings of small networks, results in a real store."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.cli import cli
from anomaly_exporter.config import parse
from anomaly_exporter.generations import Generations, tunings
from anomaly_exporter.tune import Request, run

NOW, DAY, STEP = 20_000 * 86_400, 86_400, 300
CONFIG = """
files: {{path: {root}/series}}
store: {{path: {root}/store}}
timing: {{wall_origin: {wall}, data_origin: {now}}}
models:
  small: {{recipe: fc, window: 8, epochs: 2, max_windows: 64, tail: 2}}
  plain: {{recipe: zscore}}
targets:
  - name: cpu
    metric: cpu
    labels: [entity]
    tag: team
    step: 5m
    delay: 0
    queries: [{{name: cpu, expr: cpu}}]
    models: [small, plain]
    training: {{history: 4d, min_history: 6h, scope: own}}
"""


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Path:
    (tmp_path / "series").mkdir()
    lines = ["timestamp,entity,metric,value"]
    for i in range(3):
        rng = np.random.default_rng(i)
        for t in range(NOW - 3 * DAY, NOW + 1, STEP):
            lines.append(f"{t},e{i},cpu,{5 + np.sin(2 * np.pi * t / DAY) + 0.1 * rng.normal():.5f}")
    (tmp_path / "series" / "all.csv").write_text("\n".join(lines) + "\n")
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(root=tmp_path, wall=time.time(), now=NOW))
    return path


@pytest.mark.keras
def test_a_search_prints_a_table_writes_the_winner_and_stores_its_results(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "tuned.yaml"
    asked = Request("cpu", None, trials=2, executions=1, entities=2, seed=3, write=written)
    assert run(config, asked, "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["target"], found["model"], found["entities"], found["executions"]) == ("cpu", "small", 2, 1)
    assert len(found["trials"]) == 2
    objectives = [trial["objective"] for trial in found["trials"]]
    assert objectives == sorted(objectives, reverse=True)
    assert found["tuned"]["objective"] == max(found["untuned"]["objective"], *objectives)
    assert found["better"] == (found["tuned"] != found["untuned"])
    for trial in (found["untuned"], *found["trials"]):
        assert 0 <= trial["recall"] <= 1
        assert 0 <= trial["test_recall"] <= 1
        assert trial["mae"] > 0
    for trial in found["trials"]:
        assert set(trial["settings"]) == {"units", "code", "dropout", "optimizer", "window"}

    section = yaml.safe_load(written.read_text())
    assert section == {"models": {found["name"]: found["spec"]}}
    tuned = parse(
        config.read_text().replace("models:\n", f"models:\n  {found['name']}: {json.dumps(found['spec'])}\n", 1)
    )
    model = tuned.model(found["name"])
    assert {name: getattr(model, name) for name in found["tuned"]["settings"]} == found["tuned"]["settings"]
    assert (model.recipe, model.epochs, model.tail) == ("fc", 2, 2)

    blobs = DirectoryBlobs(tmp_path / "store")
    assert tunings.newest(blobs, "cpu") == {"small": found}
    assert Generations(blobs).current("cpu") is None, "nothing is put in force"


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        (["--target", "ram"], 2, "--target: 'ram' is not configured, known are cpu\n"),
        (["--target", "cpu", "--model", "huge"], 2, "--model: 'huge' is not configured, known are plain, small"),
        (["--target", "cpu", "--model", "plain"], 2, "only autoencoders can be tuned (fc, cnn, lstm, gru,"),
    ],
)
def test_a_mistake_says_what_there_is(config: Path, asked: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(cli, ["tune", "-c", str(config), *asked])
    assert result.exit_code == code
    assert result.stderr.startswith(message)


def test_a_history_that_is_too_short_is_exit_4(config: Path, tmp_path: Path) -> None:
    (tmp_path / "series" / "all.csv").write_text(f"timestamp,entity,metric,value\n{NOW},e,cpu,1\n")
    result = CliRunner().invoke(cli, ["tune", "-c", str(config), "--target", "cpu"])
    assert result.exit_code == 4
    assert "too_short: 1 entities, none with enough history" in result.stderr


def document(model: str, number: int) -> dict[str, object]:
    return {"model": model, "number": number}


def test_the_newest_result_of_every_model_counts_and_old_ones_go(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    for number in range(12):
        tunings.put(blobs, "cpu", 1000.0 + number, document("ab"[number % 2], number))
    assert tunings.newest(blobs, "cpu") == {"a": document("a", 10), "b": document("b", 11)}
    assert len(blobs.list("tuning/cpu/")) == tunings.KEPT
    assert tunings.newest(blobs, "ram") == {}


def test_a_damaged_result_is_passed_over(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    tunings.put(blobs, "cpu", 1000.0, document("a", 1))
    for number, text in enumerate((b"{", b"[]", b"{}", b"\xff", b"[" * 100_000), 2000):
        blobs.put(f"tuning/cpu/{number:015d}.json", text)
    assert tunings.newest(blobs, "cpu") == {"a": document("a", 1)}


def test_the_help_has_an_example() -> None:
    assert "anomaly-exporter tune -c config.yaml --target cpu" in CliRunner().invoke(cli, ["tune", "--help"]).output
