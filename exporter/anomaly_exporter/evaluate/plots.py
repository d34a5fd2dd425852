"""A picture around every labelled event: the series with the expected band, error and threshold, score and members."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from anomaly_models.frame import F32
from anomaly_models.judging import Interval, Truth

from .comparison import SHIPPED
from .fleets import Fitted, Scores
from .svg import Line, Panel, chart

MOST_FEATURES = 3
"""Features that are drawn: those that the score blames most inside the event."""
AROUND = 90
"""Fewest steps drawn before and after an event; half of its length where that is more."""
BLUE, ORANGE, RED, GREEN = "#1f5fa8", "#c96a12", "#b3261e", "#2e7d32"


def write_plots(folder: Path, model: str, scores: Sequence[Scores], truths: Sequence[Truth]) -> int:
    """An SVG per event below ``folder``, and an `index.html` that shows them all; the number of events.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    for s, truth in zip(scores, truths, strict=True):
        for event in truth.events if s.fitted else ():
            name = f"{s.series.dataset}-{_plain(s.series.entity)}-{event.start}.svg"
            (folder / name).write_text(picture(model, s, truth, event), encoding="utf-8")
            names.append(name)
    return len(names)


def write_index(folder: Path) -> None:
    """`index.html` over all pictures of ``folder``. Raises OSError."""
    names = sorted(path.name for path in folder.glob("*.svg"))
    images = "\n".join(f'<p><img loading="lazy" alt="{escape(n)}" src="{escape(n)}"></p>' for n in names)
    head = '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Labelled events</title>\n<body>\n'
    (folder / "index.html").write_text(f"{head}{images}\n</body></html>\n", encoding="utf-8")


def picture(model: str, s: Scores, truth: Truth, event: Interval) -> str:
    """SVG of ``event``, which must be one of ``truth``."""
    fitted = s.fitted
    if fitted is None:
        raise ValueError(f"{s.series.entity} has no fitted model to draw")
    rows = _rows(truth, event)
    times = truth.times[rows]
    inside = (times >= event.start) & (times <= event.end)
    panels = [_feature(s, fitted, rows, f) for f in _blamed(s.feature_score[rows][inside])]
    panels.append(
        Panel(
            "reconstruction error",
            (
                Line("error", fitted.error[rows], BLUE),
                Line("threshold", fitted.threshold[rows], RED, dashed=True),
            ),
        )
    )
    limit = Line("1 = alert", np.full(times.size, SHIPPED), RED, dashed=True)
    alerted = Line("alerting score", s.alerting[rows], BLUE)
    panels.append(Panel("score", (alerted, limit), decades=True))
    if fitted.members is not None:
        colors = (BLUE, ORANGE, GREEN, "#6a3d9a", "#7a7a7a", RED)
        members = tuple(
            Line(name, fitted.members[rows, m], colors[m % len(colors)]) for m, name in enumerate(fitted.member_names)
        )
        panels.append(Panel("members, decades of rarity (0 = once a week)", members))
    state = "found" if _found(s, truth, event) else "missed"
    return chart(f"{s.series.dataset} / {s.series.entity}: {model}, {state}", times, panels, [event])


def _rows(truth: Truth, event: Interval) -> slice:
    around = max(AROUND * truth.step, (event.end - event.start) // 2)
    first, last = np.searchsorted(truth.times, [event.start - around, event.end + around])
    return slice(int(first), max(int(last), int(first) + 2))


def _found(s: Scores, truth: Truth, event: Interval) -> bool:
    first, last = truth.reach[truth.events.index(event)].tolist()
    return bool((s.alerting[first:last] >= SHIPPED).any())


def _blamed(feature_score: F32) -> list[int]:
    """Features with the highest mean score, at most MOST_FEATURES, most blamed first."""
    order = np.argsort(-feature_score.mean(axis=0), kind="stable") if feature_score.size else np.arange(1)
    return [int(f) for f in order[:MOST_FEATURES]]


def _feature(s: Scores, fitted: Fitted, rows: slice, f: int) -> Panel:
    at = s.series.test_rows[rows]
    there = (at >= 0) & (at < len(s.series.values))
    observed = np.where(there, s.series.values[np.where(there, at, 0), f], np.nan)
    expected = fitted.expected[rows, f]
    margin = fitted.threshold[rows] * fitted.scale[f]
    title = s.series.features[f] + ("" if fitted.members is None else " (band: of the autoencoder alone)")
    lines = Line("observed", observed, BLUE), Line("expected", expected, ORANGE, dashed=True)
    return Panel(title, lines, (expected - margin, expected + margin), height=120)


def _plain(name: str) -> str:
    """``name`` as part of a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
