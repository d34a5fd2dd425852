"""What the chart holds of the rest of the repository is what the code makes, and means the same once filled in."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from anomaly_exporter.config import Config, parse
from anomaly_exporter.rendering import objects, plain_rules, render_text
from support.helm import CHART, one, rendered, template
from support.operator import alertmanager_configuration

ROOT = CHART.parents[1]
PROFILES = ("kps", "openshift")


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("charts_generate", ROOT / "charts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configuration(documents: Any) -> Config:
    held = [d for d in documents if d["kind"] == "ConfigMap" and "config.yaml" in d.get("data", {})]
    return parse(held[0]["data"]["config.yaml"])


def test_rules_routes_dashboards_schema_and_readme_are_up_to_date() -> None:
    """`make sync` writes them."""
    made = generator().generated()
    stale = [str(p.relative_to(ROOT)) for p, text in made.items() if not p.exists() or p.read_text("utf-8") != text]
    assert stale == []
    assert {p for p in (CHART / "files").rglob("*") if p.is_file()} <= made.keys()


def test_a_value_without_description_is_refused_by_the_generator_of_the_readme() -> None:
    with pytest.raises(ValueError, match=r"a\.c has no comment"):
        generator().reference("a:\n  # -- known\n  b: 1\n  c: 2\n")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_rules_are_those_that_the_exporter_renders(profile: str) -> None:
    documents = rendered(CHART / "ci" / f"{profile}-values.yaml")
    groups = one(documents, "PrometheusRule")["spec"]["groups"]
    text = render_text("rules", configuration(documents), "plain", namespace="monitoring")
    assert groups == yaml.safe_load(text)["groups"]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_routes_are_those_that_the_exporter_renders(profile: str) -> None:
    documents = rendered(CHART / "ci" / f"{profile}-values.yaml")
    (expected,) = objects(configuration(documents), namespace="monitoring")
    assert one(documents, "AlertmanagerConfig")["spec"] == expected["spec"]


@pytest.mark.parametrize("profile", PROFILES)
def test_prometheus_and_alertmanager_accept_what_the_operator_makes_of_them(profile: str, tmp_path: Path) -> None:
    documents = rendered(CHART / "ci" / f"{profile}-values.yaml")
    rules, routes = tmp_path / "rules.yaml", tmp_path / "alertmanager.yaml"
    rules.write_text(yaml.safe_dump(one(documents, "PrometheusRule")["spec"]))
    strategy = configuration(documents).routing.matcher_strategy
    document = alertmanager_configuration([one(documents, "AlertmanagerConfig")], strategy, "monitoring")
    routes.write_text(yaml.safe_dump(document))
    subprocess.run(["promtool", "check", "rules", str(rules)], check=True, capture_output=True)
    subprocess.run(["amtool", "check-config", str(routes)], check=True, capture_output=True)


def test_under_openshift_names_nothing_is_called_namespace_but_the_exporter_itself() -> None:
    documents = rendered(CHART / "ci" / "openshift-values.yaml")
    text = yaml.safe_dump(one(documents, "PrometheusRule")["spec"])
    assert "target_namespace" in text
    assert "namespace_tag" in text
    dashboards = [d for d in documents if "grafana_dashboard" in d["metadata"].get("labels", {})]
    assert dashboards
    assert all("target_namespace" in "".join(d["data"].values()) for d in dashboards if "home" in d["metadata"]["name"])


def test_no_placeholder_is_left() -> None:
    for profile in PROFILES:
        assert "placeholder" not in yaml.safe_dump_all(rendered(CHART / "ci" / f"{profile}-values.yaml"))


def test_own_rules_and_routes_are_taken_as_they_are_rendered(tmp_path: Path) -> None:
    values = {
        "config": {
            "presets": ["kubernetes"],
            "rules": {"severity_steps": [{"score": 3, "after": "30m"}]},
            "routing": {"watchdog_every": 60, "routes": [{"tag": "crab", "emails": ["crab@example.org"]}]},
        }
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    arguments = ["--values", str(tmp_path / "values.yaml")]
    config = configuration(template(*arguments))
    for kind, key in (("rules", "prometheusRule"), ("alertmanagerconfig", "alertmanagerConfig")):
        path = tmp_path / f"{kind}.yaml"
        path.write_text(render_text(kind, config, "plain", namespace="monitoring"))
        arguments += ["--set", f"{key}.enabled=true", "--set-file", f"{key}.rendered={path}"]
    documents = template(*arguments)
    assert one(documents, "PrometheusRule")["spec"]["groups"] == yaml.safe_load(
        yaml.safe_dump(plain_rules(config, "monitoring")["groups"])
    )
    (expected,) = objects(config, namespace="monitoring")
    assert one(documents, "AlertmanagerConfig")["spec"] == expected["spec"]
