"""Figures of other detectors, judged elsewhere by the same rules, to stand beside ours.

A CSV file with the columns method and dataset, and any of: vus_pr, er_theta (events found at the shipped threshold),
false_wk_theta (false notifications per entity and week there), delay_theta_min, er_pool (events found at the budget).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from .comparison import Row
from .data import DataError

COLUMNS = {
    "vus_pr": "vus_pr",
    "er_theta": "event_recall",
    "false_wk_theta": "false_per_week",
    "delay_theta_min": "delay_minutes",
    "er_pool": "event_recall_at_budget",
}
"""Column of the file -> figure of a row."""


def read_baselines(path: Path, datasets: Collection[str]) -> list[Row]:
    """The rows of ``datasets`` in the file at ``path``, the best at the budget first.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    import pandas as pd  # noqa: PLC0415  an extra; the other commands do without

    try:
        table = pd.read_csv(path, dtype={"dataset": str, "method": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if missing := [c for c in ("method", "dataset") if c not in table]:
        raise DataError(f"{path}: the columns {', '.join(missing)} are missing")
    rows = []
    for found in table[table.dataset.isin(list(datasets))].to_dict("records"):
        figures = {figure: found.get(column) for column, figure in COLUMNS.items()}
        known = {n: float(v) for n, v in figures.items() if isinstance(v, int | float) and np.isfinite(v)}
        rows.append(Row(str(found["dataset"]), str(found["method"]), "", None, False, known))
    return sorted(rows, key=lambda r: (r.dataset, -r.figures.get("event_recall_at_budget", 0.0), r.model))
