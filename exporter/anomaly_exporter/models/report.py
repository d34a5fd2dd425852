"""Generations and models as JSON documents and as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from anomaly_exporter.generations import Entry, Generation

Document = dict[str, Any]
NOTHING = "-"


def target(name: str, past: Sequence[Generation]) -> Document:
    """One target with its generations, the one in force first."""
    current = past[0] if past else None
    entries = list(current.entries.values()) if current else []
    return {
        "target": name,
        "generation": current.number if current else None,
        "created_at": current.created_at if current else None,
        "models": len(entries),
        "verdicts": dict(sorted(Counter(e.verdict for e in entries).items())),
        "rejected": sum(e.rejected is not None for e in entries),
        "earlier": [{"generation": g.number, "created_at": g.created_at, "models": len(g.entries)} for g in past[1:]],
    }


def model(entry: Entry) -> Document:
    """One model in force, in short."""
    injected = _mapping(entry.figures, "injected")
    refused = entry.rejected
    return {
        "labels": dict(entry.entity.labels),
        "model": entry.model,
        "trained_at": entry.trained_at,
        "verdict": entry.verdict,
        "reason": entry.gate.get("reason"),
        "recall": injected.get("recall"),
        "baseline_recall": injected.get("baseline_recall"),
        "rejections": entry.gate.get("rejections", 0),
        "rejected_because": refused.gate.get("reason") if refused else None,
        "pack": entry.pack,
        "row": entry.row,
    }


def details(entry: Entry, past: Sequence[Generation]) -> Document:
    """One model with all that led to it; ``past``: generations, the one in force first."""
    refused = entry.rejected
    return {
        **model(entry),
        "detail": entry.gate.get("detail"),
        "evaluated_at": entry.evaluated_at,
        "threshold": entry.threshold.to_json(),
        "figures": dict(entry.figures),
        "training": dict(entry.training),
        "gate": dict(entry.gate),
        "rejected": {**model(refused), "detail": refused.gate.get("detail"), "figures": dict(refused.figures)}
        if refused
        else None,
        "past": _past(entry, past),
    }


def _past(entry: Entry, past: Sequence[Generation]) -> list[Document]:
    """The models of the same series in generations that a rollback would return to, newest first, each once."""
    out: list[Document] = []
    places = {entry.place}
    for generation in past:
        known = generation.entries.get(entry.key)
        if known is not None and known.place not in places:
            places.add(known.place)
            out.append({"generation": generation.number, "trained_at": known.trained_at, "verdict": known.verdict})
    return out


def targets_text(rows: Sequence[Document]) -> str:
    """A table of targets."""
    table = [("TARGET", "GENERATION", "SINCE", "MODELS", "REJECTED", "EARLIER")]
    table += [
        (
            row["target"],
            _text(row["generation"]),
            time(row["created_at"]),
            str(row["models"]),
            str(row["rejected"]),
            " ".join(str(g["generation"]) for g in row["earlier"]) or NOTHING,
        )
        for row in rows
    ]
    return aligned(table)


def models_text(rows: Sequence[Document]) -> str:
    """A table of models."""
    table = [("SERIES", "MODEL", "TRAINED", "VERDICT", "WHY", "RECALL", "BASELINE", "REJECTED SINCE")]
    table += [
        (
            ",".join(row["labels"].values()),
            row["model"],
            time(row["trained_at"]),
            row["verdict"],
            _text(row["reason"]),
            _percent(row["recall"]),
            _percent(row["baseline_recall"]),
            f"{row['rejections']} ({row['rejected_because']})" if row["rejected_because"] else NOTHING,
        )
        for row in rows
    ]
    return aligned(table)


def details_text(found: Document) -> str:
    """Everything about one model, a line per fact."""
    labels = ", ".join(f"{k}={v}" for k, v in found["labels"].items())
    recent = found["threshold"]["recent"]
    lines = [
        f"{labels}",
        f"  model       {found['model']}, row {found['row']} of pack {found['pack'][:12]}",
        f"  trained     {time(found['trained_at'])}, last judged {time(found['evaluated_at'])}",
        f"  in force    {found['verdict']}: {found['detail'] or found['reason'] or 'no gate'}",
        f"  threshold   {recent[1]:.4g} in scaler units, with {len(found['threshold']['earlier'])} earlier ones",
    ]
    lines += _injected_lines(_mapping(found["figures"], "injected"))
    shift = _mapping(found["gate"], "shift")
    if shift:
        words = {"current": "the model before", "week": "a week ago"}
        against = ", ".join(f"{ratio:.2f} x {words.get(name, name)}" for name, ratio in shift.items())
        lines.append(f"  width       {against}")
    refused = found["rejected"]
    if refused:
        lines.append(
            f"  rejected    {found['rejections']} in a row, the newest of {time(refused['trained_at'])}: "
            f"{refused['detail'] or refused['reason']}"
        )
    for earlier in found["past"]:
        lines.append(
            f"  before      generation {earlier['generation']}, trained {time(earlier['trained_at'])}, "
            f"{earlier['verdict']}"
        )
    return "\n".join(lines) + "\n"


def _injected_lines(injected: Mapping[str, Any]) -> list[str]:
    """What the model catches of injected anomalies."""
    if injected.get("recall") is None:
        return []
    line = f"  catches     {_percent(injected['recall'])} of injected anomalies"
    if injected.get("delay") is not None:
        line += f" after {injected['delay']:.0f} s (median)"
    if injected.get("baseline") is not None:
        line += f"; {injected['baseline']} at as many alerts {_percent(injected['baseline_recall'])}"
    shapes = [f"{shape} {caught}/{number}" for shape, (caught, number, _) in _mapping(injected, "shapes").items()]
    return [line, f"              {', '.join(shapes)}"] if shapes else [line]


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "".join(row.rstrip() + "\n" for row in rows)


def time(seconds: float | None) -> str:
    """UTC to the second."""
    return NOTHING if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{share:.0%}"


def _text(value: object) -> str:
    return NOTHING if value is None else str(value)


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}
