"""The bill, as data and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from anomaly_exporter.config import Config, Target, format_duration

from . import costs
from .survey import Survey

Row = Mapping[str, Any]


def row(config: Config, target: Target, found: Survey) -> dict[str, Any]:
    """Figures of one target; times in seconds, sizes in bytes."""
    entities, history = found.entities, min(found.history, target.training.history)
    return {
        "target": target.name,
        "error": found.error,
        "entities": entities,
        "features": len(target.queries),
        "models": list(target.models),
        "step_seconds": target.step,
        "history_wanted_seconds": target.training.history,
        "history_found_seconds": history,
        "history_resolution_seconds": found.resolution,
        "oldest_sample_timestamp_seconds": found.oldest,
        "trainable": history >= target.training.min_history,
        "queries_per_cycle": found.queries,
        "samples_per_cycle": found.samples,
        "bootstrap_samples": history // target.step * entities * len(target.queries),
        "serve_memory_bytes": costs.serve_bytes(config, target, entities),
        "cycle_cpu_seconds": round(costs.cycle_seconds(config, target, entities), 6),
        "training_seconds": round(costs.training_seconds(config, target, entities, history), 3),
        "training_every_seconds": target.training.every,
        "metrics_samples": costs.page_samples(config, target) * entities,
        "detail_samples": costs.detail_samples(config, target) * entities,
    }


def document(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything, for ``--output json``."""
    return {"targets": list(rows), "total": total(rows)}


def total(rows: Sequence[Row]) -> dict[str, Any]:
    """What the targets cost together; `serve` itself included."""
    summed = (
        *("entities", "queries_per_cycle", "samples_per_cycle", "bootstrap_samples", "cycle_cpu_seconds"),
        *("training_seconds", "metrics_samples", "detail_samples"),
    )
    out: dict[str, Any] = {name: sum(row[name] for row in rows) for name in summed}
    out["serve_memory_bytes"] = costs.BASE_BYTES + sum(row["serve_memory_bytes"] for row in rows)
    return out


def text(rows: Sequence[Row]) -> str:
    """The bill for people: a paragraph per target, and the total."""
    lines: list[str] = []
    for one in rows:
        lines += [f"{one['target']}: {', '.join(one['models'])} every {format_duration(one['step_seconds'])}"]
        lines += [f"  {name:<13}{value}" for name, value in _paragraph(one)]
    whole = total(rows)
    lines += [
        "total",
        f"  {'entities':<13}{whole['entities']:,}",
        (
            f"  {'serve':<13}{size(whole['serve_memory_bytes'])} of memory, {whole['queries_per_cycle']} queries and "
            f"{duration(whole['cycle_cpu_seconds'])} of CPU for scoring per cycle"
        ),
        (
            f"  {'training':<13}{duration(whole['training_seconds'])} one after the other, "
            f"{whole['bootstrap_samples']:,} samples read the first time"
        ),
        (
            f"  {'cardinality':<13}+{whole['metrics_samples']:,} series on /metrics, +{whole['detail_samples']:,} on "
            "/metrics/detail"
        ),
        "Estimates: sizes follow from the models' shapes, times from measured constants (docs/plan.md).",
    ]
    return "\n".join(lines) + "\n"


def _paragraph(one: Row) -> list[tuple[str, str]]:
    if one["error"]:
        return [("error", one["error"])]
    if not one["entities"]:
        return [("entities", "none now: is the query right, and are its labels there?")]
    wanted = format_duration(one["history_wanted_seconds"])
    history = f"{duration(one['history_found_seconds'])} of {wanted} wanted"
    if not one["trainable"]:
        history += ", less than training.min_history: untrained for now"
    cpu = duration(one["cycle_cpu_seconds"])
    late = one["training_seconds"] > one["training_every_seconds"]
    return [
        ("entities", f"{one['entities']:,} with {one['features']} feature{'s' if one['features'] > 1 else ''}"),
        ("history", history),
        ("reading", (f"{one['queries_per_cycle']} queries and {one['samples_per_cycle']:,} samples per cycle, "
                    f"{one['bootstrap_samples']:,} samples the first time")),
        ("serve", f"{size(one['serve_memory_bytes'])} of memory, {cpu} of CPU per cycle"),
        ("training", f"up to {duration(one['training_seconds'])} every "
                     f"{format_duration(one['training_every_seconds'])}"
                     + (": too slow, choose fewer epochs, another recipe or shards" if late else "")),
        ("cardinality", (f"+{one['metrics_samples']:,} series on /metrics, +{one['detail_samples']:,} on "
                        "/metrics/detail")),
    ]  # fmt: skip


def size(number: float) -> str:
    """Bytes for people."""
    return f"{number / costs.MIB:,.0f} MiB" if number >= 10 * costs.MIB else f"{number / costs.MIB:,.1f} MiB"


def duration(seconds: float) -> str:
    """Seconds for people: the two largest units, milliseconds below one second."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms" if seconds > 0 else "0s"
    whole = max(round(seconds), 0)
    for unit, inner, letters in ((86_400, 3600, "dh"), (3600, 60, "hm"), (60, 1, "ms")):
        if whole >= unit:
            rest = whole % unit // inner
            return f"{whole // unit}{letters[0]}" + (f"{rest}{letters[1]}" if rest else "")
    return f"{whole}s"
