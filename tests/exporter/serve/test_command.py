"""`anomaly-exporter serve` as a process: it trains, scores, reloads, ends, and never loads what only training needs."""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from anomaly_exporter.launch import choose
from anomaly_exporter.serve import run
from support.waiting import wait_for

DATA_ORIGIN = 1_800_000_000 // 3600 * 3600
SPEED = 120


def document(root: Path, **sections: Any) -> dict[str, Any]:
    """The simulator's cluster at a speed at which a cycle takes half a second."""
    target = {
        "name": "cpu",
        "metric": "cpu",
        "queries": [{"name": "cpu", "expr": "eagle_pod_container_resource_usage_cpu_cores"}],
        "models": ["zscore"],
        "training": {"history": "12h"},
    }
    return {
        "simulator": {"origin": DATA_ORIGIN - 30 * 86_400},
        "store": {"path": str(root / "data")},
        "timing": {"speed": SPEED, "wall_origin": int(time.time()), "data_origin": DATA_ORIGIN},
        "targets": [target],
        **sections,
    }


class Process:
    """A running `serve` and what it logs."""

    def __init__(self, root: Path, config: dict[str, Any], log_format: str = "logfmt", *more: str) -> None:
        self.path = root / "config.yaml"
        self.write(config)
        self.log = root / "log"
        arguments = [
            "serve",
            "-c",
            str(self.path),
            "--web.listen-address=127.0.0.1:0",
            f"--log.format={log_format}",
            *more,
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "anomaly_exporter", *arguments, f"--log.format={log_format}"],
            stderr=self.log.open("wb"),
            stdin=subprocess.DEVNULL,
        )
        found = wait_for(lambda: re.search(r"http://[^/]+", self.log.read_text()), 20, "the line that says where")
        self.url = found.group(0)

    def write(self, config: dict[str, Any]) -> None:
        self.path.write_text(yaml.safe_dump(config))

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def samples(self, path: str = "/metrics") -> dict[str, list[float]]:
        values: dict[str, list[float]] = {}
        for family in text_string_to_metric_families(self.get(path)[1].decode()):
            for sample in family.samples:
                values.setdefault(sample.name, []).append(sample.value)
        return values

    def wait(self, condition: Callable[[dict[str, list[float]]], object], what: str, timeout: float = 40) -> None:
        try:
            wait_for(lambda: condition(self.samples()), timeout, what, every=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-4000:]}") from error


@contextmanager
def _serving(*arguments: Any, **options: Any) -> Iterator[Process]:
    served = Process(*arguments, **options)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
        served.process.wait()


def test_it_trains_scores_reloads_and_ends(tmp_path: Path) -> None:
    config = document(tmp_path)
    with _serving(tmp_path, config) as served:
        served.wait(lambda s: "anomaly_score" in s, "scores after the first training")
        served.wait(lambda s: sum(s["anomaly_exporter_training_runs_total"]) == 1, "the end of the training")
        samples = served.samples()
        assert len(samples["anomaly_score"]) == samples["anomaly_exporter_series_scored"][0] > 5
        assert samples["anomaly_exporter_config_last_reload_successful"] == [1]
        assert served.get("/-/ready")[0] == served.get("/-/healthy")[0] == 200
        assert served.get("/metrics", "HEAD") == (200, b"")
        assert b"anomaly_score" in gzip.decompress(served.get("/metrics", **{"Accept-Encoding": "gzip"})[1])
        assert b"zscore" in served.get("/metrics/detail")[1]
        assert b"everything is scored" in served.get("/")[1]

        for page in ("/metrics", "/metrics/detail"):
            checked = subprocess.run(
                ["promtool", "check", "metrics"], input=served.get(page)[1], capture_output=True, check=False
            )
            assert (checked.stdout + checked.stderr).decode() == ""

        served.write({"targets": []})
        status, said = served.get("/-/reload", "POST")
        assert (status, b"exactly one of" in said) == (500, True)
        assert served.samples()["anomaly_exporter_config_last_reload_successful"] == [0]
        assert "anomaly_score" in served.samples(), "the last good configuration stays"

        served.write({**config, "static_labels": {"env": "after"}})
        os.kill(served.process.pid, signal.SIGHUP)
        wait_for(lambda: b'env="after"' in served.get("/metrics")[1], 10, "the reloaded labels")
        assert served.samples()["anomaly_exporter_config_last_reload_successful"] == [1]

        served.process.terminate()
        assert served.process.wait(15) == 0
        errors = [line for line in served.log.read_text().splitlines() if "level=error" in line]
        assert len(errors) == 1, errors
        assert "the configuration is not reloaded, the last good one stays" in errors[0]


