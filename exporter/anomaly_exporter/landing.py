"""The page at ``/``: what is watched, what is not and why. Plain HTML without scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Final

from anomaly_models.frame import EntityKey

from . import __version__
from .config import Config, Target
from .snapshot import Snapshot, TargetView, TrainingStatus

EXAMPLES: Final = 5
"""Series named per reason; the numbers are complete."""

REASONS: Final[Mapping[str, str]] = {
    "no_data": "no sample at the newest instant",
    "no_model": "no model yet: training waits for enough history",
    "warmup": "new: the model's window is not full yet",
    "gap": "a gap in the samples is longer than may be bridged",
    "features": "too few features have samples",
    "config_changed": "the queries changed since the model was trained",
    "duplicate": "another target, earlier in the file, has the same labels",
    "limit": "beyond exposition.max_series",
    "model_failed": "the stored model cannot be used, see the log",
}

STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4em .8em;"
    "border-bottom:1px solid #ddd}td:not(:nth-child(3)){white-space:nowrap}"
    "ul{margin:0;padding-left:1.2em}.bad{color:#a00}small{color:#666}"
)

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""What the page must be sent with: nothing on it may run or load anything."""


def render(
    config: Config, snapshot: Snapshot | None, training: Mapping[str, TrainingStatus], paths: Iterable[str]
) -> bytes:
    """The page; ``snapshot`` is None before the first cycle and after it expired."""
    views = {view.target: view for view in snapshot.views} if snapshot else {}
    rows = [_row(t, views.get(t.name), training.get(t.name)) for t in config.targets]
    links = "".join(f'<li><a href="{escape(path)}">{escape(path)}</a></li>' for path in paths)
    when = (
        f"Last cycle {_time(snapshot.wall)}." if snapshot else "No current cycle: nothing but self metrics is served."
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>anomaly-exporter</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>anomaly-exporter</h1>\n"
        f"<p>Version {escape(__version__)}. {when}</p>\n"
        f"<ul>{links}</ul>\n<h2>Targets</h2>\n<table><tr><th>Target</th><th>Scored</th><th>Not scored, and why</th>"
        f"<th>Models</th><th>Training</th></tr>\n{''.join(rows)}</table>\n</body></html>\n"
    ).encode("utf-8", "replace")


def _row(target: Target, view: TargetView | None, status: TrainingStatus | None) -> str:
    name = f"<b>{escape(target.name)}</b><br><small>{escape(target.metric)}, every {target.step} s</small>"
    if view is None:
        return f"<tr><td>{name}</td><td>-</td><td>not read yet</td><td>-</td><td>{_training(status)}</td></tr>\n"
    scored = f"{view.scored}<br><small>of {view.expected} entities</small>"
    error = f'<p class="bad">{escape(view.error)}</p>' if view.error else ""
    return (
        f"<tr><td>{name}</td><td>{scored}</td><td>{error}{_unscored(view)}</td><td>{_models(view)}</td>"
        f"<td>{_training(status)}</td></tr>\n"
    )


def _unscored(view: TargetView) -> str:
    counts = view.counts()
    if not counts:
        return "" if view.error else "everything is scored"
    items = []
    for reason, count in sorted(counts.items()):
        named = [_series(e) for item in view.unscored if item.reason == reason for e in item.entities[:EXAMPLES]]
        more = "; &hellip;" if count > EXAMPLES else ""
        examples = "; ".join(escape(text) for text in named[:EXAMPLES])
        items.append(f"<li>{count} {escape(REASONS.get(reason, reason))}<br><small>{examples}{more}</small></li>")
    return f"<ul>{''.join(items)}</ul>"


def _series(entity: EntityKey) -> str:
    return ", ".join(f"{name}={value}" for name, value in entity.labels)


def _models(view: TargetView) -> str:
    if view.generation is None:
        return "none yet"
    trained = f"<br><small>trained {_time(view.trained_at)}</small>" if view.trained_at else ""
    return f"generation {view.generation}, {view.models.get('loaded', 0)} models{trained}"


def _training(status: TrainingStatus | None) -> str:
    if status is None:
        return "-"
    parts = [escape(status.state)]
    if status.state == "running":
        parts.append(f"{status.progress:.0%}")
    if status.message:
        parts.append(f"<small>{escape(status.message)}</small>")
    if status.next_at is not None:
        parts.append(f"<small>next {_time(status.next_at)}</small>")
    return "<br>".join(parts)


def _time(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
