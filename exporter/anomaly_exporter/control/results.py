"""The newest scores as a document: metadata and data."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np

from anomaly_exporter.config import Config, Target
from anomaly_exporter.exposition.labels import entity_labels
from anomaly_exporter.snapshot import Scores, TargetView

from . import documents
from .desk import Desk
from .reading import written_time

Row = tuple[float, Target, TargetView, Scores, int]


def newest(
    desk: Desk, *, target: str | None, model: str | None, least: float | None, offset: int, limit: int
) -> documents.Results:
    """Scores of ``target`` and ``model`` (None: of all) that are at least ``least``, the highest first."""
    snapshot, config = desk.snapshot(), desk.config()
    rows: list[Row] = []
    for view in snapshot.views if snapshot else ():
        of = desk.target(view.target)
        if of is not None and target in (None, view.target):
            rows += [row for row in _rows(of, view, model) if least is None or row[0] >= least]
    rows.sort(key=lambda row: -row[0])
    return documents.Results(
        metadata=documents.Metadata(
            generated_at=written_time(time.time()),
            cycle_at=written_time(snapshot.wall) if snapshot else None,
            total=len(rows),
            offset=offset,
            limit=limit,
        ),
        data=[_result(desk, config, row) for row in rows[offset : offset + limit]],
    )


def _rows(target: Target, view: TargetView, model: str | None) -> Iterator[Row]:
    for scores in view.scores:
        if model in (None, scores.model):
            for i in np.flatnonzero(scores.shown & np.isfinite(scores.score)):
                yield float(scores.score[i]), target, view, scores, int(i)


def _result(desk: Desk, config: Config, row: Row) -> documents.Result:
    score, target, view, scores, i = row
    entry = scores.entries[i]
    labels = entity_labels(config, target, entry.entity, entry.model)
    return documents.Result(
        target=target.name,
        labels={name: value for name, value in labels.items() if value},
        at=written_time(desk.clock.to_wall(view.at or 0)),
        score=_rounded(score) or 0.0,
        error=_rounded(scores.error[i]) or 0.0,
        threshold=_rounded(scores.threshold[i]) or 0.0,
        detected=bool(scores.detected[i]),
        features=[
            documents.Feature(
                feature=name,
                observed=_rounded(scores.observed[i, f]),
                expected=_rounded(scores.expected[i, f]),
                lower=_rounded(scores.lower[i, f]),
                upper=_rounded(scores.upper[i, f]),
                contribution=_rounded(scores.contribution[i, f]),
            )
            for f, name in enumerate(scores.features)
        ],
    )


def _rounded(value: float | np.floating[np.typing.NBitBase]) -> float | None:
    """Seven digits, which is what single precision has; None for what is no number."""
    number = float(value)
    return float(f"{number:.7g}") if math.isfinite(number) else None
