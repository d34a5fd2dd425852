"""The page on which people say what an alert was."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from anomaly_exporter.blobs import BlobError
from anomaly_exporter.control import documents, statements
from anomaly_exporter.control.desk import Desk
from anomaly_exporter.control.problems import Problem
from anomaly_exporter.control.reading import read_time
from anomaly_exporter.feedback.figures import ranked

from . import html
from .html import Note, Viewer
from .train import chosen_targets

Fields = Mapping[str, list[str]]
VERDICTS: Final = {
    "expected": (
        "It was expected",
        "Normal, and it may come again: a backup, a batch, a release. What looks like it is no anomaly from now on.",
    ),
    "incident": ("It was an incident", "The alert was right. Nothing is learned from this stretch of time."),
    "ignore": ("Ignore it", "Neither: a broken measurement, a test. Nothing is learned from it."),
}
BEFORE: Final = 15
"""Steps before now that are offered when no time is given."""
SHOWN: Final = 20
ANY: Final = ("$__all", ".*", "All")


def show(desk: Desk, viewer: Viewer, fields: Fields, notes: list[Note]) -> bytes:
    """The page with ``fields`` filled in: verdict, target, label.<name>, from, to, comment, fixed_by."""
    allowed = viewer.identity.may("operator")
    if not allowed:
        notes = [*notes, *html.may_not(viewer, "operator")]
    start, end = _times(desk, fields)
    chosen = _one(fields, "verdict")
    picks = "".join(
        html.tick("verdict", key, words, checked=key == chosen, kind="radio", hint=hint)
        for key, (words, hint) in VERDICTS.items()
    )
    target = _target(desk, fields)
    targets = {"": "any that has these labels", **{t.name: t.name for t in desk.targets()}}
    names = statements.label_names(desk.config(), desk.targets(), target or None)
    shown = {name: _label(fields, name) for name in names}
    labels = "".join(html.field(f"label.{name}", name, value) for name, value in shown.items())
    when = {"step": 1, "required": "required"}
    inside = (
        f"<fieldset><legend>What was it?</legend>{picks}</fieldset>"
        '<fieldset><legend>Which series</legend><span class="hint">Those that have all of these labels; what is left'
        " empty may be anything.</span></fieldset>"
        f'<div class="pair">{html.choose("target", "target", targets, target)}{labels}</div>'
        '<fieldset><legend>When</legend><span class="hint">UTC. Include the whole anomaly.</span></fieldset>'
        f'<div class="pair">{html.field("from", "from", start, kind="datetime-local", more=when)}'
        f"{html.field('to', 'to', end, kind='datetime-local', more=when)}{_remedies(desk, fields)}</div>"
        f"{html.area('comment', 'Comment', _one(fields, 'comment'), 2000)}"
        f'<p class="acts">{html.button("Keep it", style="wide", allowed=allowed)}{html.link("./", "Cancel")}</p>'
    )
    body = f'<section class="card">{html.form("feedback", viewer, inside)}</section>\n{_known(desk, viewer, allowed)}'
    return html.page("Feedback on an alert", "/feedback", body, viewer, notes)


def wanted(fields: Fields) -> dict[str, Any]:
    """What the form says, as the document that the API takes; still to be validated."""
    labels = {name[6:]: values[0] for name, values in fields.items() if name.startswith("label.") and values[0]}
    return {
        "verdict": _one(fields, "verdict"),
        "start": _one(fields, "from"),
        "end": _one(fields, "to"),
        "target": _one(fields, "target") or None,
        "labels": labels,
        "comment": _one(fields, "comment"),
        "fixed_by": _one(fields, "fixed_by"),
    }


def link_fields(result: documents.Result) -> dict[str, str]:
    """Fields of a link that fills this page in for the newest anomaly of a series."""
    labels = {f"label.{name}": value for name, value in result.labels.items() if name not in ("model", "tag")}
    return {"target": result.target, **labels}


def _known(desk: Desk, viewer: Viewer, allowed: bool) -> str:
    """What was said before, newest first, each with a way to take it back."""
    try:
        found = statements.listed(desk, target=None, span=None, offset=0, limit=SHOWN)
    except Problem as problem:
        return f'<section class="card"><h2>Kept so far</h2><p class="bad">{html.text(problem.detail)}</p></section>'
    if not found.feedback:
        return ""
    rows = [_row(statement, viewer, allowed) for statement in found.feedback]
    disagree, more = "", ""
    if found.conflicts:
        disagree = f'<p class="warn">{found.conflicts} disagree with another; the later one holds.</p>'
    if found.total > SHOWN:
        more = f'<p class="hint">The newest {SHOWN} of {found.total}.</p>'
    head = ("Verdict", "Series", "From", "To", "By", "")
    return f'<section class="card"><h2>Kept so far</h2>{disagree}{html.table(head, rows)}{more}</section>\n'


def _row(statement: documents.Feedback, viewer: Viewer, allowed: bool) -> tuple[str, ...]:
    series = ", ".join([*([statement.target] if statement.target else []), *statement.matchers])
    inside = html.hidden("withdraw", statement.id) + html.button("Take back", style="quiet", allowed=allowed)
    comment = f"<br><small>{html.text(statement.comment)}</small>" if statement.comment else ""
    return (
        f"<b>{statement.verdict}</b>{comment}",
        html.text(series or "all"),
        _moment(statement.start),
        _moment(statement.end),
        f"{html.text(statement.author)}<br><small>{statement.source}</small>",
        html.form("feedback", viewer, inside),
    )


def _moment(time: str) -> str:
    return f'<time datetime="{time}">{time[:10]} {time[11:16]}</time>'


def _remedies(desk: Desk, fields: Fields) -> str:
    remedies = desk.config().all_remedies
    with suppress(BlobError):
        remedies = ranked(remedies, desk.feedback.current().statements)
    known = "".join(f'<option value="{html.attribute(remedy.text)}"></option>' for remedy in remedies)
    more = {"list": "remedies", "maxlength": 2000}
    hint = "What helped. It is shown higher up next time."
    field = html.field("fixed_by", "Fixed by", _one(fields, "fixed_by"), hint=hint, more=more)
    return f'{field}<datalist id="remedies">{known}</datalist>'


def _times(desk: Desk, fields: Fields) -> tuple[str, str]:
    """The two times for their inputs; the end of what still goes on is now."""
    now = desk.clock.wall()
    step = max((t.step for t in desk.targets()), default=60)
    end = _time(_one(fields, "to"), now)
    start = _time(_one(fields, "from"), end - desk.clock.wall_duration(BEFORE * step))
    return _written(start), _written(end)


def _time(text: str, otherwise: float) -> float:
    try:
        return read_time(text)
    except ValueError:
        return otherwise


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _target(desk: Desk, fields: Fields) -> str:
    """The target that is named, or the only one that the metric can mean."""
    chosen = chosen_targets(desk, fields)
    return chosen[0] if len(chosen) == 1 else ""


def _label(fields: Fields, name: str) -> str:
    """The value of a label; what stands for all of them in links of dashboards is none."""
    value = _one(fields, f"label.{name}")
    return "" if value in ANY else value


def _one(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, [])), "").strip()
