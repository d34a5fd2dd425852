"""The command's body: read, fit, walk, write, compare.

Exit codes: 0 done, 2 wrong options or data, 4 nothing could be scored, 5 a file cannot be written.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from anomaly_exporter.config import Config, ConfigError, load
from anomaly_models.judging import Truth

from . import outputs, report
from .baselines import read_baselines
from .comparison import Extent, Row, compare
from .data import DataError, Series, read
from .fleets import Scores, fleets, score
from .labels import Labels, read_labels
from .methods import Method, methods_of
from .plots import write_index, write_plots

log = logging.getLogger(__name__)

EXIT_OK, EXIT_CONFIG, EXIT_NOTHING, EXIT_STORE = 0, 2, 4, 5


@dataclass(frozen=True)
class Request:
    """What to read, what to fit, what to write.

    ``model``: names separated by commas, or `all`. ``seeds``: runs of every model, the first with ``seed`` (None: the
    model's own). Of several runs each gets a file of its own beside ``out`` and ``per_feature``. ``plots``: a folder
    for pictures of the first run. The default configuration is used where there is no ``config_path``.
    """

    data: Path
    out: Path | None = None
    config_path: Path | None = None
    model: str = "auto"
    datasets: Collection[str] | None = None
    entities: Collection[str] | None = None
    seed: int | None = None
    seeds: int = 1
    per_feature: Path | None = None
    baselines: Path | None = None
    table: Path | None = None
    plots: Path | None = None
    output: Literal["text", "json"] = "text"


@dataclass(frozen=True)
class Judged:
    """Rows of every run on every data set, what they were judged on, the budget, and how many entities were scored."""

    rows: list[Row]
    extents: dict[str, Extent]
    budget: float
    scored: int


def run(wanted: Request) -> int:
    """Score the test parts of ``wanted.data`` with every model and print the comparison; the exit code.

    The score in the files is the alerting score: 1 and above alerts. ``per_feature`` also gets a column ``metric``.
    Labels, where there are any, are read for judging and pictures only.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    began = time.monotonic()
    try:
        config = load(wanted.config_path).config if wanted.config_path else None
        methods = methods_of(config, wanted.model, wanted.seed, wanted.seeds)
        labels = read_labels(wanted.data)
        read_baselines(wanted.baselines, ()) if wanted.baselines else None
        judged = _judge(wanted, methods, labels, config)
        beside = read_baselines(wanted.baselines, judged.extents) if wanted.baselines else []
        _print(wanted, judged, beside)
    except (ConfigError, DataError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error}: evaluate needs extras (pip install 'anomaly-exporter[train-cpu]')\n")
        return EXIT_CONFIG
    except OSError as error:
        sys.stderr.write(f"{error.filename or wanted.out}: cannot be written: {error}\n")
        return EXIT_STORE
    if not judged.scored:
        sys.stderr.write(f"{wanted.data}: no series to score\n")
        return EXIT_NOTHING
    about = {"entities": judged.scored, "runs": len(methods), "seconds": round(time.monotonic() - began, 1)}
    log.info("evaluated", extra=about | ({"out": str(wanted.out)} if wanted.out else {}))
    return EXIT_OK


def _judge(wanted: Request, methods: Sequence[Method], labels: Labels | None, config: Config | None) -> Judged:
    """Run every method over everything, writing scores and pictures on the way. Raises DataError, OSError."""
    rows: list[Row] = []
    extents: dict[str, Extent] = {}
    scored = 0
    for number, method in enumerate(methods):
        everything: list[Scores] = []
        for series in read(wanted.data, wanted.datasets, wanted.entities):
            scores = _scores(series, method, f"{method.name} {number + 1}/{len(methods)}")
            if not scores:
                continue
            dataset = scores[0].series.dataset
            truths = [labels.truth(s.series) for s in scores] if labels else None
            if truths is not None:
                extents[dataset] = Extent.of(truths)
            rows += compare(method, scores, truths, method.plan.threshold.floor)
            if wanted.plots and number == 0:
                _draw(wanted.plots, method, scores, truths)
            if wanted.out or wanted.per_feature:
                everything += scores
            scored += len(scores)
        _write(wanted, method, everything, several=len(methods) > 1)
    return Judged(rows, extents, methods[0].budget, scored)


def _scores(series: Sequence[Series], method: Method, run_: str) -> list[Scores]:
    """Scores of one data set; says of which entities another model had to be taken."""
    progress = _progress(sys.stderr)
    out: list[Scores] = []
    for plan, fleet in fleets(series, method.plan):
        name = f"{run_} {fleet[0].dataset} {len(out)}/{len(series)}"

        def epoch(said: Any, name: str = name) -> None:
            progress(f"{name}: epoch {said.epoch} of {said.epochs}, {said.live} of {said.rows} learning")

        progress(f"{name}: fitting {len(fleet)} entities of {len(fleet[0].features)} metrics")
        out += score(plan, method.alert_of(fleet[0].step), fleet, epoch)
        gc.collect()
    progress("")
    for s in out:
        if s.note:
            about = {"dataset": s.series.dataset, "entity": s.series.entity, "model": method.name, "note": s.note}
            log.warning("fell back", extra=about)
    return out


def _draw(folder: Path, method: Method, scores: Sequence[Scores], truths: Sequence[Truth] | None) -> None:
    if truths is None:
        raise DataError("--plots: pictures are drawn around labelled events, but there is no labels.csv")
    count = write_plots(folder, method.name, scores, truths)
    write_index(folder)
    log.info("drawn", extra={"dataset": scores[0].series.dataset, "events": count, "folder": str(folder)})


def _write(wanted: Request, method: Method, scores: Sequence[Scores], *, several: bool) -> None:
    """The score files of one run."""
    if not scores:
        return
    for path, make in ((wanted.out, outputs.table), (wanted.per_feature, outputs.feature_table)):
        if path:
            outputs.write(make(scores), outputs.of_run(path, method.name, method.seed, several=several))


def _print(wanted: Request, judged: Judged, beside: Sequence[Row]) -> None:
    if wanted.table:
        wanted.table.parent.mkdir(parents=True, exist_ok=True)
        wanted.table.write_text(report.table([*beside, *judged.rows]), encoding="utf-8")
    if not judged.rows:
        return
    if wanted.output == "json":
        sys.stdout.write(
            json.dumps(report.document(judged.rows, beside, judged.extents, judged.budget), indent=2) + "\n"
        )
    else:
        sys.stdout.write(report.text(judged.rows, beside, judged.extents, judged.budget))


def _progress(stream: TextIO) -> Callable[[str], None]:
    """One line that is written over on a terminal; silence elsewhere."""
    live = stream.isatty()

    def show(text: str) -> None:
        if live:
            stream.write(f"\r\x1b[K{text}")
            stream.flush()

    return show
