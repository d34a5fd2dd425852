"""What becomes of scraped samples: gauges, rates over resets and gaps, histograms, on the grid and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.config import ScrapeConnection, Target
from anomaly_exporter.sources import SourceAnswerError, SourceRejectedError
from anomaly_exporter.sources.scrape.expressions import POSSIBLE, expression
from anomaly_exporter.sources.scrape.feed import Feed
from anomaly_exporter.sources.scrape.page import parse
from anomaly_exporter.sources.scrape.quantiles import histogram_quantile
from anomaly_models.frame import Span

T0 = 6_000_000


def target(expr: str, **fields: Any) -> Target:
    return Target(
        **{
            "name": "t",
            "metric": "m",
            "labels": ("path",),
            "tag": "x",
            "queries": [{"name": "value", "expr": expr}],
            **fields,
        }
    )


class World:
    """A feed of one target; ``scrape(at, text)`` is a scrape ``at`` seconds after T0, with no text one that failed."""

    def __init__(self, expr: str, fields: dict[str, Any] | None = None, **connection: Any) -> None:
        self.target = target(expr, **(fields or {}))
        self.connection = ScrapeConnection(url="http://localhost:1/metrics", **connection)
        self.feed = Feed(self.target, self.connection, T0)

    def scrape(self, at: float, text: str | None) -> None:
        self.feed.settle(T0 + at)
        page = [] if text is None else self.feed.select(parse(text.encode(), self.feed.metrics)[0])
        self.feed.add(T0 + at, page)

    def at(self, instant: int) -> dict[str, float]:
        """Values by path at ``instant`` seconds after T0."""
        self.feed.settle(T0 + instant + 1)
        block = self.feed.block(Span(T0 + instant, T0 + instant + 1))
        return {
            e.get("path"): float(v)
            for e, v in zip(block.entities, block.values[0, :, 0].tolist(), strict=True)
            if np.isfinite(v)
        }


def test_a_gauge_is_the_newest_sample_that_belongs_to_the_instant() -> None:
    world = World('a{path!="x"}')
    world.scrape(30, 'a{path="p"} 1\na{path="x"} 9\n')
    world.scrape(60, 'a{path="p"} 2\n')
    world.scrape(61, 'a{path="p"} 3\n')
    assert world.at(60) == {"p": 2.0}
    assert world.at(120) == {"p": 3.0}


def test_a_missed_scrape_is_a_gap_and_not_the_last_value() -> None:
    world = World("a")
    world.scrape(30, 'a{path="p"} 1\n')
    world.scrape(90, None)
    world.scrape(150, 'a{path="p"} 3\n')
    assert [world.at(60), world.at(120), world.at(180)] == [{"p": 1.0}, {}, {"p": 3.0}]


def test_series_of_one_entity_are_aggregated_as_the_target_says() -> None:
    text = 'a{path="p",pod="1"} 1\na{path="p",pod="2"} 5\n'
    for how, value in (("mean", 3.0), ("sum", 6.0), ("max", 5.0)):
        world = World("a", {"aggregation": how})
        world.scrape(30, text)
        assert world.at(60) == {"p": value}


def test_configured_labels_win_over_those_of_the_page() -> None:
    world = World('a{exported_path="theirs"}', labels={"path": "ours"})
    world.scrape(30, 'a{path="theirs"} 4\n')
    assert world.at(60) == {"ours": 4.0}


def test_a_rate_counts_on_over_a_reset_and_over_a_missed_scrape() -> None:
    world = World("rate(a[2m])")
    for at, value in ((10, 100), (40, 130), (70, 6), (100, 36)):
        world.scrape(at, f'a{{path="p"}} {value}\n')
    # (0, 120]: 30 more, then a restart and 6, then 30 more, in 90 seconds.
    assert world.at(120) == {"p": pytest.approx((30 + 6 + 30) / 90)}
    world.scrape(130, None)
    world.scrape(160, 'a{path="p"} 66\n')
    assert world.at(180) == {"p": pytest.approx((66 - 6) / 90)}


def test_an_increase_is_the_rate_over_its_range() -> None:
    world = World("increase(a[2m])")
    world.scrape(10, 'a{path="p"} 100\n')
    world.scrape(60, 'a{path="p"} 150\n')
    assert world.at(60) == {"p": pytest.approx(120.0)}


def test_a_rate_needs_two_samples_and_one_of_this_step() -> None:
    world = World("rate(a[5m])")
    world.scrape(30, 'a{path="p"} 1\n')
    assert world.at(60) == {}
    world.scrape(90, 'a{path="p"} 61\n')
    assert world.at(120) == {"p": pytest.approx(1.0)}
    world.scrape(150, None)
    assert world.at(180) == {}, "the range still holds two samples, but nothing is known of this step"


def _sum_and_count(total: int, count: int) -> str:
    quiet = 'a_sum{path="q",job="x"} 1\na_count{path="q",job="x"} 1\n'
    return f'a_sum{{path="p",job="x"}} {total}\na_count{{path="p",job="x"}} {count}\n{quiet}'


def test_a_ratio_divides_sums_and_is_absent_where_nothing_happened() -> None:
    world = World('rate(a_sum{job="x"}[2m]) / rate(a_count{job="x"}[2m])')
    world.scrape(10, _sum_and_count(0, 0))
    world.scrape(50, _sum_and_count(30, 10))
    assert world.at(60) == {"p": pytest.approx(3.0)}


def test_a_quantile_is_that_of_the_sum_of_an_entitys_histograms() -> None:
    world = World("histogram_quantile(0.5, rate(a_bucket[2m]))")

    def text(*counts: int) -> str:
        return "".join(
            f'a_bucket{{path="p",pod="{pod}",le="{le}"}} {count}\n'
            for pod in "ab"
            for le, count in zip(("1", "2", "+Inf"), counts, strict=True)
        )

    world.scrape(10, text(0, 0, 0))
    world.scrape(50, text(10, 30, 40))
    assert world.at(60) == {"p": pytest.approx(1.5)}


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=12),
    st.floats(0, 1),
)
def test_a_quantile_lies_in_its_bucket(counts: list[int], q: float) -> None:
    bounds = [float(i + 1) for i in range(len(counts))] + [np.inf]
    cumulative = [float(x) for x in np.cumsum([*counts, 0])]
    value = histogram_quantile(q, dict(zip(bounds, cumulative, strict=True)))
    if cumulative[-1] == 0:
        assert np.isnan(value)
    else:
        assert 0 <= value <= len(counts)
        below = sum(c for b, c in zip(bounds, counts, strict=False) if b <= np.floor(value))
        assert below <= q * cumulative[-1] + 1e-9


def test_a_histogram_without_its_last_bucket_has_no_quantile() -> None:
    assert np.isnan(histogram_quantile(0.5, {1.0: 1.0, 2.0: 2.0}))
    assert np.isnan(histogram_quantile(0.5, {np.inf: 2.0}))
    assert histogram_quantile(0.99, {1.0: 0.0, np.inf: 2.0}) == 1.0
    assert histogram_quantile(0.5, {-1.0: 2.0, np.inf: 2.0}) == -1.0


def test_rows_are_made_once() -> None:
    """What a reader saw is what the history gets, also when a sample comes late."""
    world = World("a")
    assert world.at(60) == {}
    world.scrape(59, 'a{path="p"} 1\n')
    assert world.at(60) == {}
    unsaved = world.feed.unsaved()
    assert unsaved is not None
    assert unsaved.span == Span(T0 + 60, T0 + 120)


def test_rows_stay_until_they_were_saved_and_a_while_longer() -> None:
    world = World("a")
    for i in range(200):
        world.scrape(30 + 60 * i, f'a{{path="p"}} {i}\n')
    first = world.feed.unsaved()
    assert first is not None
    assert first.values.shape == (199, 1, 1)
    world.feed.saved(first.end)
    assert world.feed.unsaved() is None
    assert world.at(199 * 60) == {"p": 198.0}
    assert world.at(60) == {}, "long ago, and in the history"


def test_series_that_are_gone_are_forgotten() -> None:
    world = World("a", {"labels": ("path",)})
    for i in range(20):
        world.scrape(30 + 60 * i, f'a{{path="{i}"}} 1\n')
    assert len(world.feed._queries[0]._samples[0].series) <= 3


def test_a_page_with_too_many_series_is_refused() -> None:
    world = World("a", max_series=2)
    world.scrape(30, 'a{path="1"} 1\na{path="2"} 1\n')
    with pytest.raises(SourceAnswerError, match="max_series = 2"):
        world.scrape(90, "".join(f'a{{path="{i}"}} 1\n' for i in range(3)))


@pytest.mark.parametrize(
    "expr",
    [
        "sum(rate(a[5m]))",
        "a + b",
        "rate(a)",
        "rate(rate(a[5m])[5m])",
        'rate({path="p"}[5m])',
        '{__name__="a"}',
        "rate(a[5m]) / rate(b[10m])",
        "histogram_quantile(0.9, a_bucket)",
        "a offset 5m",
    ],
)
def test_any_other_promql_is_refused_with_what_is_possible(expr: str) -> None:
    wanted = target(expr)
    with pytest.raises(SourceRejectedError) as caught:
        expression(wanted, wanted.queries[0], 15)
    assert POSSIBLE in str(caught.value)


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        ("rate(a[29s])", "two scrapes"),
        ("histogram_quantile(1.5, rate(a_bucket[5m]))", "from 0 to 1"),
        ('a{path=~"("}', "regular expression"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(expr: str, reason: str) -> None:
    wanted = target(expr)
    with pytest.raises(SourceRejectedError, match=reason):
        expression(wanted, wanted.queries[0], 15)


def test_a_fallback_is_refused() -> None:
    wanted = target("a", queries=[{"name": "v", "expr": "a", "fallback": "b"}])
    with pytest.raises(SourceRejectedError, match="fallback"):
        expression(wanted, wanted.queries[0], 15)


def test_what_is_possible_is_recognised() -> None:
    """Every example of the message works, and so do patterns with brackets of all kinds."""
    examples = [*POSSIBLE.split(", ")[:4], "histogram_quantile(0.99, rate(x_bucket[5m]))"]
    examples += ['rate(a{path=~"/(x|y)[0-9]+", code!~"5.."}[5m])']
    kinds = [expression(target(e), target(e).queries[0], 15).kind for e in examples]
    assert kinds == ["gauge", "rate", "increase", "ratio", "quantile", "rate"]
