"""The section `canary`: off by default, a target of its own when it is on, and nothing that could hide its spikes."""

from __future__ import annotations

import pytest

from anomaly_exporter.config import CANARY_TAG, CANARY_TARGET, Config, ConfigError, parse

BASE = """
prometheus: {url: "http://prometheus:9090"}
targets: [{name: web, metric: cpu, queries: [{expr: web_cpu}]}]
"""


def on(more: str = "", rest: str = "") -> Config:
    return parse(f"{BASE}canary: {{enabled: true{', ' if more else ''}{more}}}\n{rest}")


def test_it_is_off_by_default() -> None:
    config = parse(BASE)
    assert not config.canary.enabled
    assert [t.name for t in config.targets] == ["web"]


def test_when_on_a_target_like_any_other_reads_the_series_back_and_is_not_among_the_watched() -> None:
    config = on("name: east, every: 30m, step: 30s")
    target = config.target(CANARY_TARGET)
    assert [t.name for t in config.targets] == ["web", "canary"], "what the user wrote takes precedence"
    assert [t.name for t in config.watched] == ["web"]
    assert target.queries[0].expr == 'anomaly_exporter_canary_value{canary="east"}'
    assert (target.tag, target.labels, target.models) == (CANARY_TAG, ("canary",), ("zscore",))
    assert (target.step, target.training.min_history, target.training.history) == (30, 3600, 4 * 3600)


def test_sections_for_all_targets_do_not_reach_it() -> None:
    config = on(rest="alerting: {persistence: 60, hold: 9}\nthreshold: {floor: 50}\ntraining: {min_history: 10d}\n")
    target = config.target(CANARY_TARGET)
    assert (target.alerting.persistence, target.alerting.hold, target.threshold.floor) == (2, 0, 2.0)
    assert target.training.min_history == 7200
    assert config.target("web").alerting.persistence == 60


@pytest.mark.parametrize(("length", "every", "step"), [(5, "40m", "1m"), (6, "1h", "1m"), (7, "56m", "1m")])
def test_a_spike_may_last_an_eighth_of_its_period(length: int, every: str, step: str) -> None:
    canary = on(f"length: {length}, every: {every}, step: {step}").canary
    assert canary.spike_seconds <= canary.every / 8


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("length: 8", "canary: a spike may last at most an eighth of every (3600 s), received length 8 x step 60 s"),
        ("length: 4", "canary.length: Input should be greater than or equal to 5"),
        ("step: 7m", "canary: every must be a multiple of step (420 s), received 3600 s"),
        ("webhook_url: 'alertmanager:9093'", "canary.webhook_url: String should match"),
        ("name: 'a\"b'", "canary.name: String should match"),
        ("colour: red", "canary.colour: unknown key"),
    ],
)
def test_what_is_wrong_is_named(more: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        on(more)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BASE.replace("name: web", "name: canary") + "canary: {enabled: true}", "['canary'] are used twice"),
        (BASE.replace("metric: cpu", f"metric: cpu, tag: {CANARY_TAG}"), "belongs to the canary"),
        (BASE + f"routing: {{routes: [{{tag: {CANARY_TAG}, emails: [a@b]}}]}}", "belongs to the canary"),
        (
            BASE.replace('prometheus: {url: "http://prometheus:9090"}', "files: {path: x}") + "canary: {enabled: true}",
            "canary.enabled needs prometheus",
        ),
        ("prometheus: {url: 'http://p'}\ncanary: {enabled: true}", "targets must not be empty"),
    ],
)
def test_name_tag_and_source_of_the_canary_are_its_own(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert said in str(error.value)


def test_a_target_may_be_called_canary_where_there_is_none() -> None:
    assert parse(BASE.replace("name: web", "name: canary")).watched[0].name == "canary"
