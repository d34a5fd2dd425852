"""What one training may do differently, validated by the configuration's own models."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.config import ConfigError, Overrides, overridden, read_overrides
from anomaly_exporter.config.overrides import MAX_BYTES, PARAMETERS
from support.snapshots import config_of

CONFIG = config_of(
    {"name": "cpu", "models": ["small", "zscore"], "training": {"history": "10d"}},
    {"name": "memory", "metric": "memory", "models": ["small"]},
    models={"small": {"recipe": "fc", "window": 30, "tail": 20, "epochs": 9}},
)


def test_only_what_was_asked_for_is_different() -> None:
    changed = overridden(CONFIG, "cpu", Overrides(parameters={"epochs": 3}, training={"history": "2d"}))
    assert changed.model("small") == CONFIG.model("small").model_copy(update={"epochs": 3})
    assert changed.model("zscore").epochs == 3
    assert changed.target("cpu").training.history == 2 * 86_400
    assert changed.target("memory") == CONFIG.target("memory")
    assert CONFIG.model("small").epochs == 9


def test_without_overrides_nothing_is_different() -> None:
    assert Overrides().nothing
    assert overridden(CONFIG, "cpu", Overrides()).target("cpu") == CONFIG.target("cpu")
    assert Overrides().text() == "{}"


def test_one_model_alone_may_be_changed() -> None:
    changed = overridden(CONFIG, "cpu", Overrides(model="zscore", parameters={"seed": 4}))
    assert (changed.model("zscore").seed, changed.model("small").seed) == (4, 0)


def test_another_recipe_brings_its_own_window() -> None:
    assert overridden(CONFIG, "memory", Overrides(parameters={"recipe": "zscore"})).model("small").window == 2
    assert overridden(CONFIG, "memory", Overrides(parameters={"recipe": "cnn"})).model("small").window == 24
    asked = Overrides(parameters={"recipe": "cnn", "window": 12})
    assert overridden(CONFIG, "memory", asked).model("small").window == 12


@pytest.mark.parametrize(
    ("target", "asked", "told"),
    [
        ("disk", {}, "target: 'disk' is not configured, known are cpu, memory"),
        ("memory", {"model": "zscore"}, "model: target 'memory' has the models small, not zscore"),
        ("cpu", {"parameters": {"window": 10}}, "parameters: tail must not exceed window (10), received 20"),
        ("cpu", {"parameters": {"epochs": 10_001}}, "parameters.epochs: Input should be less than or equal to 10000"),
        ("cpu", {"parameters": {"epoch": 1}}, "parameters.epoch: unknown, expected one of recipe"),
        ("cpu", {"training": {"every": "1h"}}, "training.every: unknown"),
        ("cpu", {"training": {"history": "11d"}}, "training.history: expected at most the configured 864000 s"),
        ("cpu", {"training": {"contamination": 0.6}}, "training.contamination"),
    ],
)
def test_what_is_wrong_is_told_with_path_and_expectation(target: str, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        overridden(CONFIG, target, Overrides.model_validate(asked))
    assert any(line.startswith(told) for line in str(caught.value).splitlines()), str(caught.value)


@given(
    st.builds(
        Overrides,
        model=st.sampled_from([None, "small"]),
        parameters=st.dictionaries(st.sampled_from(PARAMETERS), st.integers() | st.text(max_size=9), max_size=5),
        training=st.dictionaries(st.sampled_from(["history", "contamination"]), st.text(max_size=9), max_size=2),
    )
)
def test_what_was_written_reads_the_same_and_is_applied_or_refused(asked: Overrides) -> None:
    try:
        assert read_overrides(asked.text()) == asked
        assert overridden(CONFIG, "cpu", asked).target("cpu").name == "cpu"
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - either way is right


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}', '{"parameters": 3}', "x" * (MAX_BYTES + 1), "[" * 9000])
def test_what_is_no_override_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--override"):
        read_overrides(text)
