"""The command line: help with an example everywhere, errors that name the file, exit codes as documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from anomaly_exporter import __version__
from anomaly_exporter.cli import cli

CONFIG = """
prometheus: {url: "http://127.0.0.1:9"}
targets: [{name: web, metric: cpu, models: [zscore], queries: [{expr: web_cpu}]}]
"""


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    assert f"anomaly-exporter {command}" in result.output
    for option in cli.commands[command].params:
        assert getattr(option, "help", None) or option.name in {"kind", "config_path"}, f"{option.name} has no help"


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"anomaly-exporter, version {__version__}\n"


def test_a_valid_configuration_is_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    result = CliRunner().invoke(cli, ["check-config", "-c", str(path)])
    assert result.output == f"{path}: valid, 1 targets\n  web: value every 60 s, models zscore\n"


@pytest.mark.parametrize("arguments", [["check-config"], ["render", "rules"], ["serve"], ["train", "--target", "web"]])
def test_a_wrong_configuration_ends_every_command_with_code_2_and_the_reason(
    tmp_path: Path, arguments: list[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("metric: cpu", "mertic: cpu"))
    done = subprocess.run(
        [sys.executable, "-m", "anomaly_exporter", *arguments, "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "targets.0.metric: required, but not given" in done.stderr
    assert "Traceback" not in done.stderr
