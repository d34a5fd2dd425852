"""The command line: names, flags and help. Every body lives in the module of its command and returns an exit code.

Bodies are imported when their command runs, so that ``serve`` never pays for what only training needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from . import __version__
from .cli_feedback import feedback
from .cli_models import models, tune
from .cli_options import config_option, log_options
from .config import ConfigError, load
from .logging_setup import setup_logging

EXIT_CONFIG, EXIT_STORE = 2, 5
DEFAULT_LISTEN = ":8345"

EXIT_CODES = """
\b
Exit codes:
  0    done
  2    the configuration or the command line is wrong
  3    the source of samples cannot be reached
  4    nothing could be trained or scored
  5    the store cannot be written
  130  stopped by a signal
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="anomaly-exporter")
def cli() -> None:
    """Learn every series with small autoencoders; expose reconstruction error, adaptive threshold and score.

    \b
    Example:
      anomaly-exporter serve --config config.yaml
    """


@cli.command()
@config_option
@click.option(
    "--web.listen-address",
    "listen",
    multiple=True,
    default=(DEFAULT_LISTEN,),
    show_default=True,
    help="Address to listen on, host:port or :port; repeatable.",
)
@click.option(
    "--web.telemetry-path", "telemetry_path", default="/metrics", show_default=True, help="Path of the metrics."
)
@click.option(
    "--shard",
    default="0/1",
    show_default=True,
    envvar="ANOMALY_EXPORTER_SHARD",
    show_envvar=True,
    help="Score only part i of n of the entities, as i/n; auto/n takes i from the end of the host name (StatefulSet).",
)
@log_options
def serve(
    config_path: Path, listen: tuple[str, ...], telemetry_path: str, shard: str, log_level: str, log_format: str
) -> None:
    """Score every series once per interval, expose the gauges, retrain in a child process.

    \b
    Example:
      anomaly-exporter serve -c config.yaml --web.listen-address=:8345 --log.format=json
    """
    from .serve import run

    setup_logging(log_level, log_format)
    sys.exit(run(config_path, listen, telemetry_path, shard))


@cli.command()
@config_option
@click.option(
    "--target",
    default=None,
    envvar="ANOMALY_EXPORTER_TARGET",
    show_envvar=True,
    help="Name of the target to train; one after the other all of them when left out.",
)
@click.option("--model", default=None, help="Train only this model of the target; all of them when left out.")
@click.option(
    "--shard",
    default="0/1",
    show_default=True,
    envvar="ANOMALY_EXPORTER_SHARD",
    show_envvar=True,
    help="Train only part i of n of the entities, as i/n; auto/n takes i from JOB_COMPLETION_INDEX (Indexed Job).",
)
@click.option(
    "--override",
    default=None,
    metavar="JSON",
    envvar="ANOMALY_EXPORTER_OVERRIDE",
    show_envvar=True,
    help="What this training does differently: model, parameters (keys of a model), training (keys of the section).",
)
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Progress for people, or one JSON event per line.",
)
@log_options
def train(
    config_path: Path,
    target: str | None,
    model: str | None,
    shard: str,
    override: str | None,
    output: str,
    log_level: str,
    log_format: str,
) -> None:
    """Read what is new, fit the models of targets, put new generations in force.

    \b
    Example:
      anomaly-exporter train -c config.yaml --target kube-eagle-cpu
      anomaly-exporter train -c config.yaml --target kube-eagle-cpu --override '{"parameters": {"epochs": 60}}'
    """
    from .train import run

    setup_logging(log_level, log_format)
    sys.exit(run(config_path, target, model=model, shard=shard, override=override, output=output))


