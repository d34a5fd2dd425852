"""Promises of ``anomaly-exporter models``, against real trainings and a real store."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.cli import cli
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import parse
from anomaly_exporter.generations import Generation, Generations
from anomaly_exporter.train import request, train_target

DAY, NOW = 86_400, 20_000 * 86_400
CONFIG = """
files: {{path: {root}/series}}
store: {{path: {root}/store}}
timing: {{wall_origin: {wall}, data_origin: {now}}}
gate: {{replay: 12h}}
targets:
  - name: cpu
    metric: cpu
    labels: [entity]
    tag: team
    step: 5m
    delay: 0
    queries: [{{name: cpu, expr: cpu}}]
    models: [zscore]
    training: {{history: 4d, min_history: 6h, scope: own}}
    threshold: {{base: mean_std, k: {k}}}
"""
SERIES = ("das-server", "das-cache", "dbs-server")


def write(root: Path, start: int, end: int) -> None:
    """Noise around 5 for every series."""
    (root / "series").mkdir(exist_ok=True)
    lines = ["timestamp,entity,metric,value"]
    for i, name in enumerate(SERIES):
        rng = np.random.default_rng(i + start)
        lines += [f"{t},{name},cpu,{5 + 0.1 * rng.normal():.5f}" for t in range(start, end + 1, 300)]
    (root / "series" / f"{start}.csv").write_text("\n".join(lines) + "\n")


def configure(root: Path, now: int, k: float = 5) -> Path:
    path = root / "config.yaml"
    path.write_text(CONFIG.format(root=root, wall=time.time(), now=now, k=k))
    return path


def train(root: Path, now: int, k: float = 5) -> None:
    path = configure(root, now, k)
    clock = Clock(wall_origin=time.time(), data_origin=now + 1)
    assert train_target(request(parse(path.read_text()), "cpu"), lambda event: None, clock) == 0


@pytest.fixture(name="root", scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trainings; before the last one somebody made the threshold twelve times wider, and the gate objects."""
    root = tmp_path_factory.mktemp("models")
    write(root, NOW - 2 * DAY, NOW)
    train(root, NOW)
    for number, k in ((1, 5), (2, 60)):
        write(root, NOW + (number - 1) * 7200 + 300, NOW + number * 7200)
        train(root, NOW + number * 7200, k)
    return root


@pytest.fixture(name="store")
def _copy(root: Path, tmp_path: Path) -> Path:
    """A store of its own for a test that changes it."""
    shutil.copytree(root / "store", tmp_path / "store")
    (tmp_path / "config.yaml").write_text((root / "config.yaml").read_text().replace(str(root), str(tmp_path)))
    return tmp_path


def call(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["models", *arguments, "-c", str(root / "config.yaml")])


