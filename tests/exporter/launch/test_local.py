"""Training runs beside the scoring: one at a time, followed, forwarded, and ended with the exporter."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anomaly_exporter.clock import Clock
from anomaly_exporter.launch import LocalLauncher, interface
from anomaly_exporter.launch import local as launcher
from anomaly_exporter.launch.child import NICE, Child, forward
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TargetView
from support.snapshots import config_of
from support.waiting import wait_for

STUB = """\
import json, os, sys, time
def say(**event): print(json.dumps(event), flush=True)
def log(**line): print(json.dumps(line), file=sys.stderr, flush=True)
target = sys.argv[sys.argv.index("--target") + 1]
folder = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(folder, "runs"), "a") as runs:
    runs.write(f"{target} {os.getpid()} begins {os.getpriority(os.PRIO_PROCESS, 0)}\\n")
"""
GOOD = """\
say(event="start", target=target, entities=3, samples_read=1234)
say(event="progress", target=target, model="fc", done=1, total=4)
say(event="stage", target=target, stage="fit", rss_bytes=5000)
log(ts="now", level="warn", logger="training.fit", msg="careful", name="x", entity="a")
print("not json", flush=True)
print("Traceback: oops", file=sys.stderr, flush=True)
say(event="trained", target=target, model="fc", entities=2, rejected=3, failed={"too_short": 1}, generation=1)
say(event="done", target=target, outcome="succeeded", seconds=0.1)
"""
ENDS = 'open(os.path.join(folder, "runs"), "a").write(f"{target} {os.getpid()} ends\\n")\n'


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "POLL", 0.02)


class Bench:
    """A launcher whose children run ``script`` instead of training."""

    def __init__(self, folder: Path, script: str, *targets: dict[str, Any], clock: Clock | None = None) -> None:
        program = folder / "stub.py"
        program.write_text(STUB + script)
        self.runs_file = folder / "runs"
        self.metrics = SelfMetrics()
        self.config = config_of(*(targets or ({"name": "cpu"},)))
        self.launcher = LocalLauncher(
            folder / "config.yaml", self.config, clock or Clock(), self.metrics, (sys.executable, str(program))
        )

    def observe(self, *, untrained: bool = True, trained_at: float | None = None) -> None:
        views = tuple(
            TargetView(t.name, 0, time.time(), untrained=untrained, trained_at=trained_at) for t in self.config.targets
        )
        self.launcher.observe(Snapshot(time.time(), views))

    def runs(self) -> list[list[str]]:
        return [line.split() for line in self.runs_file.read_text().splitlines()] if self.runs_file.exists() else []

    def state(self, target: str = "cpu") -> str:
        return self.launcher.status()[target].state


@contextmanager
def _bench(*arguments: Any, **options: Any) -> Iterator[Bench]:
    bench = Bench(*arguments, **options)
    bench.launcher.start()
    try:
        yield bench
    finally:
        bench.launcher.stop()


def test_a_target_without_models_is_trained_at_once_and_its_events_become_status_and_metrics(tmp_path: Path) -> None:
    with _bench(tmp_path, GOOD) as bench:
        bench.observe()
        wait_for(lambda: bench.state() == "succeeded", 10, "the training to succeed")
        status = bench.launcher.status()["cpu"]
        assert (status.samples_read, status.progress, dict(status.failed)) == (1234, 1.0, {"too_short": 1})
        value = bench.metrics.value
        assert value("training_runs_total", outcome="succeeded") == 1
        assert value("training_samples_read", target="cpu") == 1234
        assert value("training_stage_memory_bytes", target="cpu", stage="fit") == 5000
        assert value("promotions_total", verdict="promoted") == 2
        assert value("promotions_total", verdict="rejected") == 3
        assert value("training_running", target="cpu") == 0
        assert value("training_last_success_timestamp_seconds", target="cpu") == status.succeeded_at
        assert bench.runs()[0][3] == str(NICE), "children are nice"


def test_nothing_is_trained_before_a_cycle_has_said_what_is_there(tmp_path: Path) -> None:
    with _bench(tmp_path, GOOD) as bench:
        assert bench.launcher._due() is None
        bench.observe(untrained=False, trained_at=time.time())
        assert bench.launcher._due() is None
    assert bench.runs() == []


def test_models_older_than_their_slot_are_trained_again_after_a_restart(tmp_path: Path) -> None:
    with _bench(tmp_path, GOOD) as bench:
        bench.observe(untrained=False, trained_at=time.time() - 2 * 7200)
        wait_for(lambda: bench.state() == "succeeded", 10, "the training that was missed")


def test_a_success_that_leaves_a_model_out_is_not_repeated_at_once(tmp_path: Path) -> None:
    with _bench(tmp_path, GOOD) as bench:
        bench.observe()
        wait_for(lambda: bench.state() == "succeeded", 10, "the training to succeed")
        bench.observe(untrained=True)
        assert bench.launcher._due() is None
        assert (bench.launcher.status()["cpu"].next_at or 0) > time.time()


def test_targets_are_trained_one_at_a_time(tmp_path: Path) -> None:
    targets = [{"name": f"t{i}", "metric": f"m{i}"} for i in range(3)]
    with _bench(tmp_path, ENDS, *targets) as bench:
        bench.observe()
        wait_for(lambda: len(bench.runs()) == 6, 20, "three trainings")
        pids = [run[1] for run in bench.runs()]
        assert pids[0::2] == pids[1::2], "every child ends before the next begins"
        assert {run[0] for run in bench.runs()} == {"t0", "t1", "t2"}


@pytest.mark.parametrize(
    ("code", "state"), [(1, "failed"), (2, "failed"), (3, "failed"), (4, "waiting"), (5, "failed")]
)
def test_a_failure_is_counted_explained_and_tried_again_later(tmp_path: Path, code: int, state: str) -> None:
    with _bench(tmp_path, f"sys.exit({code})") as bench:
        bench.observe()
        wait_for(lambda: bench.metrics.value("training_runs_total", outcome="failed"), 10, "the failure")
        status = wait_for(lambda: (s := bench.launcher.status()["cpu"]).message and s, 5, "the explanation")
        assert status.state == ("waiting" if code == interface.NOTHING_TRAINABLE else "failed")
        assert status.message in {*interface.MEANINGS.values(), "ended with exit code 1"}
        assert time.time() + 200 < (status.next_at or 0) < time.time() + 400
        assert (bench.metrics.value("store_failures_total", reason="training") == 1) is (code == 5)


def test_stopping_ends_a_training_that_will_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "GRACE", 0.5)
    stubborn = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay(event='start')\ntime.sleep(600)\n"
    with _bench(tmp_path, stubborn) as bench:
        bench.observe()
        wait_for(lambda: bench.state() == "running" and bench.runs(), 10, "the training to run")
        assert bench.metrics.value("training_running", target="cpu") == 1
        pid = int(bench.runs()[0][1])
        began = time.monotonic()
        bench.launcher.stop()
        assert time.monotonic() - began < 5
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        wait_for(lambda: bench.state() == "stopped", 5, "the state to say so")


def test_a_training_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "hang.py"
    program.write_text("import time\ntime.sleep(600)\n")
    assert Child([sys.executable, str(program)]).follow(lambda event: None, longest=0.3) == -9


def test_a_program_that_cannot_be_started_is_a_failure_like_others(tmp_path: Path) -> None:
    with _bench(tmp_path, GOOD) as bench:
        bench.launcher._command = (str(tmp_path / "no-such-program"),)
        bench.observe()
        wait_for(lambda: bench.state() == "failed", 10, "the failure")


def test_logs_of_the_child_are_forwarded_at_their_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    forward(
        '{"ts": "now", "level": "warn", "logger": "training.fit", "msg": "100% careful", "name": "x", "entity": "a"}'
    )
    forward('{"level": "debug", "msg": "detail"}')
    forward("Traceback (most recent call last):\n")
    first, second, third = caplog.records
    assert (first.levelno, first.name, first.getMessage()) == (logging.WARNING, "training.fit", "100% careful")
    assert (vars(first)["name_"], vars(first)["entity"]) == ("x", "a")
    assert (second.levelno, second.name) == (logging.DEBUG, "training")
    assert (third.levelno, vars(third)["text"]) == (logging.WARNING, "Traceback (most recent call last):")


def test_a_reload_keeps_the_course_of_targets_that_stay_and_looks_at_changed_ones_afresh(tmp_path: Path) -> None:
    with _bench(tmp_path, GOOD) as bench:
        bench.observe()
        wait_for(lambda: bench.state() == "succeeded", 10, "the training to succeed")
        bench.launcher.reconfigure(bench.config)
        assert bench.state() == "succeeded"
        bench.launcher.reconfigure(config_of({"name": "cpu", "step": "2m"}, {"name": "new", "metric": "m"}))
        assert (bench.state(), bench.state("new")) == ("waiting", "waiting")


def test_in_compressed_time_slots_come_faster(tmp_path: Path) -> None:
    clock = Clock(speed=7200.0, wall_origin=time.time(), data_origin=1_800_000_000)
    with _bench(tmp_path, ENDS, clock=clock) as bench:
        bench.observe(untrained=True)
        wait_for(lambda: len(bench.runs()) >= 6, 20, "three trainings, a second of wall time apart")


def test_losses_are_shown_while_a_fit_runs_and_the_reason_stays_when_it_fails(tmp_path: Path) -> None:
    script = """
say(event="progress", target=target, model="fc", done=0, total=4, epoch=7, loss={"train": 0.5, "validation": 0.75})
while not os.path.exists(os.path.join(folder, "go on")): time.sleep(0.01)
sys.exit(3)
"""
    with _bench(tmp_path, script) as bench:
        bench.observe()
        value = bench.metrics.value
        wait_for(lambda: value("training_epoch", target="cpu", model="fc") == 7, 10, "the epoch")
        assert value("training_loss", target="cpu", model="fc", split="train") == 0.5
        assert value("training_loss", target="cpu", model="fc", split="validation") == 0.75
        assert value("training_failure_info", target="cpu", reason="the source cannot be reached") is None
        (tmp_path / "go on").touch()
        wait_for(lambda: bench.state() == "failed", 10, "the failure")
        assert value("training_failure_info", target="cpu", reason="the source cannot be reached") == 1
        assert value("training_epoch", target="cpu", model="fc") is None
        assert value("training_loss", target="cpu", model="fc", split="train") is None
