"""The configuration: what a user may write, what comes out, and what is said when it is wrong."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.config import (
    Config,
    ConfigError,
    format_duration,
    json_schema,
    load,
    parse,
    parse_duration,
    preset_names,
)

MINIMAL = """
prometheus: {url: "http://prometheus:9090"}
targets:
  - name: web
    metric: cpu
    queries: [{expr: web_cpu}]
"""


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        parse(text)
    return str(error.value)


def test_three_lines_about_a_target_are_enough() -> None:
    config = parse(MINIMAL)
    target = config.target("web")
    assert target.features == ("value",)
    assert target.labels == ("namespace", "container")
    assert (target.step, target.training.history, target.training.every) == (60, 30 * 86400, 2 * 3600)
    assert config.static_labels == {"env": "k8s-prod"}


def test_every_preset_is_a_valid_configuration() -> None:
    assert preset_names() == ["kube-eagle", "kubernetes", "node-exporter"]
    for name in preset_names():
        config = parse(f"prometheus: {{url: 'http://p:9090'}}\npresets: [{name}]")
        assert config.targets


def test_kube_eagle_watches_the_services_of_the_original_system_and_treats_short_zeros_as_gaps() -> None:
    config = parse("prometheus: {url: 'http://p:9090'}\npresets: [kube-eagle]")
    assert [t.metric for t in config.targets] == ["cpu", "memory"]
    for target in config.targets:
        assert target.zero_gap == 2
        for service in (
            "crabserver",
            "das-server",
            "dbs2go-global-r",
            "reqmgr2",
            "workqueue",
            "autodqm",
            "t0wmadatasvc",
        ):
            assert service in target.queries[0].expr


def test_zeros_are_gaps_only_in_kube_eagle() -> None:
    config = parse("prometheus: {url: 'http://p:9090'}\npresets: [kubernetes, node-exporter]")
    assert {t.zero_gap for t in config.targets} == {0}


def test_a_users_target_wins_over_a_presets_target_of_the_same_name() -> None:
    config = parse(
        "prometheus: {url: 'http://p:9090'}\npresets: [kube-eagle]\n"
        "targets: [{name: kube-eagle-cpu, metric: mine, queries: [{expr: up}]}]"
    )
    assert [(t.name, t.metric) for t in config.targets] == [("kube-eagle-cpu", "mine"), ("kube-eagle-memory", "memory")]


def test_section_defaults_are_laid_under_a_targets_own_values() -> None:
    config = parse(
        MINIMAL + "    alerting: {persistence: 7}\nalerting: {persistence: 5, direction: up}\ntraining: {every: 1h}\n"
    )
    target = config.target("web")
    assert (target.alerting.persistence, target.alerting.direction, target.training.every) == (7, "up", 3600)


def test_the_name_of_a_recipe_is_a_model_with_its_defaults() -> None:
    config = parse(MINIMAL)
    assert config.model("cnn_lstm").recipe == "cnn_lstm"
    with pytest.raises(KeyError):
        config.model("nonsense")


def test_recipes_that_look_at_one_sample_have_a_short_window_unless_told_otherwise() -> None:
    config = parse(MINIMAL + "models: {long: {recipe: zscore, window: 8}}\n")
    assert [config.model(m).window for m in ("fc", "zscore", "seasonal", "long")] == [24, 2, 2, 8]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected a mapping of sections, received list"),
        ("a: [", "not valid YAML"),
        (MINIMAL + "colour: red\n", "colour: unknown key; see docs/configuration.md"),
        (MINIMAL.replace("metric: cpu", "mertic: cpu"), "targets.0.metric: required, but not given"),
        (
            MINIMAL.replace("http://prometheus:9090", "prometheus:9090"),
            "prometheus.url: expected a URL that starts with",
        ),
        (MINIMAL + "training: {every: 2 hours}\n", "expected a duration such as 60s, 5m, 2h, 30d or 1h30m"),
        (MINIMAL + "training: {split: [0.5, 0.1, 0.1]}\n", "split must be three positive shares that sum to 1"),
        (MINIMAL + "files: {path: x}\n", "exactly one of prometheus, files, scrape, simulator"),
        ("prometheus: {url: 'http://p'}", "targets must not be empty"),
        ("prometheus: {url: 'http://p'}\npresets: [kubernets]", "'kubernets' is unknown, expected one of"),
        (MINIMAL + "    models: [transformer]\n", "names the model 'transformer'; known are"),
        (MINIMAL + "    labels: [namespace, model]\n", "labels ['model'] belong to the exporter or to the scrape"),
        (MINIMAL + "    labels: [container]\n", "tag_from must be one of labels"),
        (MINIMAL + "static_labels: {namespace: x}\n", "static_labels ['namespace'] clash"),
        (MINIMAL + "models: {short: {recipe: fc, window: 4, tail: 5}}\n", "models.short: tail must not exceed window"),
        (MINIMAL + "    min_features: 2\n", "min_features must be at most 1"),
        (
            "prometheus: {url: 'http://p', bearer_token_file: a, basic_auth: {username: u, password_file: f}}",
            "prometheus: basic_auth and bearer_token_file exclude each other",
        ),
    ],
)
def test_a_mistake_is_named_with_its_path_and_what_was_expected(text: str, said: str) -> None:
    assert said in complaint(text)


def test_every_problem_is_reported_at_once() -> None:
    assert len(complaint("prometheus: {url: x, timeout: y}\ntargets: [{name: A}]").splitlines()) >= 4


def test_a_file_that_cannot_be_read_is_named(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "absent.yaml"
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file"):
        load(path)


def test_a_loaded_file_carries_the_digest_of_its_text(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "config.yaml"
    path.write_text(MINIMAL)
    first = load(path)
    path.write_text(MINIMAL + "# a comment\n")
    assert first.digest != load(path).digest
    assert first.config == load(path).config


def test_sections_cannot_be_changed_after_validation() -> None:
    config = parse(MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        config.targets[0].step = 5  # type: ignore[misc]


@given(st.integers(min_value=0, max_value=10**9))
def test_a_duration_survives_being_written_and_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_text_makes_the_parser_fail_in_any_other_way_than_a_config_error(text: str | bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(parse(text), Config)


def test_every_field_of_every_section_is_described_in_the_schema() -> None:
    schema = json_schema()
    bare = [
        f"{section}.{field}"
        for section, body in {**schema["$defs"], "Config": schema}.items()
        for field, spec in body.get("properties", {}).items()
        if "description" not in spec
    ]
    undocumented = [b for b in bare if b not in {"BasicAuth.username", "Model.recipe"}]
    assert undocumented == []
    assert Config.model_fields
