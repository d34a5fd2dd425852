"""The control API of a running `serve`: what it changes shows in the metrics; it stalls neither scrapes nor cycles."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import yaml

from support.control import TOKENS
from support.control_process import Running
from support.waiting import wait_for


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("serve"))
    try:
        wait_for(lambda: "anomaly_score{" in made.get("/metrics"), 90, "scores after the first training", 0.3)
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def test_scores_are_there_as_a_document(served: Running) -> None:
    status, document = served.ask("GET", "/results?limit=3", token=TOKENS["viewer"])
    assert status == 200
    assert len(document["data"]) == 3
    first = document["data"][0]
    assert first["score"] == max(result["score"] for result in document["data"])
    labels = ",".join(f'{name}="{value}"' for name, value in first["labels"].items())
    assert f"anomaly_threshold{{{labels}}}" in served.get("/metrics")


def test_a_training_that_is_stopped_shows_as_stopped_and_leaves_the_models_in_force(served: Running) -> None:
    wait_for(lambda: served.state() == "succeeded", 30, "the first training to end")
    before = served.ask("GET", "/generations")[1]
    assert served.ask("POST", "/trainings", {"targets": ["cpu"], "parameters": {"seed": 5}})[0] == 202
    wait_for(lambda: served.state() == "running", 20, "the training to run", 0.05)
    began = time.monotonic()
    status, document = served.ask("DELETE", "/trainings/cpu")
    assert (status, document["trainings"][0]["state"]) == (200, "stopped")
    assert time.monotonic() - began < 6
    assert 'anomaly_exporter_training_running{target="cpu"} 0.0' in served.get("/metrics")
    wait_for(lambda: 'state="stopped"' in served.get("/metrics/detail"), 20, "anomaly_training_state", 0.2)
    wait_for(lambda: 'training_runs_total{outcome="stopped"} 1.0' in served.get("/metrics"), 20, "the count", 0.2)
    assert served.ask("GET", "/generations")[1] == before
    assert "anomaly_score{" in served.get("/metrics"), "detection goes on"


def test_load_on_the_control_api_stalls_neither_scrapes_nor_cycles(served: Running) -> None:
    """Eight clients that ask as fast as they can, and twenty that say nothing at all."""
    host, port = served.control.split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(20)]
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            served.ask("GET", "/results?limit=1000")

    clients = [threading.Thread(target=load, daemon=True) for _ in range(8)]
    for client in clients:
        client.start()
    skipped = re.search(r"^anomaly_exporter_cycles_skipped_total (\S+)", served.get("/metrics"), re.MULTILINE)
    seconds = []
    for _ in range(40):
        began = time.perf_counter()
        text = served.get("/metrics")
        seconds.append(time.perf_counter() - began)
    stop.set()
    for client in clients:
        client.join(20)
    for connection in silent:
        connection.close()
    assert "anomaly_score{" in text
    assert sorted(seconds)[20] < 0.5, "the median scrape, on a busy machine"
    after = re.search(r"^anomaly_exporter_cycles_skipped_total (\S+)", served.get("/metrics"), re.MULTILINE)
    assert skipped
    assert after
    assert float(after[1]) - float(skipped[1]) <= 2


def test_a_reload_cannot_change_who_may_come_in(served: Running) -> None:
    changed = {**served.document, "control": {**served.document["control"], "session": "1h"}}
    served.path.write_text(yaml.safe_dump(changed))
    served.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "control cannot be changed by a reload" in served.log.read_text(), 10, "the refusal")
    served.path.write_text(yaml.safe_dump(served.document))


def test_the_log_names_who_did_what_and_no_token(served: Running) -> None:
    assert served.ask("DELETE", "/trainings/cpu", token="wrong-wrong-wrong-wrong")[0] == 401
    wait_for(lambda: '"reason": "token"' in served.log.read_text(), 5, "the refusal")
    text = served.log.read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    audit = [(line["who"], line["action"], line["outcome"]) for line in lines if line["msg"] == "audit"]
    assert ("operator", "train", "done") in audit
    assert ("operator", "stop", "done") in audit
    for token in (*TOKENS.values(), "wrong-wrong-wrong-wrong"):
        assert token not in text
        assert token not in served.get("/metrics")
