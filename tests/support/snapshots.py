"""Snapshots made by hand, for tests of what is rendered from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anomaly_exporter.config import Config
from anomaly_exporter.generations import Entry
from anomaly_exporter.snapshot import Scores
from anomaly_models.frame import EntityKey
from anomaly_models.thresholds import Recent, ThresholdInputs

DAY = 86_400
NOW = 1_800_000_000


def config_of(*targets: Mapping[str, Any], **sections: Any) -> Config:
    """A valid configuration over files; by default with one target called cpu."""
    base = {"name": "cpu", "metric": "cpu", "queries": [{"expr": "x"}], "models": ["zscore"]}
    made = [{**base, **target} for target in targets or [{}]]
    document = {"files": {"path": "series"}, "targets": made, **sections}
    return Config.model_validate(document)


def entry_of(target: str, labels: Mapping[str, str], model: str = "zscore", **fields: Any) -> Entry:
    """The model in force for one entity."""
    values: dict[str, Any] = {
        "pack": "0" * 64,
        "row": 0,
        "threshold": ThresholdInputs(Recent(NOW - DAY, 1.0, 0.1)),
        "data_digest": "1" * 64,
        "trained_at": float(NOW - 600),
        "trained_data_end": NOW - 900,
        "evaluated_at": float(NOW - 500),
    }
    return Entry(entity=EntityKey.of(target, labels), model=model, **{**values, **fields})


def scores_of(entries: Sequence[Entry], features: Sequence[str] = ("value",), **columns: Any) -> Scores:
    """Scores in which row i has error i + 0.5 and threshold 2; ``columns`` replace whole arrays."""
    series, width = len(entries), len(features)
    error = np.arange(series, dtype=np.float32) + np.float32(0.5)
    flat = np.ones((series, width), np.float32)
    values: dict[str, Any] = {
        "owned": np.ones(series, np.bool_),
        "shown": np.ones(series, np.bool_),
        "error": error,
        "threshold": np.full(series, 2.0),
        "score": error / 2,
        "detected": error >= 2,
        "points": np.arange(series),
        "observed": 3 * flat,
        "expected": 2 * flat,
        "lower": flat,
        "upper": 3 * flat,
        "contribution": flat / width,
        "confidence": np.full(series, 0.5),
        "parts": {
            name: np.full(series, 0.25)
            for name in ("previous", "recent", "previous_sigma", "recent_sigma", "weight", "decay")
        },
    }
    return Scores(entries[0].model, tuple(features), tuple(entries), **{**values, **columns})
