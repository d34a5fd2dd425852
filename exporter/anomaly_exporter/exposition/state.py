"""What stands beside the scores: shape of what departs, slopes, time to limits, changes of regime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from anomaly_exporter.snapshot import Scores, Snapshot
from anomaly_models import shapes

from .labels import Labels, extended
from .samples import lines

F64 = npt.NDArray[np.float64]
SHAPE: Final = "anomaly_shape"


def shape_lines(snapshot: Snapshot, labels: Labels) -> Iterator[tuple[str, int]]:
    """``anomaly_shape`` 1 of every series that departs, with the one shape it has."""
    for view in snapshot.views:
        for scores in view.scores:
            if scores.shape is None:
                continue
            rows = np.flatnonzero(scores.shown & scores.detected & (scores.shape >= 0))
            if rows.size:
                texts = labels.of(view.target, scores.entries)
                named = [extended(texts[i], f'shape="{shapes.NAMES[scores.shape[i]]}"') for i in rows]
                yield lines(SHAPE, named, np.ones(rows.size, np.int64), np.ones(rows.size, np.bool_))


def _above_one(level: npt.NDArray[np.float32]) -> F64:
    """``level`` where there is one: 1 is none."""
    return np.where(level > 1, level.astype(np.float64), np.nan)


PER_SERIES: Final[Mapping[str, Callable[[Scores], npt.NDArray[Any] | None]]] = {
    "anomaly_since_timestamp_seconds": lambda s: s.since,
    "anomaly_regime_changed_timestamp_seconds": lambda s: s.regime,
    "anomaly_regime_threshold_ratio": lambda s: None if s.provisional is None else _above_one(s.provisional),
}
"""Numbers [S] of a metric on the detail page, NaN where there is none."""
PER_FEATURE: Final[Mapping[str, Callable[[Scores], npt.NDArray[Any] | None]]] = {
    "anomaly_trend_per_second": lambda s: s.slope,
    "anomaly_seconds_to_limit": lambda s: s.seconds_to_limit,
}
"""The same for metrics of features, [S, F]."""


def detail_lines(name: str, snapshot: Snapshot, labels: Labels) -> Iterator[tuple[str, int]]:
    """Samples of a metric of :data:`PER_SERIES` or :data:`PER_FEATURE`."""
    for view in snapshot.views:
        for scores in view.scores:
            values = (PER_SERIES.get(name) or PER_FEATURE[name])(scores)
            if values is None:
                continue
            if name in PER_SERIES:
                yield lines(name, labels.of(view.target, scores.entries), values, scores.shown)
            else:
                texts = labels.of_features(view.target, scores.entries, scores.features)
                yield lines(name, texts, np.ravel(values), np.repeat(scores.shown, len(scores.features)))
