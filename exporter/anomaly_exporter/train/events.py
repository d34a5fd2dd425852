"""What a training tells whoever started it: one event at a time, as JSON lines or for people.

``start`` (target, entities, samples_read), ``progress`` (target, model, done, total; within a fit also epoch, and loss
by split), ``stage`` (stage, rss_bytes), ``trained`` (target, model, entities put in force, rejected by the gate,
failed, generation), ``done`` (target, outcome, seconds).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TextIO

Emit = Callable[[dict[str, Any]], None]


def json_lines(stream: TextIO) -> Emit:
    """Events as JSON, a line each, flushed at once: the reader follows along."""

    def emit(event: dict[str, Any]) -> None:
        stream.write(json.dumps(event, separators=(",", ":")) + "\n")
        stream.flush()

    return emit


def for_people(stream: TextIO) -> Emit:
    """Events as sentences; on a terminal the progress stays on one line."""
    live = stream.isatty()
    open_line = False

    def emit(event: dict[str, Any]) -> None:
        nonlocal open_line
        if event["event"] == "progress":
            if live:
                stream.write(f"\r\x1b[K{_bar(event)}")
                stream.flush()
                open_line = True
            return
        text = sentence(event)
        if text:
            stream.write(("\n" if open_line else "") + text + "\n")
            stream.flush()
            open_line = False

    return emit


def sentence(event: dict[str, Any]) -> str:
    """What an event means to a person; nothing for those only a machine wants."""
    match event["event"]:
        case "start":
            return f"{event['target']}: {event['entities']} entities, {event['samples_read']} new samples read"
        case "trained":
            failed = ", ".join(f"{n} {reason}" for reason, n in sorted(event["failed"].items()))
            rejected = f"; {event['rejected']} rejected by the gate" if event.get("rejected") else ""
            return (
                f"{event['target']}: {event['entities']} trained with {event['model']}, generation "
                f"{event['generation']}{rejected}" + (f"; not trained: {failed}" if failed else "")
            )
        case "done":
            return f"{event['target']}: {event['outcome']} after {event['seconds']:.1f} s"
    return ""


def _bar(event: dict[str, Any]) -> str:
    share = event["done"] / max(event["total"], 1)
    epoch = f", epoch {event['epoch']}" if "epoch" in event else ""
    return f"{event['model']} [{'#' * round(share * 30):<30}] {event['done']}/{event['total']}{epoch}"
