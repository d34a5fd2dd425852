"""The page of the gauges: at most ten samples per entity with one feature, nothing that is not a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Final

import numpy as np

from anomaly_exporter.config import Config
from anomaly_exporter.metrics import ENTITY, MetricSpec
from anomaly_exporter.snapshot import Snapshot

from .labels import Labels
from .page import Page, Text
from .samples import lines
from .state import SHAPE, shape_lines

COLUMNS: Final[Mapping[str, str]] = {
    "anomaly_reconstruction_error": "error",
    "anomaly_threshold": "threshold",
    "anomaly_score": "score",
    "anomaly_detected": "detected",
    "anomaly_points_total": "points",
    "anomaly_observed_value": "observed",
    "anomaly_expected_value": "expected",
    "anomaly_expected_lower": "lower",
    "anomaly_expected_upper": "upper",
    "anomaly_contribution_ratio": "contribution",
}
"""Which array of :class:`Scores` a metric shows."""


def render_metrics(snapshot: Snapshot, config: Config, labels: Labels) -> Page:
    """The entity part of ``/metrics``."""
    text = Text()
    for spec in ENTITY:
        if not spec.switch or getattr(config.exposition, spec.switch):
            made = shape_lines(snapshot, labels) if spec.name == SHAPE else _chunks(spec, snapshot, labels)
            text.family(spec.name, spec.kind, spec.help, made)
    return text.page()


def _chunks(spec: MetricSpec, snapshot: Snapshot, labels: Labels) -> Iterator[tuple[str, int]]:
    column = attrgetter(COLUMNS[spec.name])
    for view in snapshot.views:
        for scores in view.scores:
            if spec.multivariate and len(scores.features) < 2:
                continue
            if spec.labels:
                texts = labels.of_features(view.target, scores.entries, scores.features)
                shown = np.repeat(scores.shown, len(scores.features))
            else:
                texts, shown = labels.of(view.target, scores.entries), scores.shown
            yield lines(spec.name, texts, np.ravel(column(scores)), shown)
