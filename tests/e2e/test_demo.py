"""`anomaly-exporter demo`, as a user starts it: real processes from the simulated cluster to the mail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from anomaly_exporter.demo import run
from anomaly_exporter.demo.scenario import Scenario
from support.dashboard_files import asked, boards, filled
from support.waiting import wait_for

pytestmark = pytest.mark.e2e

EMPTY_WHEN_WELL = {
    "annotation Exporter alerts": "the exporter has nothing to complain of",
    "annotation Rollouts": "the demo runs no kube-state-metrics",
    "annotation Restarts": "the demo runs no kube-state-metrics",
    "Failures in this time range A": "nothing has failed",
    "Connections turned away A": "nobody was turned away",
    "Control requests A": "nobody has opened the pages",
    "Changes A": "nobody has changed anything",
    "Why series are not scored A": "everything is scored",
    "Series that need training A": "everything is trained",
    "Why trainings failed A": "no training has failed",
    "Share of each feature in the error A": "the demo's series have one feature each",
    "How far each feature is from its expectation A": "the demo's series have one feature each",
    "Models against what people said A": "nobody has said anything about an alert",
    "Models against what people said B": "nobody has said anything about an alert",
    "Models against what people said C": "nobody has said anything about an alert",
    "Models against what people said D": "nobody has said anything about an alert",
    "Models against what people said E": "nobody has said anything about an alert",
    "Models against what people said F": "nobody has said anything about an alert",
    "Models against what people said G": "nobody has said anything about an alert",
    "Verdicts A": "nobody has said anything about an alert",
    "Were the alerts right? A": "nobody has said anything about an alert",
    "New normal A": "nothing has moved to a new level, and the demo switches regimes off",
    "Series whose new models are rejected A": "the gate has rejected nothing",
    "Series with little history A": "all series have weeks of history",
    "Time to the limit A": "nothing leaks",
    "Tuning comparison A": "nobody has tuned",
    "Tuning comparison B": "nobody has tuned",
}
"""Queries of dashboards that may be empty on a healthy demo in mid-incident, and why."""


def without_data(text: str) -> Iterator[str]:
    """Queries of the dashboards that the demo's Prometheus, named in ``text``, leaves empty."""
    found = re.search(r"Prometheus +(http://[0-9.:]+)/", text)
    assert found, text
    for query in (query for board in boards() for query in asked(board)):
        now = time.time()
        params: dict[str, str | float] = {"query": filled(query.expr, {}), "time": now}
        path = "query"
        if query.kind in ("range", "annotation"):
            path, params = "query_range", {**params, "start": now - 120, "end": now, "step": 1}
        answer = requests.get(f"{found[1]}/api/v1/{path}", params, timeout=30).json()
        assert answer["status"] == "success", f"{query}: {answer}"
        if not answer["data"]["result"]:
            yield query.where


def demo(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command with its output in ``tmp_path / out``."""
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with (tmp_path / "out").open("w") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "anomaly_exporter", "demo", *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            text=True,
        )


@pytest.mark.usefixtures("servers")
def test_the_demo_mails_an_incident_below_the_historical_maximum_and_retrains_on_what_is_new(tmp_path: Path) -> None:
    process = demo(tmp_path, "--once")
    log = tmp_path / "out"
    wait_for(
        lambda: "generations in force: cpu 2" in log.read_text() or process.poll() is not None, 420, "a retraining"
    )
    assert process.poll() is None, log.read_text()
    unanswered = set(without_data(log.read_text()))
    code = process.wait(300)
    text = log.read_text()
    assert code == 0, text
    missing = sorted(unanswered - set(EMPTY_WHEN_WELL))
    assert not missing, f"queries of dashboards that the running demo does not answer: {missing}"
    assert re.search(r"score [1-9]\d*\.\d+  (above|ANOMALY)", text), text
    mail = text[text.index("The mail") :]
    assert "| To: crab-team@demo.example" in mail
    assert re.search(r"\| Subject: .*crabserver.*crab", mail), mail
    reads = [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) samples read for this training", text)]
    assert len(reads) == 6, text
    assert max(reads[2:]) < min(reads[:2]) / 10, "a retraining reads only what is new"
    assert not list(tmp_path.glob("anomaly-exporter-demo-*")), "nothing is left behind"


def test_without_prometheus_the_demo_runs_on_the_simulator_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a member that needs no TensorFlow: the wiring is what differs here, not the models."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = run(once=True, scenario=Scenario(recipe="seasonal", base="mad", every=3600))
    said = capsys.readouterr()
    assert code == 0, said.out + said.err
    assert "Not installed: prometheus, promtool, prometheus-alertmanager, amtool" in said.out
    assert "anomaly_detected is 1" in said.out
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_an_interrupted_demo_takes_everything_down(tmp_path: Path) -> None:
    process = demo(tmp_path)
    try:
        log = tmp_path / "out"
        wait_for(lambda: "2. Training" in log.read_text() or process.poll() is not None, 90, "the set-up")
        assert process.poll() is None, log.read_text()
        folder = str(next(tmp_path.glob("anomaly-exporter-demo-*")))
        assert len(children(folder)) >= 1
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    assert code == 130
    wait_for(lambda: not children(folder), 10, "the end of every child")


def children(mark: str) -> list[int]:
    """Processes whose command line names ``mark``."""
    out = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if mark in command:
            out.append(int(entry.name))
    return out
