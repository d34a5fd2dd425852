"""Raw samples as OpenMetrics text: at any instants, in any state of disorder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Raw:
    """One raw series: ``samples`` are (Unix time in seconds, value)."""

    metric: str
    labels: Mapping[str, str] = field(default_factory=dict)
    samples: Iterable[tuple[float, float]] = ()


def every(step: int, start: int, values: Iterable[float], offset: float = 0.0) -> list[tuple[float, float]]:
    """``values`` from ``start`` on, a sample each ``step`` seconds, scraped ``offset`` seconds late."""
    return [(start + i * step + offset, value) for i, value in enumerate(values)]


def text(series: Iterable[Raw]) -> str:
    """OpenMetrics text of ``series``, families together as the format demands."""
    lines: list[str] = []
    family = ""
    for one in sorted(series, key=lambda s: s.metric):
        if one.metric != family:
            family = one.metric
            lines.append(f"# TYPE {family} gauge")
        inside = ",".join(f'{name}="{_escape(value)}"' for name, value in one.labels.items())
        lines += [f"{one.metric}{{{inside}}} {value!r} {at:.3f}" for at, value in one.samples]
    return "\n".join([*lines, "# EOF", ""])


def write(path: Path, series: Iterable[Raw]) -> Path:
    path.write_text(text(series), encoding="utf-8")
    return path


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