def document(root: Path, *arguments: str) -> list[dict]:
    result = call(root, *arguments, "--output", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def in_force(root: Path) -> Generation:
    generation = Generations(DirectoryBlobs(root / "store")).current("cpu")
    assert generation is not None
    return generation


def test_the_list_of_targets_says_what_is_in_force_and_what_a_rollback_returns_to(root: Path) -> None:
    (row,) = document(root, "list")
    assert (row["target"], row["generation"], row["models"], row["rejected"]) == ("cpu", 3, 3, 3)
    assert [earlier["generation"] for earlier in row["earlier"]] == [2, 1]
    text = call(root, "list").stdout.splitlines()
    assert text[0].split() == ["TARGET", "GENERATION", "SINCE", "MODELS", "REJECTED", "EARLIER"]
    assert re.fullmatch(r"cpu +3 +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ +3 +3 +2 1", text[1])


def test_the_list_of_a_target_says_why_each_model_is_in_force(root: Path) -> None:
    rows = {tuple(r["labels"].values()): r for r in document(root, "list", "--target", "cpu")}
    assert set(rows) == {(name,) for name in SERIES}
    for row in rows.values():
        assert (row["verdict"], row["reason"]) == ("promoted", "bounds")
        assert (row["rejections"], row["rejected_because"]) == (1, "recall")
        assert 0.5 < row["recall"] < 1


def test_a_list_can_be_narrowed_by_labels_and_model(root: Path) -> None:
    rows = document(root, "list", "--target", "cpu", "--entity", "entity=dbs-server")
    assert [r["labels"] for r in rows] == [{"entity": "dbs-server"}]
    assert len(document(root, "list", "--target", "cpu", "--model", "zscore")) == 3


def test_show_tells_the_whole_story_of_a_series(root: Path) -> None:
    text = call(root, "show", "--target", "cpu", "--entity", "entity=dbs-server").stdout
    assert text.startswith("entity=dbs-server\n  model       zscore, row ")
    assert re.search(r"in force +promoted: within bounds\n", text)
    assert re.search(r"catches +\d+% of injected anomalies after \d+ s \(median\)", text)
    assert re.search(r"rejected +1 in a row, the newest of \S+: catches \d+% of .*, the model in force \d+%", text)
    assert re.search(r"before +generation 1, trained \S+, promoted", text)
    (found,) = document(root, "show", "--target", "cpu", "--entity", "entity=dbs-server")
    assert found["rejected"]["figures"]["injected"]["recall"] < found["recall"] - 0.15
    assert [one["generation"] for one in found["past"]] == [1]


def test_a_whole_target_goes_back_by_one_command(store: Path) -> None:
    result = call(store, "rollback", "--target", "cpu")
    assert result.exit_code == 0
    assert result.stdout.startswith("cpu: 3 models rolled back, generation 4 is in force\n")
    assert {e.trained_data_end for e in in_force(store).entries.values()} == {NOW}
    again = call(store, "rollback", "--target", "cpu")
    assert (again.exit_code, again.stderr) == (4, "cpu has no earlier generation to return to\n")


def test_one_series_goes_back_alone(store: Path) -> None:
    before = in_force(store)
    found = json.loads(
        call(store, "rollback", "--target", "cpu", "--entity", "entity=das-cache", "--output", "json").stdout
    )
    assert (found["changed"], found["generation"]) == (1, 4)
    assert found["models"][0]["verdict"] == "rolled_back"
    after = in_force(store)
    changed = [k for k in before.entries if before.entries[k].place != after.entries[k].place]
    assert [entity.get("entity") for entity, _ in changed] == ["das-cache"]


def test_what_the_gate_rejected_can_be_promoted(store: Path) -> None:
    waiting = {k: e.rejected for k, e in in_force(store).entries.items() if e.rejected}
    result = call(store, "promote", "--target", "cpu")
    assert result.stdout.startswith("cpu: 3 models promoted, generation 4 is in force\n")
    for key, entry in waiting.items():
        now = in_force(store).entries[key]
        assert (now.place, now.verdict) == (entry.place, "by_hand")
    again = call(store, "promote", "--target", "cpu")
    assert (again.exit_code, again.stderr) == (4, "cpu: no rejected model of the 3 chosen; nothing to promote\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["list", "--target", "ram"], 2, "--target: 'ram' is not configured, known are cpu\n"),
        (["show", "--target", "cpu", "--entity", "web"], 2, "--entity: expected NAME=VALUE, received 'web'\n"),
        (["rollback", "--target", "cpu", "--entity", "namespace=x"], 2, "no series of cpu fits namespace=x: "),
        (["promote", "--target", "cpu", "--model", "fc"], 2, "no series of cpu fits model fc: it has 3 models"),
    ],
)
def test_a_mistake_says_what_there_is(root: Path, arguments: list[str], code: int, message: str) -> None:
    result = call(root, *arguments)
    assert result.exit_code == code
    assert result.stderr.startswith(message)
    assert result.stdout == ""


def test_before_the_first_training_there_is_nothing_to_show(tmp_path: Path) -> None:
    configure(tmp_path, NOW)
    assert document(tmp_path, "list")[0]["generation"] is None
    result = call(tmp_path, "show", "--target", "cpu")
    assert (result.exit_code, result.stderr) == (4, "cpu has no generation yet: train first\n")


def test_every_command_has_an_example_in_its_help() -> None:
    for command in ("list", "show", "rollback", "promote"):
        help_text = CliRunner().invoke(cli, ["models", command, "--help"]).output
        assert f"anomaly-exporter models {command} -c config.yaml" in help_text
