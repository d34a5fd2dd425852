"""Every curl example of docs/control.md does what stands beside it."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from anomaly_exporter.config import Control
from anomaly_exporter.launch import local
from support.control import TOKENS, Answer, Bench, control, snapshot_of
from support.launchers import local_bench
from support.snapshots import NOW, entry_of
from support.waiting import wait_for

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "control.md").read_text()
COMMANDS = [
    shlex.split(command)
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for command in re.findall(r"^curl .*?[^\\]$(?=\n\S|\n*\Z)", block, re.DOTALL | re.MULTILINE)
]


def curl(bench: Bench, command: list[str]) -> Answer:
    """What curl would do with these arguments."""
    method, headers, body, url = "GET", {}, None, ""
    arguments = iter(command[1:])
    for argument in arguments:
        match argument:
            case "-s":
                continue
            case "-X":
                method = next(arguments)
            case "-H":
                name, _, value = next(arguments).partition(": ")
                headers[name] = value.replace("$TOKEN", TOKENS["admin"])
            case "-d":
                body = next(arguments)
            case _:
                url = argument
    assert url.startswith("$URL/"), command
    return bench.ask(method, f"/api/v1{url.removeprefix('$URL')}", body, headers, role=None)


def test_every_example_is_answered_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "POLL", 0.02)
    assert len(COMMANDS) == 10
    with local_bench(tmp_path) as launching, control(tmp_path, launching.launcher, launching.config) as bench:
        bench.snapshot = snapshot_of(4, name=lambda _: "cart")
        cart = entry_of("cpu", {"namespace": "shop", "container": "cart"}, trained_at=NOW)
        rejected = replace(cart, trained_at=NOW + 1.0, pack="9" * 64, verdict="rejected")
        bench.generations.commit("cpu", [replace(cart, trained_at=NOW - 9.0, pack="8" * 64)])
        bench.generations.commit("cpu", [replace(cart, rejected=rejected)])
        answers: list[Any] = []
        for command in COMMANDS:
            answer = curl(bench, command)
            assert answer.status in (200, 201, 202), (command, answer.text)
            answers.append(answer.json)
            if answer.status == 202:
                wait_for(lambda: bench.launcher.status()["cpu"].state == "running", 10, "the training")
        _, _, started, stopped, generations, promoted, rolled_back, results, said, feedback = answers
        assert started["trainings"][0]["target"] == stopped["trainings"][0]["target"] == "cpu"
        assert generations["generations"][0]["rejected"] == promoted["models"] == rolled_back["models"] == 1
        assert [result["score"] for result in results["data"]] == [1.75, 1.25, 0.75, 0.25]
        assert feedback["feedback"] == [said]


def test_every_configuration_is_valid() -> None:
    for block in re.findall(r"```yaml\ncontrol:(.*?)```", TEXT, re.DOTALL):
        assert Control.model_validate(yaml.safe_load(f"control:{block}")["control"]).enabled
