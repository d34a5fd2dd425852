"""Promises of the sections about what is known beside samples: defaults, refusals, and how they reach the science."""

from __future__ import annotations

import pytest

from anomaly_exporter import specs
from anomaly_exporter.config import Config, ConfigError, parse
from anomaly_models.regime import RegimeSpec

BASE = """
prometheus: {{url: "http://localhost:9090"}}
{sections}
targets:
  - {{name: m, metric: memory, models: [zscore], step: {step},
     queries: [{{name: a, expr: x{query}}}, {{name: b, expr: y}}]{target}}}
"""


def config(sections: str = "", target: str = "", query: str = "", step: str = "60s") -> Config:
    return parse(BASE.format(sections=sections, target=target, query=query, step=step))


def refused(**given: str) -> str:
    with pytest.raises(ConfigError) as error:
        config(**given)
    return str(error.value)


def test_without_a_word_everything_is_possible_nobody_is_held_and_regimes_are_absorbed() -> None:
    target = config().target("m")
    assert specs.ranges(target) == ()
    assert target.hold_on is None
    assert target.queries[0].limit is None
    assert specs.regime_spec(target.regime, target.step) == RegimeSpec()


def test_ranges_reach_the_cleaning_one_per_feature() -> None:
    of = config(query=", valid: {min: 0}")
    assert specs.cleaning_spec(of.target("m"), of.model("zscore")).ranges == ((0, None), (None, None))


def test_a_hold_reaches_the_alert_state() -> None:
    of = config(target=", hold_on: {expr: restarts, steps: 7}")
    assert specs.alert_spec(of.target("m"), of.model("zscore")).hold_after_restart == 7
    plain = config()
    assert specs.alert_spec(plain.target("m"), plain.model("zscore")).hold_after_restart == 0


def test_a_targets_own_regime_is_laid_over_the_common_one() -> None:
    target = config("regime: {after: 1h, extreme: 2}", ", regime: {longest: 2h}").target("m")
    assert specs.regime_spec(target.regime, target.step) == RegimeSpec(60, 2, 120)
    off = config("regime: {enabled: false}")
    assert specs.alert_spec(off.target("m"), off.model("zscore")).regime is None


def test_a_long_step_needs_longer_to_show_that_a_level_is_steady() -> None:
    section = config().target("m").regime
    assert specs.regime(section, 300) == RegimeSpec(12, 8, 144)
    assert specs.regime(section, 7200) == RegimeSpec(12, 8, 12)


def test_serving_remembers_only_so_many_scores_and_leaves_the_rest_to_training() -> None:
    section = config().target("m").regime
    assert specs.regime(section, 8) == RegimeSpec(338, 8, 5400)
    assert specs.regime(section, 7) is None
    assert specs.regime_spec(section, 1) == RegimeSpec(2700, 8, 43_200)
    of = config(step="1s")
    assert specs.alert_spec(of.target("m"), of.model("zscore")).regime is None


def test_what_makes_no_sense_is_refused_with_what_was_expected() -> None:
    assert "min must not exceed max" in refused(query=", valid: {min: 2, max: 1}")
    assert "longest (60 s) must not be shorter" in refused(sections="regime: {longest: 1m}")
    assert "limit" in refused(query=", limit: -1")
    assert "hold_on" in refused(target=", hold_on: {steps: 5}")


@pytest.mark.parametrize("asked", [", hold_on: {expr: r}", ""])
def test_only_what_can_be_asked_is_asked(asked: str) -> None:
    document = BASE.format(sections="", step="60s", target=asked, query="" if asked else ", limit: some_metric")
    with pytest.raises(ConfigError, match="need prometheus or files"):
        parse(document.replace('prometheus: {url: "http://localhost:9090"}', "simulator: {}"))


def test_the_kubernetes_preset_asks_for_restarts_and_limits_of_memory() -> None:
    of = parse('prometheus: {url: "http://localhost:9090"}\npresets: [kubernetes]\n')
    for target in of.targets:
        assert target.hold_on is not None
        assert "kube_pod_container_status_restarts_total" in target.hold_on.expr
        limit = target.queries[0].limit
        assert ("memory" in target.name) == (isinstance(limit, str) and "resource_limits" in limit)
