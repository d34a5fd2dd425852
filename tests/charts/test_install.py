"""The commands of docs/install.md: each is parsed by its own program, and what they name is what the chart makes."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.helm import CHART, binary, helm, template

PAGE = (CHART.parents[1] / "docs" / "install.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SCRIPT = "\n".join(body for kind, body in FENCE.findall(PAGE) if kind == "sh").replace("\\\n", " ")
COMMANDS = [re.split(r" [|>] ", line)[0] for line in SCRIPT.splitlines()]
FILES = {body.split("\n", 1)[0].removeprefix("# "): body for kind, body in FENCE.findall(PAGE) if kind == "yaml"}
OURS = [c for c in COMMANDS if "charts/anomaly-exporter" in c]


def made(command: str, folder: Path) -> list[dict[str, Any]]:
    """The objects that an installation by ``command`` makes."""
    words = shlex.split(command)
    assert words[:5] == ["helm", "upgrade", "--install", "anomaly-exporter", "charts/anomaly-exporter"]
    for name, body in FILES.items():
        (folder / name).write_text(body, encoding="utf-8")
    given = [str(folder / w) if w in FILES else w for w in words[5:]]
    namespace = given.pop(given.index("--namespace") + 1)
    given.remove("--namespace")
    return template(*given, namespace=namespace, release="anomaly-exporter")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(("helm ", "kubectl "))])
def test_the_program_knows_the_command_and_its_flags(command: str) -> None:
    program, *words = shlex.split(command)
    words = words[: words.index("--")] if "--" in words else words
    path = binary(f"{program}/{program}")
    done = subprocess.run([path, *words, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_only_programs_that_the_page_tells_to_have_are_used() -> None:
    assert {c.split()[0] for c in COMMANDS if c} <= {"helm", "kubectl", "oc", "docker", "curl", "openssl", "python"}


@pytest.mark.parametrize("command", OURS)
def test_the_chart_takes_the_values_of_the_command(command: str, tmp_path: Path) -> None:
    kinds = {d["kind"] for d in made(command, tmp_path)}
    assert {"ServiceMonitor", "PrometheusRule", "Deployment", "Service"} <= kinds


def test_what_kubectl_names_is_what_the_chart_makes(tmp_path: Path) -> None:
    short = {"deployment": "Deployment", "svc": "Service", "pvc": "PersistentVolumeClaim", "route": "Route"}
    objects = {(d["kind"], d["metadata"]["namespace"], d["metadata"]["name"]) for c in OURS for d in made(c, tmp_path)}
    named = re.findall(
        r"^(?:kubectl|oc) -n (\S+) .*?\b(deployment|svc|pvc|route)[/ ](anomaly-exporter)\b", SCRIPT, re.M
    )
    assert len(named) == 4
    for namespace, kind, name in named:
        assert (short[kind], namespace, name) in objects


def test_secrets_that_are_created_are_those_that_are_used(tmp_path: Path) -> None:
    made_here = re.findall(r"create secret generic (\S+) --from-file=(\w+)", SCRIPT)
    used = yaml.safe_dump_all(d for c in OURS for d in made(c, tmp_path))
    assert len(made_here) == 2
    for name, key in made_here:
        assert name in used
        assert key in used


def test_the_images_that_are_built_are_those_that_the_chart_pulls(tmp_path: Path) -> None:
    built = set(re.findall(r"^docker build .* -t (\S+) \.$", SCRIPT, re.MULTILINE))
    pulled = set()
    for launcher in ("local", "none"):
        given = f"image.registry=registry.example.org,training.launcher={launcher}"
        pulled |= set(re.findall(r"image: (\S+)", yaml.safe_dump_all(template("--set", given))))
    assert built == pulled


def test_the_chart_can_be_packed_for_a_registry(tmp_path: Path) -> None:
    helm("package", str(CHART), "--destination", str(tmp_path))
    (archive,) = tmp_path.glob("anomaly-exporter-*.tgz")
    # A release is stored in a Secret of at most 1 MiB, the chart within it.
    assert archive.stat().st_size < 400_000
