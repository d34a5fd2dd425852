"""The command line around models: look at them, roll back, promote, tune."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .cli_options import config_option, log_options
from .logging_setup import setup_logging

target_option = click.option("--target", required=True, help="Name of the target.")
entity_option = click.option(
    "--entity",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only series with this label; repeatable, all must agree.",
)
model_option = click.option("--model", default=None, help="Only this configured model; every one when left out.")
output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="A table for people, or JSON.",
)


@click.group()
def models() -> None:
    """Models in force and their past: list and show them, roll back, promote what the gate rejected.

    `serve` takes over a change between two cycles; nothing has to be restarted.

    \b
    Example:
      anomaly-exporter models list -c config.yaml
      anomaly-exporter models show -c config.yaml --target cpu --entity container=das-server
      anomaly-exporter models rollback -c config.yaml --target cpu
    """


@models.command("list")
@config_option
@click.option("--target", default=None, help="List the models of this target; the targets when left out.")
@entity_option
@model_option
@output_option
def models_list(config_path: Path, target: str | None, labels: tuple[str, ...], model: str | None, output: str) -> None:
    """Print the generations of all targets, or the models that are in force for the series of one.

    \b
    Example:
      anomaly-exporter models list -c config.yaml
      anomaly-exporter models list -c config.yaml --target cpu --entity namespace=das --output json
    """
    from .models import run_list

    sys.exit(run_list(config_path, target, labels, model, output))


@models.command("show")
@config_option
@target_option
@entity_option
@model_option
@output_option
def models_show(config_path: Path, target: str, labels: tuple[str, ...], model: str | None, output: str) -> None:
    """Say which model is in force for a series and why: verdict, figures, what it catches, what was rejected, its past.

    \b
    Example:
      anomaly-exporter models show -c config.yaml --target cpu --entity namespace=das --entity container=das-server
    """
    from .models import run_show

    sys.exit(run_show(config_path, target, labels, model, output))


@models.command("rollback")
@config_option
@target_option
@entity_option
@model_option
@output_option
def models_rollback(config_path: Path, target: str, labels: tuple[str, ...], model: str | None, output: str) -> None:
    """Put the models before the newest training back: of a whole target, or of the chosen series alone.

    A second time goes one generation further back. A training that runs meanwhile does not undo it.

    \b
    Example:
      anomaly-exporter models rollback -c config.yaml --target cpu
      anomaly-exporter models rollback -c config.yaml --target cpu --entity container=das-server
    """
    from .models import run_rollback

    sys.exit(run_rollback(config_path, target, labels, model, output))


@models.command("promote")
@config_option
@target_option
@entity_option
@model_option
@output_option
def models_promote(config_path: Path, target: str, labels: tuple[str, ...], model: str | None, output: str) -> None:
    """Put the newest models that the promotion gate rejected in force: of all series that have one, or the chosen.

    \b
    Example:
      anomaly-exporter models promote -c config.yaml --target cpu --entity container=das-server
    """
    from .models import run_promote

    sys.exit(run_promote(config_path, target, labels, model, output))


@click.command()
@config_option
@target_option
@click.option("--model", default=None, help="Configured model to start from; the first of the target when left out.")
@click.option("--trials", type=click.IntRange(1, 1000), default=12, show_default=True, help="Settings to try.")
@click.option(
    "--executions", type=click.IntRange(1, 20), default=1, show_default=True, help="Trainings per setting, averaged."
)
@click.option(
    "--entities", type=click.IntRange(1, 64), default=16, show_default=True, help="Most series to try them on."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same settings in the same order.")
@click.option("--name", default=None, help="Key of the winner in `models`; the model's name and -tuned when left out.")
@click.option(
    "--write", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Also write the winner to this file."
)
@output_option
@log_options
def tune(
    config_path: Path,
    target: str,
    model: str | None,
    trials: int,
    executions: int,
    entities: int,
    seed: int,
    name: str | None,
    write: Path | None,
    output: str,
    log_level: str,
    log_format: str,
) -> None:
    """Search the widths, dropout, optimizer and window of a model at random; print the winner as an entry of `models`.

    Nothing is put in force: paste the entry into the configuration and name it in the target.

    \b
    Example:
      anomaly-exporter tune -c config.yaml --target cpu --trials 20 --executions 2 --write tuned.yaml
    """
    from .tune import Request, run

    setup_logging(log_level, log_format)
    sys.exit(run(config_path, Request(target, model, trials, executions, entities, seed, name, write), output))