def test_a_stop_in_mid_training_ends_the_child_too(tmp_path: Path) -> None:
    with _serving(tmp_path, document(tmp_path)) as served:
        served.wait(lambda s: s.get("anomaly_exporter_training_running") == [1], "the training to run")
        child = wait_for(lambda: re.search(r"msg=\"training begins\" pid=(\d+)", served.log.read_text()), 10, "its pid")
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(15) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(int(child.group(1)), 0)


def test_a_shard_says_which_it_is(tmp_path: Path) -> None:
    config = document(tmp_path)
    config["launcher"] = {"kind": "none"}
    with _serving(tmp_path, config, "logfmt", "--shard", "1/3") as served:
        served.wait(lambda s: s.get("anomaly_exporter_ready") == [1], "the first cycle")
        samples = served.samples()
        assert samples["anomaly_exporter_total_shards"] == [3]
        assert samples["anomaly_exporter_shard_ordinal"] == [1]


def test_a_shard_that_cannot_be_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document(tmp_path)))
    assert run(path, ["127.0.0.1:0"], shard="3/3") == 2
    assert "--shard: expected i/n with 0 <= i < n" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["auto", "cnn_lstm"])
def test_a_local_launcher_that_could_train_nothing_is_refused(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The serve image has no TensorFlow: exactly one scheduler is active there, and it is another one."""
    config = document(tmp_path)
    config["targets"][0]["models"] = [recipe]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setattr(choose, "find_spec", lambda name: None)
    assert run(path, ["127.0.0.1:0"]) == 2
    error = capsys.readouterr().err
    assert f"launcher.kind local cannot train target 'cpu': the recipe {recipe} is trained with TensorFlow" in error
    assert "Set launcher.kind to kubernetes or none" in error


def test_serving_never_loads_what_only_training_needs(tmp_path: Path) -> None:
    config = document(tmp_path)
    config["targets"][0]["models"] = ["auto", "cnn_lstm", "pca", "seasonal", "zscore"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    program = f"""
import os, signal, sys, threading
from pathlib import Path
from anomaly_exporter import cli
from anomaly_exporter.launch import LocalLauncher
from anomaly_exporter.serve import command, service
LocalLauncher.start = lambda self: None
publish = service.Site.publish
def published(*arguments):
    publish(*arguments)
    os.kill(os.getpid(), signal.SIGTERM)
service.Site.publish = published
code = command.run(Path({str(path)!r}), ["127.0.0.1:0"])
heavy = {{"tensorflow", "keras", "pandas", "sklearn", "pyarrow", "scipy", "kubernetes", "obstore"}}
print(code, sorted(heavy & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "0 []\n", ended.stderr


@pytest.mark.parametrize(
    ("listen", "path", "said"),
    [
        ("8345", "/metrics", "expected host:port"),
        ("127.0.0.1:0", "metrics", "--web.telemetry-path"),
        ("127.0.0.1:0", "/-/healthy", "--web.telemetry-path"),
        ("256.0.0.1:1", "/metrics", "cannot listen on 256.0.0.1:1"),
    ],
)
def test_a_wrong_command_line_is_refused_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listen: str, path: str, said: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(document(tmp_path)))
    assert run(config, [listen], path) == 2
    assert said in capsys.readouterr().err


def test_a_wrong_configuration_is_refused_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(document(tmp_path, targets=[])))
    assert run(config, ["127.0.0.1:0"]) == 2
    assert "targets must not be empty" in capsys.readouterr().err
