"""Trainings by the API: through the launcher of the schedule, one per target, with parameters of the configuration."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anomaly_exporter.launch import local
from support.control import Bench, control
from support.launchers import LocalBench, cluster_bench, local_bench
from support.waiting import wait_for


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "POLL", 0.02)


@pytest.fixture(params=["local", "kubernetes"])
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Bench, Any]]:
    """The API over either launcher, and the bench that lets trainings end."""
    opened = local_bench(tmp_path) if request.param == "local" else cluster_bench()
    with opened as launching, control(tmp_path, launching.launcher, launching.config) as bench:
        yield bench, launching


def training(bench: Bench, target: str = "cpu") -> Any:
    (found,) = (t for t in bench.api("GET", "/trainings").json["trainings"] if t["target"] == target)
    return found


def test_a_training_is_started_followed_and_stopped(trained: tuple[Bench, Any]) -> None:
    bench, launching = trained
    assert bench.api("POST", "/trainings", {"targets": ["cpu"]}).status == 202
    wait_for(lambda: training(bench)["state"] == "running", 10, "the training to run")
    wait_for(lambda: launching.begun("cpu") == 1, 10, "its process")
    assert training(bench)["started_at"] is not None
    answer = bench.api("DELETE", "/trainings/cpu")
    assert answer.status == 200, answer.text
    assert [t["target"] for t in answer.json["trainings"]] == ["cpu"]
    assert wait_for(lambda: training(bench)["state"] == "stopped", 5, "the state stopped")
    assert launching.metrics.value("training_running", target="cpu") == 0
    wait_for(lambda: launching.metrics.value("training_runs_total", outcome="stopped") == 1, 5, "the run to be counted")


def test_there_is_one_training_per_target_at_a_time(trained: tuple[Bench, Any]) -> None:
    bench, launching = trained
    assert bench.api("POST", "/trainings", {"targets": ["cpu"]}).status == 202
    wait_for(lambda: training(bench)["state"] == "running", 10, "the training to run")
    again = bench.api("POST", "/trainings", {"targets": ["memory_of_all", "cpu"]})
    assert again.status == 409
    assert "cpu" in again.json["detail"]
    assert training(bench, "memory_of_all")["requested"] is False, "a request that is refused starts nothing"
    launching.finish("cpu", 0)
    wait_for(lambda: training(bench)["state"] == "succeeded", 10, "its success")
    assert launching.begun("cpu") == 1


def test_what_does_not_run_cannot_be_stopped(trained: tuple[Bench, Any]) -> None:
    bench, _ = trained
    assert bench.api("DELETE", "/trainings/cpu").status == 409
    assert bench.api("DELETE", "/trainings").status == 409
    assert bench.api("DELETE", "/trainings/nothing").status == 404


def test_all_trainings_are_stopped_at_once(trained: tuple[Bench, Any]) -> None:
    bench, _ = trained
    assert bench.api("POST", "/trainings", {"targets": ["cpu", "memory_of_all"]}).status == 202
    wait_for(lambda: training(bench)["state"] == "running", 10, "the training to run")
    assert bench.api("DELETE", "/trainings").status == 200
    wait_for(lambda: training(bench)["state"] == "stopped", 5, "the state stopped")
    assert training(bench, "memory_of_all")["requested"] is False


def test_parameters_of_one_training_reach_its_process(tmp_path: Path) -> None:
    with local_bench(tmp_path) as launching, control(tmp_path, launching.launcher, launching.config) as bench:
        wanted = {"targets": ["cpu"], "parameters": {"epochs": 7, "window": 12}, "training": {"history": "2d"}}
        assert bench.api("POST", "/trainings", wanted).status == 202
        path = tmp_path / "arguments"
        wait_for(path.exists, 10, "the process to say what it was started with")
        arguments = json.loads(path.read_text())
        assert json.loads(arguments[arguments.index("--override") + 1]) == {
            "parameters": {"epochs": 7, "window": 12},
            "training": {"history": "2d"},
        }
        launching.finish("cpu", 0)
        wait_for(lambda: training(bench)["state"] == "succeeded", 10, "its success")
        path.unlink()
        assert bench.api("POST", "/trainings", {"targets": ["cpu"]}).status == 202
        wait_for(path.exists, 10, "the next process")
        assert "--override" not in json.loads(path.read_text()), "nothing of it is kept"


def test_parameters_of_one_training_reach_its_job(tmp_path: Path) -> None:
    with cluster_bench() as launching, control(tmp_path, launching.launcher, launching.config) as bench:
        wanted = {"targets": ["cpu"], "model": "zscore", "parameters": {"minimum_scale": 0.5}}
        assert bench.api("POST", "/trainings", wanted).status == 202
        (name,) = launching.cluster.jobs()
        env = launching.cluster.job(name)["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {v["name"]: v["value"] for v in env} == {
            "OMP_NUM_THREADS": "1",
            "ANOMALY_EXPORTER_TARGET": "cpu",
            "ANOMALY_EXPORTER_OVERRIDE": '{"model":"zscore","parameters":{"minimum_scale":0.5}}',
        }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"targets": []}, "targets"),
        ({"targets": ["disk"]}, "targets: 'disk' is not configured, known are cpu, memory_of_all"),
        ({"targets": ["cpu"], "model": "lstm"}, "model: target 'cpu' has the models zscore"),
        ({"parameters": {"epochs": 0}}, "parameters.epochs: Input should be greater than or equal to 1, received 0"),
        ({"parameters": {"epochs": 10_001}}, "parameters.epochs: Input should be less than or equal to 10000"),
        ({"parameters": {"window": 1441}}, "parameters.window"),
        ({"parameters": {"window": 4, "tail": 5}}, "tail must not exceed window (4), received 5"),
        ({"parameters": {"epoch": 3}}, "parameters.epoch: unknown, expected one of recipe"),
        ({"parameters": {"recipe": "prophet"}}, "parameters.recipe"),
        ({"training": {"history": "31d"}}, "training.history: expected at most the configured"),
        ({"training": {"every": "1h"}}, "training.every: unknown"),
        ({"priority": 3}, "priority: unknown key"),
        ({"targets": ["cpu"] * 65}, "targets"),
    ],
)
def test_what_is_not_valid_is_refused_with_path_and_expectation(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with local_bench(tmp_path) as launching, control(tmp_path, launching.launcher, launching.config) as bench:
        answer = bench.api("POST", "/trainings", {"targets": ["cpu"], **change})
        assert answer.status == 422
        assert any(told in line for line in answer.json["errors"]), answer.json["errors"]
        assert training(bench)["requested"] is False
        assert isinstance(launching, LocalBench)


def test_a_launcher_of_somebody_else_says_so(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        answer = bench.api("POST", "/trainings", {"targets": ["cpu"]})
        assert answer.status == 409
        assert "launcher.kind is none" in answer.json["detail"]


def test_every_change_is_one_line_of_the_audit_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with local_bench(tmp_path) as launching, control(tmp_path, launching.launcher, launching.config) as bench:
        bench.api("POST", "/trainings", {"targets": ["cpu"], "parameters": {"epochs": 3}})
        bench.api("POST", "/trainings", {"targets": ["cpu"], "parameters": {"epochs": "<secret>"}})
        bench.api("DELETE", "/trainings/cpu", role="viewer")
        bench.api("DELETE", "/trainings/cpu")
        bench.api("GET", "/trainings")
        lines = [vars(r) for r in caplog.records if r.name == "anomaly_exporter.control.audit"]
        told = [
            tuple(line[k] for k in ("who", "role", "via", "action", "about", "outcome", "status")) for line in lines
        ]
        assert told == [
            ("operator", "operator", "token", "train", 'cpu {"parameters":{"epochs":3}}', "done", 202),
            ("operator", "operator", "token", "train", "cpu", "refused", 422),
            ("viewer", "viewer", "token", "stop", "cpu", "denied", 403),
            ("operator", "operator", "token", "stop", "cpu", "done", 200),
        ]
        assert bench.counted("changes_total", action="train", outcome="done") == 1
        assert bench.counted("changes_total", action="stop", outcome="denied") == 1
