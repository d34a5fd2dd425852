"""What is done to an expression before it is sent, judged by a parser of PromQL."""

from __future__ import annotations

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.config import preset_names
from anomaly_exporter.config.load import preset
from anomaly_exporter.sources.promql import age, query, quote, selector, substitute


@pytest.mark.parametrize(
    "expr",
    [
        "up",
        "node:cpu:rate5m",
        "up{}",
        '{__name__="up"}',
        'eagle_cpu{phase="Running",container!="",container!="POD",namespace=~"crab|das"}',
        """ up { job = 'a}"' , x=~`[0-9]+` , } """,
        'up{a="x,y=\\"z\\"{}[5m] offset 1h"}',
    ],
)
def test_a_plain_selector_is_known(expr: str) -> None:
    assert selector(expr) is not None
    assert isinstance(promql_parser.parse(expr), promql_parser.VectorSelector)


@pytest.mark.parametrize(
    "expr",
    [
        "",
        "1",
        "NaN",
        "inf",
        "{}",
        "up[5m]",
        "up offset 5m",
        "up @ 5",
        "-up",
        "up + up",
        "rate(up[5m])",
        'up{a="b}',
        "(up)",
    ],
)
def test_any_other_expression_is_no_plain_selector(expr: str) -> None:
    assert selector(expr) is None


@given(st.text(max_size=30), st.sampled_from(["=", "!=", "=~", "!~"]))
def test_any_text_survives_quoting_and_reading(value: str, operator: str) -> None:
    found = selector(f"up{{label{operator}{quote(value)}}}")
    assert found is not None
    assert found.matchers[0].value == value
    assert found.matchers[0].operator == operator


def test_matchers_decide_like_prometheus() -> None:
    found = selector('cpu{a="1",b!="",c=~"x|y",d!~"z.*",e=""}')
    assert found is not None
    assert found.matches("cpu", {"a": "1", "b": "2", "c": "y", "d": "az"})
    for wrong in ({"a": "2"}, {"b": ""}, {"c": "xy"}, {"d": "zz"}, {"e": "1"}):
        assert not found.matches("cpu", {"a": "1", "b": "2", "c": "y", "d": "az", **wrong})
    assert not found.matches("mem", {"a": "1", "b": "2", "c": "y"})


def test_a_plain_selector_is_read_without_lookback_and_aggregated() -> None:
    assert query('cpu{a="b"}', ["namespace", "container"], "mean", 60_000) == (
        'avg by (namespace, container) (last_over_time(cpu{a="b"}[59999ms])\n)'
    )


@pytest.mark.parametrize(("aggregation", "operator"), [("mean", "avg"), ("sum", "sum"), ("max", "max")])
def test_the_aggregation_is_the_operator_of_promql(aggregation: str, operator: str) -> None:
    assert query("up", ["a"], aggregation, 1000).startswith(f"{operator} by (a) (")  # type: ignore[arg-type]


def test_the_step_is_put_in_where_it_is_written_and_nowhere_else() -> None:
    assert substitute('rate(x{a="$step"}[$step]) + y offset $step # [$step]', 60_000, 1) == (
        'rate(x{a="$step"}[59999ms]) + y offset 60000ms # [$step]'
    )
    assert substitute("$stepped + max_over_time(x[1h:$step])", 500, 1) == "$stepped + max_over_time(x[1h:500ms])"


def test_an_expression_stays_as_it_is_while_time_is_not_compressed() -> None:
    expr = 'avg_over_time(rate(a:5m:b{x="[5m]"}[5m])[1h:1m] offset -1d) # offset 5m'
    assert substitute(expr, 60_000, 1) == expr


def test_ranges_and_offsets_are_divided_by_the_speed_but_not_text_or_names() -> None:
    assert substitute('rate(a:5m:b{x="[5m] offset 5m"}[5m]) + y offset -1h30m + z[1d:1m] # [5m]', 500, 120) == (
        'rate(a:5m:b{x="[5m] offset 5m"}[2500ms]) + y offset -45000ms + z[720000ms:500ms] # [5m]'
    )
    assert substitute("rate(x[10ms])", 500, 1000) == "rate(x[1ms])"


def test_the_step_is_wall_time_already_and_not_divided_again() -> None:
    assert query("up", ["a"], "max", 500, 120) == "max by (a) (last_over_time(up[499ms])\n)"
    assert substitute("max_over_time(x[2h:$step])", 500, 120) == "max_over_time(x[60000ms:500ms])"


def test_a_comment_on_the_last_line_does_not_swallow_the_bracket() -> None:
    promql_parser.parse(query("rate(x[5m]) # busy", ["a"], "sum", 60_000))


def test_the_age_is_asked_for_as_a_difference() -> None:
    assert age('up{a="b"}') == 'time() - max(timestamp(up{a="b"}\n))'


@pytest.mark.parametrize("speed", [1.0, 120.0])
@pytest.mark.parametrize("name", preset_names())
def test_every_query_of_the_presets_becomes_valid_promql(name: str, speed: float) -> None:
    step_ms = round(60_000 / speed)
    for target in preset(name)["targets"]:
        for one in target["queries"]:
            texts = [one["expr"], *([one["fallback"]] if "fallback" in one else [])]
            for text in texts:
                sent = query(text, target["labels"], target.get("aggregation", "mean"), step_ms, speed)
                assert "$step" not in sent
                promql_parser.parse(sent)
            if "freshness" in one:
                assert selector(one["freshness"])
                promql_parser.parse(age(one["freshness"], speed))
