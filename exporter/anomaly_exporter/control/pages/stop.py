"""The page that stops trainings."""

from __future__ import annotations

from collections.abc import Mapping

from anomaly_exporter.control import documents, trainings
from anomaly_exporter.control.desk import Desk

from . import html
from .html import Note, Viewer
from .overview import moment, status
from .train import chosen_targets


def show(desk: Desk, viewer: Viewer, fields: Mapping[str, list[str]], notes: list[Note]) -> bytes:
    """What runs, the targets of ``fields`` first, each with a button."""
    chosen = chosen_targets(desk, fields)
    everything = trainings.listed(desk).trainings
    active = [t for t in everything if t.state == "running" or t.requested]
    active.sort(key=lambda training: training.target not in chosen)
    idle = [t for t in everything if t.target in chosen and t not in active]
    allowed = viewer.identity.may("operator")
    if not allowed:
        notes = [*notes, *html.may_not(viewer, "operator")]
    notes = [*notes, *(Note("", f"{t.target} is not being trained: {t.state}.") for t in idle)]
    if not active:
        nothing = f"<p>No training runs or is asked for.</p>{html.link('train', 'Start one')}"
        body = f'<section class="card">{nothing}</section>'
        return html.page("Stop a training", "/stop", body, viewer, notes)
    rows = [_row(training, viewer, allowed) for training in active]
    everybody = ""
    if len(active) > 1:
        inside = html.hidden("target", "") + html.button("Stop all", style="stop", allowed=allowed)
        everybody = f'<div class="acts">{html.form("stop", viewer, inside)}</div>'
    body = (
        '<section class="card"><p>A training that is stopped loses nothing: the models in force stay in force.</p>'
        f"{html.table(('Target', 'Status', 'Started', ''), rows)}{everybody}</section>\n"
    )
    return html.page("Stop a training", "/stop", body, viewer, notes)


def _row(training: documents.Training, viewer: Viewer, allowed: bool) -> tuple[str, ...]:
    inside = html.hidden("target", training.target) + html.button("Stop", style="stop wide", allowed=allowed)
    return (
        f'<span class="entity">{html.text(training.target)}</span>',
        status(training),
        moment(training.started_at),
        html.form("stop", viewer, inside),
    )