@cli.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder with segments.csv and the series as Parquet.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Parquet or CSV file for the scores; of several runs each gets its own.",
)
@click.option("--config", "-c", "config_path", type=click.Path(path_type=Path, dir_okay=False), default=None)
@click.option(
    "--model",
    default="auto",
    show_default=True,
    help="Recipes or models of the configuration, comma-separated; all = every one.",
)
@click.option("--datasets", default=None, help="Comma-separated sets; all when left out.")
@click.option("--entities", default=None, help="Comma-separated entities; all when left out.")
@click.option("--seed", type=int, default=None, help="First seed of the training, instead of the model's own.")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs of every model.")
@click.option(
    "--per-feature", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Also write feature errors."
)
@click.option(
    "--baselines",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="CSV with figures of other detectors, to stand beside ours.",
)
@click.option(
    "--table", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Also write the comparison as CSV."
)
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder for a picture (SVG) around every labelled event.",
)
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="A table for people, or JSON.",
)
@log_options
def evaluate(
    data: Path,
    out: Path | None,
    config_path: Path | None,
    model: str,
    datasets: str | None,
    entities: str | None,
    seed: int | None,
    seeds: int,
    per_feature: Path | None,
    baselines: Path | None,
    table: Path | None,
    plots: Path | None,
    output: Literal["text", "json"],
    log_level: str,
    log_format: str,
) -> None:
    """Fit on the train part of labelled series, walk the test part causally, compare models and thresholds.

    \b
    Example:
      anomaly-exporter evaluate --data series/ --model auto,cnn_lstm,zscore --seeds 3 --baselines baselines.csv
      anomaly-exporter evaluate --data series/ --out scores.parquet --plots pictures/
    """
    from .evaluate import Request, run

    setup_logging(log_level, log_format)
    wanted = Request(
        data=data,
        out=out,
        config_path=config_path,
        model=model,
        datasets=datasets.split(",") if datasets else None,
        entities=entities.split(",") if entities else None,
        seed=seed,
        seeds=seeds,
        per_feature=per_feature,
        baselines=baselines,
        table=table,
        plots=plots,
        output=output,
    )
    sys.exit(run(wanted))


