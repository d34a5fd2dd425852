"""The first page: what is trained, what stands out, where to go from here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anomaly_exporter.control import documents, results, trainings
from anomaly_exporter.control.desk import Desk

from . import html
from .feedback import link_fields
from .html import Note, Viewer

MOST: Final = 10
STATES: Final = {"running": "run", "succeeded": "good", "failed": "bad", "stopped": "warn", "waiting": "soft"}
SAID: Final = {
    "started": Note("good", "The training was asked for. It begins as soon as the one before it has ended."),
    "stopped": Note("good", "The training was stopped. The models in force before it stay in force."),
    "kept": Note("good", "Thank you, your feedback is kept. The next training knows it."),
    "withdrawn": Note("good", "The feedback was taken back."),
}
"""What was done, by the word that the address carries: no text of an address is ever shown."""


def show(desk: Desk, viewer: Viewer, said: str) -> bytes:
    """The page; ``said`` is a key of :data:`SAID` or nothing."""
    notes = [SAID[said]] if said in SAID else []
    return html.page("Overview", "/", training_card(desk) + _scores(desk, viewer), viewer, notes)


def training_card(desk: Desk) -> str:
    """The table of trainings."""
    rows = [training_row(training) for training in trainings.listed(desk).trainings]
    head = ("Target", "Status", "Started", "Took", "Next", "")
    return f'<section class="card"><h2>Trainings</h2>{html.table(head, rows)}</section>\n'


def training_row(training: documents.Training) -> Sequence[str]:
    """Cells of one training."""
    active = training.state == "running" or training.requested
    act = (
        html.link("stop", "Stop", {"target": training.target})
        if active
        else html.link("train", "Train", {"target": training.target})
    )
    return (
        series(training.target, ", ".join(training.models)),
        status(training),
        moment(training.started_at),
        f"{training.seconds:.0f} s" if training.seconds is not None and not active else "-",
        moment(training.next_at),
        act,
    )


def status(training: documents.Training) -> str:
    """The state in words, with progress or reason."""
    if training.requested and training.state != "running":
        return '<b class="run">requested</b>'
    style = STATES[training.state]
    more = f" {training.progress:.0%}" if training.state == "running" else ""
    epochs = ", ".join(f"{model} epoch {epoch}" for model, epoch in training.epochs.items())
    why = training.message or epochs
    return f'<b class="{style}">{training.state}{more}</b>{f"<br><small>{html.text(why)}</small>" if why else ""}'


def moment(time: str | None) -> str:
    """A time for people, in UTC."""
    return f'<time datetime="{time}">{time[:10]} {time[11:16]}</time>' if time else "-"


def _scores(desk: Desk, viewer: Viewer) -> str:
    found = results.newest(desk, target=None, model=None, least=None, offset=0, limit=MOST)
    if not found.data:
        return '<section class="card"><h2>Highest scores</h2><p class="soft">There are no current scores.</p></section>'
    rows = [_score_row(desk, result) for result in found.data]
    head = ("Series", "Score", "Observed", "Expected", "")
    return (
        f'<section class="card"><h2>Highest scores</h2>{html.table(head, rows, numbers=(1, 2, 3))}'
        f'<p class="hint">1 and above is anomalous. Times are UTC; the newest sample is of {found.data[0].at[11:16]}.'
        "</p></section>\n"
    )


def _score_row(desk: Desk, result: documents.Result) -> Sequence[str]:
    own = [value for name, value in result.labels.items() if name not in ("metric", "model", "tag", "env")]
    top = max(result.features, key=lambda feature: feature.contribution or 0)
    fields = link_fields(result)
    style = "bad" if result.detected else "warn" if result.score >= 1 else "good"
    expected = html.link("feedback", "it was expected", {**fields, "verdict": "expected"})
    incident = html.link("feedback", "it was an incident", {**fields, "verdict": "incident"})
    labels = result.labels
    say = f'<small class="line">{expected}<br>{incident}</small>' if result.score >= 1 else ""
    return (
        series(" / ".join(own), f"{labels['metric']}, {labels['model']}"),
        f'<b class="{style}">{result.score:.2f}</b>',
        number(top.observed),
        number(top.expected),
        say,
    )


def series(name: str, about: str) -> str:
    """What a row is about."""
    return f'<span class="entity">{html.text(name)}</span><small>{html.text(about)}</small>'


def number(value: float | None) -> str:
    """A number for people."""
    return "-" if value is None else f"{value:.4g}"
