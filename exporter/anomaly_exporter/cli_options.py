"""Options of the command line that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

config_option = click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Configuration file (YAML), see docs/configuration.md.",
)


def log_options(command: Any) -> Any:
    """The two logging flags that every long-running command has."""
    command = click.option(
        "--log.format",
        "log_format",
        type=click.Choice(["logfmt", "json"]),
        default="logfmt",
        show_default=True,
        help="Format of the log on stderr.",
    )(command)
    return click.option(
        "--log.level",
        "log_level",
        type=click.Choice(["debug", "info", "warn", "error"]),
        default="info",
        show_default=True,
        help="Least severe messages to log.",
    )(command)