@cli.command()
@click.argument("kind", type=click.Choice(["rules", "alertmanager", "alertmanagerconfig"]))
@config_option
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["crd", "plain"]),
    default="crd",
    show_default=True,
    help="rules: a PrometheusRule object, or a plain rule file.",
)
@click.option("--namespace", default=None, help="Namespace of the exporter, and of the objects.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    help="metadata.labels of the object, such as release=kube-prometheus-stack; repeatable.",
)
@click.option(
    "--ranked",
    is_flag=True,
    help="rules: next steps by how often people said that they fixed something; reads the store.",
)
def render(
    kind: str, config_path: Path, output_format: str, namespace: str | None, labels: tuple[str, ...], ranked: bool
) -> None:
    """Print what Prometheus and Alertmanager need, from the same file.

    \b
    Example:
      anomaly-exporter render rules -c config.yaml --label release=kube-prometheus-stack | kubectl apply -f -
      anomaly-exporter render alertmanager -c config.yaml > alertmanager.yaml
      anomaly-exporter render alertmanagerconfig -c config.yaml --namespace monitoring | kubectl apply -f -
    """
    from .blobs import BlobError
    from .feedback.remedies import with_ranked_remedies
    from .rendering import render_text

    if wrong := [x for x in labels if "=" not in x]:
        raise click.BadParameter(f"expected NAME=VALUE, received {wrong[0]!r}", param_hint="--label")
    pairs = dict(x.split("=", 1) for x in labels)
    config = _config(config_path)
    try:
        if ranked:
            config = with_ranked_remedies(config)
        text = render_text(kind, config, output_format, namespace=namespace, labels=pairs)
    except ConfigError as error:
        click.echo(f"{config_path}: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    except BlobError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_STORE)
    click.echo(text, nl=False)


@cli.group()
def jobs() -> None:
    """Trainings as Jobs of Kubernetes (launcher.kind kubernetes): list them, and ask for one.

    \b
    Example:
      anomaly-exporter jobs list -c config.yaml
      anomaly-exporter jobs start -c config.yaml --target kube-eagle-cpu
    """


job_target_option = click.option("--target", default=None, help="Name of the target; all targets when left out.")
job_namespace_option = click.option("--namespace", default=None, help="Namespace of the CronJob.")


@jobs.command("list")
@config_option
@job_namespace_option
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def jobs_list(config_path: Path, namespace: str | None, output: str) -> None:
    """Print the Jobs that there are, oldest first.

    \b
    Example:
      anomaly-exporter jobs list -c config.yaml --namespace monitoring
    """
    from .launch.command import run_list

    sys.exit(run_list(config_path, namespace, output))


def _job_request(name: str, summary: str) -> None:
    """A command of the group ``jobs`` that passes one request on."""

    @jobs.command(
        name, help=f"{summary}\n\n\b\nExample:\n  anomaly-exporter jobs {name} -c config.yaml --target kube-eagle-cpu"
    )
    @config_option
    @job_namespace_option
    @job_target_option
    def command(config_path: Path, namespace: str | None, target: str | None) -> None:
        from .launch.command import run_request

        sys.exit(run_request(name, config_path, namespace, target))


_job_request("start", "Make a Job of the CronJob's template, unless one runs already.")
_job_request("suspend", "Suspend Jobs: their pods end, their finished indexes stay finished.")
_job_request("resume", "Let suspended Jobs go on with the indexes that are left.")
_job_request("delete", "Delete Jobs that are not finished, and their pods; what they put in force stays.")


@cli.group()
def history() -> None:
    """Stored history as a CSV table and back.

    \b
    Example:
      anomaly-exporter history export -c config.yaml --target kube-eagle-cpu --out cpu.csv
    """


@history.command("export")
@config_option
@click.option("--target", required=True, help="Name of the target.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="CSV table to write.")
@log_options
def history_export(config_path: Path, target: str, out: Path, log_level: str, log_format: str) -> None:
    """Write what is kept of a target: timestamp, its labels, a column per feature; an empty cell is missing.

    \b
    Example:
      anomaly-exporter history export -c config.yaml --target kube-eagle-cpu --out cpu.csv
    """
    from .archive import run_export

    setup_logging(log_level, log_format)
    sys.exit(run_export(config_path, target, out))


@history.command("load")
@config_option
@click.option("--target", required=True, help="Name of the target.")
@click.option(
    "--table", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True, help="CSV table to read."
)
@log_options
def history_load(config_path: Path, target: str, table: Path, log_level: str, log_format: str) -> None:
    """Append a table to the history of a target, so that training can begin with it.

    \b
    Example:
      anomaly-exporter history load -c config.yaml --target kube-eagle-cpu --table cpu.csv
    """
    from .archive import run_load

    setup_logging(log_level, log_format)
    sys.exit(run_load(config_path, target, table))


@cli.command()
@config_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write (JSON).")
@log_options
def seed(config_path: Path, out: Path, log_level: str, log_format: str) -> None:
    """Write the shared models of all targets as one file that others start with (`store.seed`).

    A sidecar, or an exporter in another cluster, with the very same targets then scores new series within minutes,
    before it has any history to learn from. The file is JSON and fits a ConfigMap.

    \b
    Example:
      anomaly-exporter seed -c config.yaml --out seed.json
      kubectl create configmap anomaly-exporter-seed --from-file=seed.json
    """
    setup_logging(log_level, log_format)
    from .seeding import run

    sys.exit(run(config_path, out))


@cli.command()
@config_option
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="A table for people, or one JSON document.",
)
@log_options
def plan(config_path: Path, output: str, log_level: str, log_format: str) -> None:
    """Ask Prometheus what this configuration would find and cost; nothing is trained, scored or stored.

    \b
    Example:
      anomaly-exporter plan -c config.yaml --output json
    """
    from .plan import run

    setup_logging(log_level, log_format)
    sys.exit(run(config_path, output))


@cli.command("check-config")
@config_option
def check_config(config_path: Path) -> None:
    """Validate a configuration and say what it watches; nothing is contacted.

    \b
    Example:
      anomaly-exporter check-config -c config.yaml
    """
    config = _config(config_path)
    click.echo(f"{config_path}: valid, {len(config.targets)} targets")
    for target in config.targets:
        features = ", ".join(target.features)
        click.echo(f"  {target.name}: {features} every {target.step} s, models {', '.join(target.models)}")


@cli.command()
@click.option("--once", is_flag=True, help="End after the mail: exit 0 when it came, non-zero with the reason if not.")
@click.option(
    "--replay",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=None,
    help="Replay labelled series from this folder instead of the simulator.",
)
@click.option("--dataset", default="nezha_ob", show_default=True, help="Set to replay.")
@log_options
def demo(once: bool, replay: Path | None, dataset: str, log_level: str, log_format: str) -> None:
    """Run the whole loop on this machine: history, training, scoring, an incident, an alert, a mail.

    \b
    Example:
      anomaly-exporter demo --once
    """
    from .demo import run

    setup_logging(log_level, log_format)
    sys.exit(run(once=once, replay=replay, dataset=dataset))


cli.add_command(feedback)
cli.add_command(models)
cli.add_command(tune)


def _config(path: Path) -> Any:
    """The configuration at ``path``, or a message and exit code 2."""
    try:
        return load(path).config
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CONFIG)


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="anomaly-exporter")
