"""The registry of likely next steps: checked when the configuration is read, not when an alert fires."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anomaly_exporter.config import ConfigError, Rules, default_remedies
from anomaly_exporter.rendering import render_text
from support.checkers import promtool
from support.rule_configs import config


def test_own_remedies_come_before_the_shipped_ones() -> None:
    of = config(remedies=[{"text": "mine"}])
    assert [remedy.text for remedy in of.all_remedies][:2] == ["mine", default_remedies()[0].text]
    assert len(of.all_remedies) == 1 + len(default_remedies())


def test_the_shipped_ones_can_be_switched_off() -> None:
    assert config(shipped_remedies=False).all_remedies == ()


def test_the_last_shipped_remedy_matches_everything() -> None:
    last = default_remedies()[-1]
    assert (last.target, last.metric, last.direction, last.labels) == (None, None, "any", {})


@pytest.mark.parametrize(
    ("remedy", "complaint"),
    [
        ({"text": "x", "target": "nowhere"}, r"names the target 'nowhere'; known are \['cpu'\]"),
        ({"text": "x", "target": "cpu", "metric": "cpu"}, "matches by target or by metric, received both"),
        ({"text": "x", "metric": "("}, "expected a regular expression"),
        ({"text": "x", "metric": "(?=a)"}, "RE2"),
        ({"text": "x", "labels": {"namespace": r"(a)\1"}}, "RE2"),
        ({"text": "x", "labels": {"not a label": "a"}}, "remedies"),
        ({"text": "two\nlines"}, "remedies.0.text"),
        ({"text": "x", "direction": "sideways"}, "remedies.0.direction"),
        ({"metric": "cpu"}, "remedies.0.text: required"),
    ],
)
def test_a_remedy_that_cannot_work_is_refused_by_name(remedy: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        config(remedies=[remedy])


@pytest.mark.parametrize("text", ['say "{{ .Labels }}"', "{{", "}}", "`backquote`", "back\\slash", "<b>"])
def test_any_text_is_a_template_that_prometheus_accepts(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(render_text("rules", config(remedies=[{"text": text, "labels": {"namespace": 'a"b'}}]), "plain"))
    promtool("check", "rules", str(path))


@pytest.mark.parametrize(
    "step", [{"score": 0.5, "after": "1m"}, {"score": 2, "after": 0}, {"score": 2, "after": "1m", "severity": "info"}]
)
def test_a_severity_step_below_the_threshold_without_duration_or_muted_by_others_is_refused(
    step: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError, match="severity_steps"):
        config(rules={"severity_steps": [step]})


def test_nobody_is_woken_by_default() -> None:
    assert Rules().severity_steps == ()
    assert "critical" not in render_text("rules", config(), "plain")
