"""Objects for the Prometheus operator hold only fields that it has, of the types that it takes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from anomaly_exporter.rendering import objects
from support.helm import CHART, rendered, template
from support.operator_fields import problems
from support.rule_configs import config

CASES = sorted((CHART / "ci").glob("*-values.yaml"))
ROOT = CHART.parents[1]


def ours(documents: Any) -> list[dict[str, Any]]:
    return [d for d in documents if d["apiVersion"].startswith("monitoring.coreos.com/")]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_what_the_chart_makes_is_accepted(case: Path) -> None:
    assert [problem for document in ours(rendered(case)) for problem in problems(document)] == []


def test_what_the_commands_print_is_accepted() -> None:
    routes = [{"tag": "das", "emails": ["a@example.org"], "slack": {"channel": "#das"}, "mute": ["night"]}]
    windows = {"night": [{"times": ["22:00-24:00"], "weekdays": ["saturday"], "days_of_month": [1]}]}
    routing = {"routes": routes, "mute_windows": windows, "object_per_tag": True, "smtp": {"username": "x"}}
    made = objects(config(routing=routing), namespace="monitoring")
    made.append(yaml.safe_load((ROOT / "rules" / "prometheusrule.yaml").read_text(encoding="utf-8")))
    made += ours(yaml.safe_load_all((ROOT / "examples" / "sidecar" / "deployment.yaml").read_text(encoding="utf-8")))
    assert {d["kind"] for d in made} == {"AlertmanagerConfig", "PrometheusRule", "PodMonitor"}
    assert [problem for document in made for problem in problems(document)] == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("spec", "route", "groupWait"), 30, "groupWait: expected"),
        (("spec", "route", "groupwait"), "30s", "groupwait: is not a field"),
        (("spec", "route", "receiver"), "nobody", "nobody is not defined"),
        (("spec", "receivers"), {}, "expected a list"),
        (("spec", "route", "matchers"), [{"value": "x"}], "name: is required"),
        (("metadata", "name"), "Upper_Case", "name: expected"),
        (("kind",), "AlertManagerConfig", "is not known"),
    ],
)
def test_a_slip_of_the_pen_is_found(path: tuple[str, ...], value: Any, message: str) -> None:
    (good,) = ours(d for d in template("--set", "alertmanagerConfig.enabled=true") if d["kind"] == "AlertmanagerConfig")
    bad = copy.deepcopy(good)
    place = bad
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert problems(good) == []
    assert any(message in problem for problem in problems(bad))
