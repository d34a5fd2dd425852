"""The comparison as a table for people, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .comparison import FIGURES, Extent, Row, mean

Format = Callable[[float], str]


def _three(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _one(value: float) -> str:
    return f"{value:.1f}"


def _two(value: float) -> str:
    return f"{value:.2f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _short(value: float) -> str:
    return f"{value:.3g}"


def _micro(value: float) -> str:
    return f"{1e6 * value:.3g}"


ALERTS: tuple[tuple[str, str, Format], ...] = (
    ("events found", "event_recall", _three),
    ("false/week", "false_per_week", _two),
    ("delay min", "delay_minutes", _one),
    ("at budget", "event_recall_at_budget", _three),
    ("VUS-PR", "vus_pr", _three),
    ("precision", "precision", _three),
    ("recall", "recall", _three),
    ("F1", "f1", _three),
    ("TP", "true_positive", _count),
    ("FP", "false_positive", _count),
    ("FN", "false_negative", _count),
    ("TN", "true_negative", _count),
    ("above %", "above_ratio", _percent),
    ("mean above", "above_mean", _short),
)
MODELS: tuple[tuple[str, str, Format], ...] = (
    ("MAE", "mae", _short),
    ("RMSE", "rmse", _short),
    ("MASE", "mase", _short),
    ("R2", "r2", _three),
    ("train s", "training_seconds", _short),
    ("score us", "inference_seconds", _micro),
)
LEGEND = (
    "* as configured. events found to TN: alerting at a score of 1. at budget: events found by the one threshold that",
    "the labels would choose to keep the budget. Errors in units of each series' scale.",
)
SPREAD = frozenset({"event_recall", "false_per_week", "event_recall_at_budget", "vus_pr"})
"""Figures whose lowest and highest over the seeds are shown."""


def text(rows: Sequence[Row], baselines: Sequence[Row], extents: Mapping[str, Extent], budget: float) -> str:
    """A paragraph per data set: alerts of the baselines and of every model and threshold, then the models themselves.

    ``rows`` of several seeds are shown as their mean, with the lowest and highest behind where it matters.
    """
    lines: list[str] = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        beside = [row for row in baselines if row.dataset == dataset]
        lines += [_title(dataset, extents.get(dataset), budget, len({row.seed for row in own}))]
        shown = [*beside, *mean(own)]
        cells = [[_name(r), r.threshold, *(_cell(r, own, f, form) for _, f, form in ALERTS)] for r in shown]
        lines += _aligned(["model", "threshold", *(title for title, _, _ in ALERTS)], cells)
        models = [r for r in mean(own) if r.shipped]
        cells = [[r.model, *(_cell(r, own, f, form) for _, f, form in MODELS)] for r in models]
        lines += ["", *_aligned(["model", *(title for title, _, _ in MODELS)], cells), ""]
    return "\n".join([*lines, *LEGEND]) + "\n"


def table(rows: Sequence[Row]) -> str:
    """CSV: a line per row, empty where a figure has no meaning."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["dataset", "model", "threshold", "seed", "shipped", *FIGURES])
    for r in rows:
        seed = "" if r.seed is None else r.seed
        figures = [r.figures.get(name, "") for name in FIGURES]
        writer.writerow([r.dataset, r.model, r.threshold, seed, int(r.shipped), *figures])
    return out.getvalue()


def document(rows: Sequence[Row], baselines: Sequence[Row], extents: Mapping[str, Extent], budget: float) -> Any:
    """Everything, for ``--output json``."""
    return {
        "budget_per_week": budget,
        "datasets": {n: {"entities": e.entities, "events": e.events, "weeks": e.weeks} for n, e in extents.items()},
        "rows": [_plain(r) for r in rows],
        "baselines": [_plain(r) for r in baselines],
    }


def _plain(r: Row) -> dict[str, Any]:
    about = {"dataset": r.dataset, "model": r.model, "threshold": r.threshold, "seed": r.seed, "shipped": r.shipped}
    return {**about, **r.figures}


def _title(dataset: str, extent: Extent | None, budget: float, seeds: int) -> str:
    runs = f", mean of {seeds} seeds [lowest highest]" if seeds > 1 else ""
    if extent is None:
        return f"{dataset}: no labels{runs}"
    about = f"{extent.entities} entities, {extent.events} events, {extent.weeks:.1f} entity-weeks"
    return f"{dataset}: {about}; budget {budget:g} false per entity and week{runs}"


def _name(row: Row) -> str:
    return f"{row.model} *" if row.shipped else row.model


def _cell(row: Row, own: Sequence[Row], figure: str, form: Format) -> str:
    if figure not in row.figures:
        return ""
    same = [r for r in own if (r.model, r.threshold) == (row.model, row.threshold)] if figure in SPREAD else []
    values = [r.figures[figure] for r in same if figure in r.figures]
    if len(values) < 2:
        return form(row.figures[figure])
    return f"{form(row.figures[figure])} [{form(min(values))} {form(max(values))}]"


def _aligned(head: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side: words to the left, numbers to the right; columns without a value are left out."""
    used = [i for i in range(len(head)) if any(row[i] for row in cells)]
    widths = {i: max(len(row[i]) for row in [head, *cells]) for i in used}
    words = {"model", "threshold"}
    return [
        "  "
        + "  ".join(row[i].ljust(widths[i]) if head[i] in words else row[i].rjust(widths[i]) for i in used).rstrip()
        for row in [head, *cells]
    ]
