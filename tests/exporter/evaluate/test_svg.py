"""Pictures of series: well-formed, nothing lost, gaps stay gaps."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from anomaly_exporter.evaluate.svg import MOST_POINTS, Line, Panel, chart

SVG = "{http://www.w3.org/2000/svg}"


def drawn(values: np.ndarray, **more: object) -> ElementTree.Element:
    times = np.arange(values.size, dtype=np.int64) * 60
    panel = Panel("a < b & c", (Line('"x"', values, "#000"),), **more)  # type: ignore[arg-type]
    text = chart("<title>", times, [panel], [(60, 180)])
    return ElementTree.fromstring(text)  # noqa: S314  our own


@given(
    arrays.arrays(
        np.float32, st.integers(2, 40), elements=st.floats(-(2.0**90), 2.0**90, width=32) | st.just(float("nan"))
    )
)
@settings(max_examples=50, deadline=None)
def test_whatever_the_values_are_the_picture_is_well_formed(values: np.ndarray) -> None:
    root = drawn(values)
    for line in root.iter(f"{SVG}polyline"):
        numbers = [float(part) for pair in line.attrib["points"].split() for part in pair.split(",")]
        assert np.isfinite(numbers).all()


def test_a_gap_parts_the_line() -> None:
    values = np.arange(10.0)
    values[4] = np.nan
    assert len(list(drawn(values).iter(f"{SVG}polyline"))) == 2


def test_a_long_line_is_thinned_but_keeps_its_peak() -> None:
    values = np.zeros(10_000)
    values[6_543] = 5.0
    (line,) = drawn(values).iter(f"{SVG}polyline")
    heights = [float(pair.split(",")[1]) for pair in line.attrib["points"].split()]
    assert len(heights) <= MOST_POINTS + 2
    assert sorted(heights)[0] < sorted(heights)[1], "one point stands out"


def test_a_band_is_filled_behind_the_lines() -> None:
    values = np.arange(5.0)
    shapes = [child.tag for child in drawn(values, band=(values - 1, values + 1))]
    assert shapes.index(f"{SVG}polygon") < shapes.index(f"{SVG}polyline")
