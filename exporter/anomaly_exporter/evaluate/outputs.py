"""Scores as files: what an external judge reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .fleets import Scores

if TYPE_CHECKING:
    import pandas as pd


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


def write(frame: pd.DataFrame, path: Path) -> None:
    """``frame`` as CSV where the name says so, else as Parquet. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)


def of_run(path: Path, model: str, seed: int, *, several: bool) -> Path:
    """The file of one of several runs: `scores.parquet` becomes `scores-auto-0.parquet`."""
    return path.with_name(f"{path.stem}-{model}-{seed}{path.suffix}") if several else path
