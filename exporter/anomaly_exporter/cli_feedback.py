"""The command line around feedback: say something, list it, exchange it as a table, read silences and annotations."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .cli_options import config_option, log_options
from .logging_setup import setup_logging

target_option = click.option("--target", default=None, help="Name of the target; any when left out.")
output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for people, or one JSON document per line.",
)
author_option = click.option("--author", default=None, help="Who says so; the user of this machine when left out.")
TIME = "RFC 3339, seconds since 1970, now, or a duration ago such as 2h"


@click.group()
def feedback() -> None:
    """What people say about alerts: expected, incident or ignore, for entities and a time.

    Nothing is ever deleted: an edit or a withdrawal is appended, and the last who spoke wins.

    \b
    Example:
      anomaly-exporter feedback add expected -c config.yaml --match container=crabserver --from 2h --to now
      anomaly-exporter feedback list -c config.yaml
    """


@feedback.command("add")
@click.argument("verdict", type=click.Choice(["expected", "incident", "ignore"]))
@config_option
@target_option
@click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="MATCHER",
    help="Which entities: container=a, namespace!=b, container=~'c.*', metric=cpu, tag=d; repeatable, all must agree.",
)
@click.option("--from", "start", required=True, help=f"Beginning: {TIME}.")
@click.option("--to", "end", default="now", show_default=True, help="End, in the same form.")
@author_option
@click.option("--comment", default="", help="Why.")
@click.option("--fixed-by", "fixed_by", default="", help="The remedy that helped; ranks the next steps of alerts.")
@output_option
def feedback_add(
    verdict: Any,
    config_path: Path,
    target: str | None,
    matches: tuple[str, ...],
    start: str,
    end: str,
    author: str | None,
    comment: str,
    fixed_by: str,
    output: str,
) -> None:
    """Say that something was expected (normal, may come again), an incident (rightly an alert), or to be ignored.

    \b
    Example:
      anomaly-exporter feedback add incident -c config.yaml --target kube-eagle-cpu --match container=das-server \\
        --from 2026-01-31T10:00:00Z --to 2026-01-31T11:30:00Z --fixed-by "restart of the queue"
    """
    from .feedback.command import run_add

    text = {"author": author, "comment": comment, "fixed_by": fixed_by}
    sys.exit(run_add(config_path, verdict, (start, end), target, matches, text, output))


@feedback.command("list")
@config_option
@target_option
@click.option("--from", "start", default=None, help=f"Only what touches the time from here on: {TIME}.")
@click.option("--to", "end", default="now", show_default=True, help="Up to here, with --from.")
@click.option("--all", "every", is_flag=True, help="Every version of every statement, withdrawn ones too.")
@output_option
def feedback_list(config_path: Path, target: str | None, start: str | None, end: str, every: bool, output: str) -> None:
    """Print what is in force and which statements disagree; one JSON document per line with --output json.

    \b
    Example:
      anomaly-exporter feedback list -c config.yaml --target kube-eagle-cpu --from 7d
    """
    from .feedback.command import run_list

    sys.exit(run_list(config_path, target, (start, end) if start else None, every, output))


@feedback.command("withdraw")
@click.argument("identity")
@config_option
@author_option
def feedback_withdraw(identity: str, config_path: Path, author: str | None) -> None:
    """Take a statement back, by its id in the list.

    \b
    Example:
      anomaly-exporter feedback withdraw cli:5d41402abc4b2a76 -c config.yaml
    """
    from .feedback.command import run_withdraw

    sys.exit(run_withdraw(config_path, identity, author))


@feedback.command("import")
@click.argument("table", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
@click.option("--dataset", default=None, help="Only rows of this dataset.")
@click.option("--target", default=None, help="Target of all rows; the dataset is its name when left out.")
@click.option("--label", default=None, help="Label whose value the column entity holds; a target's last when left out.")
@author_option
@output_option
def feedback_import(
    table: Path,
    config_path: Path,
    dataset: str | None,
    target: str | None,
    label: str | None,
    author: str | None,
    output: str,
) -> None:
    """Append statements of a CSV table: dataset,entity,metric,start,end,kind,role,note.

    Roles: anomaly and incident become incident, ignore and ambiguous become ignore, expected stays; others are left
    out. A row that is known already is not appended again.

    \b
    Example:
      anomaly-exporter feedback import labels.csv -c config.yaml --dataset aiops --target cpu --label container
    """
    from .feedback.command import run_import
    from .feedback.table import Reading

    sys.exit(run_import(config_path, table, Reading(dataset, target, label), author, output))


@feedback.command("export")
@config_option
@target_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=None, help="File; stdout if left out.")
def feedback_export(config_path: Path, target: str | None, out: Path | None) -> None:
    """Write what is in force as a CSV table that `import` reads back.

    \b
    Example:
      anomaly-exporter feedback export -c config.yaml --out labels.csv
    """
    from .feedback.command import run_export

    sys.exit(run_export(config_path, out, target))


@feedback.command("sync")
@config_option
@output_option
@log_options
def feedback_sync(config_path: Path, output: str, log_level: str, log_format: str) -> None:
    """Read the silences of Alertmanager and the annotations of Grafana once, as `serve` does all the time.

    \b
    Example:
      anomaly-exporter feedback sync -c config.yaml
    """
    from .feedback.command import run_sync
    from .rendering import entity_alerts

    setup_logging(log_level, log_format)
    sys.exit(run_sync(config_path, entity_alerts, output))
