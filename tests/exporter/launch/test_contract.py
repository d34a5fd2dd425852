"""What every launcher promises, said once and kept by children of this process and by Jobs of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anomaly_exporter.launch import LauncherRefusedError, cluster, local
from support.launchers import Bench, cluster_bench, local_bench
from support.snapshots import config_of
from support.waiting import wait_for


@pytest.fixture(params=["local", "kubernetes"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(local, "POLL", 0.02)
    monkeypatch.setattr(cluster, "POLL", 0.05)
    with local_bench(tmp_path) if request.param == "local" else cluster_bench() as made:
        yield made


def becomes(bench: Bench, state: str, target: str = "cpu") -> None:
    wait_for(lambda: bench.launcher.status()[target].state == state, 10, f"{target} to be {state}")


def running(bench: Bench, target: str = "cpu", times: int = 1) -> None:
    bench.launcher.train(target)
    wait_for(lambda: bench.begun(target) == times, 10, "the training to begin")
    becomes(bench, "running", target)


def counted(bench: Bench, outcome: str) -> float:
    return bench.metrics.value("training_runs_total", outcome=outcome) or 0


def test_a_request_is_run_shown_and_counted(bench: Bench) -> None:
    running(bench)
    assert bench.metrics.value("training_running", target="cpu") == 1
    assert bench.launcher.status()["memory_of_all"].state != "running"
    bench.finish("cpu", 0)
    becomes(bench, "succeeded")
    wait_for(lambda: counted(bench, "succeeded") == 1, 5, "the count")
    status = bench.launcher.status()["cpu"]
    assert (status.progress, status.message, status.succeeded_at is not None) == (1.0, "", True)
    assert bench.metrics.value("training_running", target="cpu") == 0
    assert bench.metrics.value("training_last_success_timestamp_seconds", target="cpu") == status.succeeded_at


def test_a_failure_says_why_in_words(bench: Bench) -> None:
    running(bench)
    bench.finish("cpu", 2)
    becomes(bench, "failed")
    wait_for(lambda: counted(bench, "failed") == 1, 5, "the count")
    assert bench.launcher.status()["cpu"].message == "the configuration is refused"


def test_what_runs_is_not_begun_twice(bench: Bench) -> None:
    running(bench)
    bench.launcher.train("cpu")
    bench.finish("cpu", 0)
    becomes(bench, "succeeded")
    assert bench.begun("cpu") == 1


def test_what_is_suspended_stops_and_begins_again_when_resumed(bench: Bench) -> None:
    running(bench)
    bench.launcher.suspend("cpu")
    becomes(bench, "stopped")
    assert counted(bench, "failed") == 0
    assert bench.metrics.value("training_running", target="cpu") == 0
    bench.launcher.resume("cpu")
    becomes(bench, "running")
    bench.finish("cpu", 0)
    becomes(bench, "succeeded")
    wait_for(lambda: counted(bench, "succeeded") == 1, 5, "the count")


def test_suspending_twice_and_resuming_what_never_stopped_changes_nothing(bench: Bench) -> None:
    bench.launcher.resume("cpu")
    running(bench)
    bench.launcher.resume("cpu")
    becomes(bench, "running")
    bench.launcher.suspend("cpu")
    bench.launcher.suspend("cpu")
    becomes(bench, "stopped")


def test_what_is_cancelled_is_gone_and_no_failure(bench: Bench) -> None:
    running(bench)
    bench.launcher.cancel("cpu")
    becomes(bench, "stopped")
    wait_for(lambda: counted(bench, "stopped") == 1, 5, "the count")
    assert counted(bench, "failed") == 0
    bench.launcher.resume("cpu")
    assert bench.launcher.status()["cpu"].state == "stopped"


def test_requests_for_one_target_leave_the_others_alone(bench: Bench) -> None:
    running(bench)
    bench.launcher.suspend("memory_of_all")
    bench.launcher.cancel("memory_of_all")
    becomes(bench, "running")


def test_a_target_that_is_not_configured_is_refused_by_name(bench: Bench) -> None:
    for request in (bench.launcher.train, bench.launcher.suspend, bench.launcher.resume, bench.launcher.cancel):
        with pytest.raises(LauncherRefusedError, match="target 'disk' is not configured, known are cpu, memory_of_all"):
            request("disk")


def test_a_reload_drops_targets_that_are_gone_and_shows_new_ones(bench: Bench) -> None:
    sections = {"launcher": bench.config.launcher.model_dump()}
    bench.launcher.reconfigure(config_of({"name": "cpu"}, {"name": "disk", "metric": "disk"}, **sections))
    assert set(bench.launcher.status()) == {"cpu", "disk"}
    assert bench.metrics.value("training_running", target="memory_of_all") is None
    assert bench.metrics.value("training_running", target="disk") == 0
