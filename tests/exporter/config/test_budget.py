"""The section `alerting.budget`: whose alerts may be how many, and errors that say what to write instead."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_exporter import specs
from anomaly_exporter.config import Config, ConfigError, parse
from anomaly_models.frame import EntityKey

BASE = "files: {path: x}\ntargets:\n  - {name: pods, metric: cpu, queries: [{expr: up}], alerting: %s}\n%s"


def config(of_target: str = "{}", rest: str = "") -> Config:
    return parse(BASE % (of_target, rest))


def entity(namespace: str, container: str) -> EntityKey:
    return EntityKey.of("pods", {"namespace": namespace, "container": container})


def budgets(of: Config, *entities: EntityKey) -> list[float]:
    found = specs.budgets(of.target("pods"), entities)
    assert found.dtype == np.float64
    return [float(n) for n in found]


def test_one_false_alert_a_week_is_allowed_where_nobody_said_otherwise() -> None:
    assert budgets(config(), entity("das", "web"), entity("crab", "web")) == [1.0, 1.0]


def test_a_budget_for_all_is_inherited_and_a_targets_own_wins() -> None:
    for_all = "alerting: {budget: {false_alerts_per_week: 0.5}}"
    assert budgets(config(rest=for_all), entity("das", "web")) == [0.5]
    assert budgets(config("{budget: {false_alerts_per_week: 7}}", for_all), entity("das", "web")) == [7.0]


def test_the_first_override_that_fits_wins() -> None:
    of = config(
        "{budget: {false_alerts_per_week: 2, overrides: ["
        "{tag: das, match: {container: 'db-.*'}, false_alerts_per_week: 0.1}, "
        "{tag: das, false_alerts_per_week: 0.5}, "
        "{match: {container: 'db-.*'}, false_alerts_per_week: 9}]}}"
    )
    asked = [entity("das", "db-1"), entity("das", "web"), entity("crab", "db-1"), entity("crab", "web")]
    assert budgets(of, *asked) == [0.1, 0.5, 9.0, 2.0]


def test_a_label_that_no_target_has_is_a_slip_of_the_pen() -> None:
    with pytest.raises(
        ConfigError, match=r"match \['contaner'\], which no target has as labels; known are \['container'"
    ):
        config("{budget: {overrides: [{match: {contaner: web}, false_alerts_per_week: 5}]}}")


def test_a_pattern_is_about_the_whole_value_and_an_absent_label_is_empty() -> None:
    of = config("{budget: {overrides: [{match: {container: web}, false_alerts_per_week: 5}]}}")
    assert budgets(of, entity("das", "web"), entity("das", "web2"), entity("das", "myweb")) == [5.0, 1.0, 1.0]
    nodes = "  - {name: nodes, metric: load, queries: [{expr: x}], labels: [node], tag_from: node}\n"
    absent = config("{budget: {overrides: [{match: {node: ''}, false_alerts_per_week: 5}]}}", nodes)
    assert budgets(absent, entity("das", "web")) == [5.0]


def test_a_constant_tag_is_a_tag_too() -> None:
    text = "{budget: {overrides: [{tag: ops, false_alerts_per_week: 5}]}}, tag: ops"
    assert budgets(config(text), entity("das", "web")) == [5.0]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{budget: {false_alerts_per_week: 0}}", r"false_alerts_per_week: Input should be greater than 0, received 0"),
        ("{budget: {false_alerts_per_week: 1001}}", r"less than or equal to 1000, received 1001"),
        ("{budget: {overrides: [{false_alerts_per_week: 1}]}}", "an override needs tag or match"),
        (
            "{budget: {overrides: [{match: {container: '('}, false_alerts_per_week: 1}]}}",
            r"expected a regular expression for container, received '\('",
        ),
        ("{budget: {overrides: [{tag: a}]}}", "overrides.0.false_alerts_per_week: required, but not given"),
        ("{budget: {weekly: 1}}", "weekly: unknown key"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_with_its_place(section: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        config(section)
    assert str(refused.value).startswith("targets.0.alerting.budget")
