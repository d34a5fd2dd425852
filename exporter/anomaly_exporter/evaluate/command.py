"""The command's body: read, fit, walk, write.

Exit codes: 0 done, 2 wrong options or data, 4 nothing could be scored, 5 the scores cannot be written.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from anomaly_exporter import specs
from anomaly_exporter.config import Alerting, Config, ConfigError, Model, Threshold, Training, load
from anomaly_exporter.config.models import RECIPES
from anomaly_models.alerting import AlertSpec
from anomaly_models.model_spec import ModelSpec
from anomaly_models.training import Plan

from .data import DataError, read
from .fleets import Scores, fleets, score

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

EXIT_OK, EXIT_CONFIG, EXIT_NOTHING, EXIT_STORE = 0, 2, 4, 5


@dataclass(frozen=True)
class Method:
    """What is judged: how to train and when to alert."""

    plan: Plan
    alert: AlertSpec


def run(
    data: Path,
    out: Path,
    *,
    config_path: Path | None = None,
    model: str = "fc",
    datasets: Collection[str] | None = None,
    entities: Collection[str] | None = None,
    seed: int | None = None,
    per_feature: Path | None = None,
) -> int:
    """Score the test parts of ``data`` and write dataset, entity, timestamp, score to ``out``; the exit code.

    The score is the alerting score: 1 and above alerts. ``per_feature`` also gets a column ``metric``. The default
    configuration is used where there is no ``config_path``.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    began = time.monotonic()
    try:
        method = method_of(load(config_path).config if config_path else None, model, seed)
        scores = _all_scores(data, method, datasets, entities, _progress(sys.stderr))
    except (ConfigError, DataError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error}: evaluate needs extras (pip install 'anomaly-exporter[train-cpu]')\n")
        return EXIT_CONFIG
    if not scores:
        sys.stderr.write(f"{data}: no series to score\n")
        return EXIT_NOTHING
    for s in scores:
        if s.note:
            log.warning("fell back", extra={"dataset": s.series.dataset, "entity": s.series.entity, "note": s.note})
    try:
        _write(table(scores), out)
        if per_feature:
            _write(feature_table(scores), per_feature)
    except OSError as error:
        sys.stderr.write(f"{out}: cannot be written: {error}\n")
        return EXIT_STORE
    rows = sum(s.alerting.size for s in scores)
    log.info(
        "evaluated",
        extra={"entities": len(scores), "rows": rows, "seconds": round(time.monotonic() - began, 1), "out": str(out)},
    )
    return EXIT_OK


def method_of(config: Config | None, model: str, seed: int | None) -> Method:
    """The method that ``config`` (None: the defaults) and the options name. Raises ConfigError for an unknown model."""
    try:
        section = config.model(model) if config else Model.model_validate({"recipe": model})
    except (KeyError, ValueError) as error:
        known = ", ".join(sorted({*RECIPES, *(config.models if config else ())}))
        raise ConfigError(f"--model: expected one of {known}, received {model!r}") from error
    training, threshold, alerting = (
        (config.training, config.threshold, config.alerting) if config else (Training(), Threshold(), Alerting())
    )
    spec = ModelSpec(**section.model_dump())
    if seed is not None:
        spec = replace(spec, seed=seed)
    steps = specs.persistence(alerting, threshold, section)
    plan = Plan(
        model=spec,
        cleaning=specs.clean(training, 0, spec.seed),
        threshold=specs.threshold(threshold),
        split=training.split,
        persistence=steps,
    )
    return Method(plan, specs.alert(alerting, steps))


def table(scores: Sequence[Scores]) -> pd.DataFrame:
    """dataset, entity, timestamp, score: a row per test timestamp."""
    import pandas as pd  # noqa: PLC0415  an extra; the other commands do without

    return pd.concat(
        [
            pd.DataFrame(
                {
                    "dataset": s.series.dataset,
                    "entity": s.series.entity,
                    "timestamp": s.series.test_times,
                    "score": s.alerting,
                }
            )
            for s in scores
        ],
        ignore_index=True,
    )


def feature_table(scores: Sequence[Scores]) -> pd.DataFrame:
    """dataset, entity, metric, timestamp, score: a row per test timestamp and feature."""
    import pandas as pd  # noqa: PLC0415

    return pd.concat(
        [
            pd.DataFrame(
                {
                    "dataset": s.series.dataset,
                    "entity": s.series.entity,
                    "metric": np.repeat(np.array(s.series.features, object), s.series.test_times.size),
                    "timestamp": np.tile(s.series.test_times, len(s.series.features)),
                    "score": s.feature_score.T.ravel(),
                }
            )
            for s in scores
        ],
        ignore_index=True,
    )


def _all_scores(
    data: Path,
    method: Method,
    datasets: Collection[str] | None,
    entities: Collection[str] | None,
    progress: Callable[[str], None],
) -> list[Scores]:
    out: list[Scores] = []
    for series in read(data, datasets, entities):
        done = 0
        for plan, fleet in fleets(series, method.plan):
            name = f"{fleet[0].dataset} {done}/{len(series)}"

            def epoch(said: Any, name: str = name) -> None:
                progress(f"{name}: epoch {said.epoch} of {said.epochs}, {said.live} of {said.rows} learning")

            progress(f"{name}: fitting {len(fleet)} entities of {len(fleet[0].features)} metrics")
            out += score(plan, method.alert, fleet, epoch)
            done += len(fleet)
            gc.collect()
    progress("")
    return out


def _progress(stream: TextIO) -> Callable[[str], None]:
    """One line that is written over on a terminal; silence elsewhere."""
    live = stream.isatty()

    def show(text: str) -> None:
        if live:
            stream.write(f"\r\x1b[K{text}")
            stream.flush()

    return show


def _write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
