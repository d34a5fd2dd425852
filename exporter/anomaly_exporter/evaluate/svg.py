"""Time series as a self-contained SVG: panels below each other on one time axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np
import numpy.typing as npt

from anomaly_models.frame import I64

WIDTH, LEFT, RIGHT, TOP, GAP, BOTTOM = 960, 80, 14, 34, 26, 26
MOST_POINTS = 800
TICKS = 6
LEAST = 0.01
"""Lowest value on a logarithmic scale."""
INK, GRID, SHADE, BAND = "#333", "#ddd", "#f4d3d0", "#cfe3f5"

Values = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Line:
    """``values`` [n], NaN = a gap in the line."""

    name: str
    values: Values
    color: str
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """Lines over one scale. ``band``: lower and upper edge [n] of a filled area behind them. ``decades``: the scale is
    logarithmic, from a hundredth up."""

    title: str
    lines: tuple[Line, ...]
    band: tuple[Values, Values] | None = None
    height: int = 110
    decades: bool = False


def chart(title: str, times: I64, panels: Sequence[Panel], marked: Sequence[tuple[int, int]] = ()) -> str:
    """``panels`` over ``times`` [n] (seconds, ascending, at least two); the intervals ``marked`` are shaded."""
    height = TOP + sum(p.height + GAP for p in panels) + BOTTOM
    first, last = int(times[0]), int(times[-1])
    across = (WIDTH - LEFT - RIGHT) / max(last - first, 1)
    x = LEFT + (times - first) * across
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="11">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" font-size="13" fill="{INK}">{escape(title)}</text>',
    ]
    y = TOP
    for panel in panels:
        for start, end in marked:
            a, b = (LEFT + (min(max(at, first), last) - first) * across for at in (start, end))
            parts.append(
                f'<rect x="{a:.1f}" y="{y + 14}" width="{max(b - a, 1.0):.1f}" height="{panel.height}" fill="{SHADE}"/>'
            )
        parts += _panel(panel, x, y + 14)
        y += panel.height + GAP
    parts += _axis(first, last, across, y)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, x: Values, top: int) -> Iterator[str]:
    edges = panel.band or ()
    known = np.concatenate([_scaled(v, panel) for v in (*(line.values for line in panel.lines), *edges)])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or max(abs(high) * 0.05, 0.5)
    low, high = low - margin, high + margin
    bottom = top + panel.height

    def level(values: Values) -> Values:
        return bottom - (_scaled(values, panel) - low) / (high - low) * panel.height

    for tick in np.linspace(low + margin, high - margin, 3).tolist():
        at, value = bottom - (tick - low) / (high - low) * panel.height, 10**tick if panel.decades else tick
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="{GRID}"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" fill="{INK}">{value:.4g}</text>'
    if panel.band:
        for run in _runs(np.isfinite(panel.band[0]) & np.isfinite(panel.band[1])):
            there, upper = _points(x[run], level(panel.band[1][run]))
            _, lower = _points(x[run], level(panel.band[0][run]))
            back = list(zip(there, lower, strict=True))[::-1]
            outline = " ".join(f"{a:.1f},{b:.1f}" for a, b in [*zip(there, upper, strict=True), *back])
            yield f'<polygon points="{outline}" fill="{BAND}"/>'
    for line in panel.lines:
        dash = ' stroke-dasharray="4 3"' if line.dashed else ""
        for run in _runs(np.isfinite(line.values)):
            there, heights = _points(x[run], level(line.values[run]))
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(there, heights, strict=True))
            yield f'<polyline points="{points}" fill="none" stroke="{line.color}" stroke-width="1.2"{dash}/>'
    yield f'<text x="{LEFT}" y="{top - 4}" fill="{INK}">{escape(panel.title)}</text>'
    right = WIDTH - RIGHT
    for line in reversed(panel.lines):
        yield f'<text x="{right}" y="{top - 4}" text-anchor="end" fill="{line.color}">{escape(line.name)}</text>'
        right -= 7 * len(line.name) + 14


def _scaled(values: Values, panel: Panel) -> Values:
    """``values`` as they are drawn."""
    plain = np.asarray(values, np.float64)
    return np.log10(np.maximum(plain, LEAST)) if panel.decades else plain


def _axis(first: int, last: int, across: float, y: int) -> Iterator[str]:
    for at in np.linspace(first, last, TICKS).tolist():
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
        where = LEFT + (at - first) * across
        anchor = "start" if at == first else "end" if at == last else "middle"
        yield f'<text x="{where:.1f}" y="{y + 8}" text-anchor="{anchor}" fill="{INK}">{when}</text>'


def _points(x: Values, y: Values) -> tuple[list[float], list[float]]:
    """At most MOST_POINTS points of a line: of every stretch the lowest and the highest, so that no peak is lost."""
    if x.size <= MOST_POINTS:
        return x.tolist(), y.tolist()
    rows: set[int] = {0, x.size - 1}
    for part in np.array_split(np.arange(x.size), MOST_POINTS // 2):
        rows |= {int(part[0] + y[part].argmin()), int(part[0] + y[part].argmax())}
    kept = sorted(rows)
    return x[kept].tolist(), y[kept].tolist()


def _runs(there: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """Stretches of True of two and more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2).tolist():
        if end - start > 1:
            yield slice(start, end)
