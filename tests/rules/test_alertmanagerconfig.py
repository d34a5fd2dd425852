"""The operator's objects: after the operator has tied them to namespaces, every tag still reaches its team."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.cli import cli
from anomaly_exporter.config import Config, ConfigError
from anomaly_exporter.rendering import configuration, objects, render_text
from anomaly_exporter.rendering.alertmanagerconfig import slug
from anomaly_exporter.rendering.routes import matcher_value
from support.checkers import amtool
from support.operator import STRATEGIES, alertmanager_configuration
from support.rule_configs import config

TAGS = ("crab", "das", 'quote " and \\ backslash')
HERE = "monitoring"


def of(strategy: str, profile: str = "kps", **routing: Any) -> Config:
    routes = [{"tag": tag, "emails": [f"team{i}@example.org"]} for i, tag in enumerate(TAGS)]
    routes.append({"tag": "anomaly-exporter", "emails": ["keepers@example.org"]})
    return config(
        routing={"routes": routes, "default_emails": ["all@example.org"], "matcher_strategy": strategy, **routing},
        exposition={"profile": profile},
    )


def routed(configured: Config, strategy: str, folder: Path, alertmanager: str = HERE, **labels: str) -> str:
    """Receivers of an alert with ``labels``, comma-separated, as amtool finds them."""
    document = alertmanager_configuration(objects(configured, namespace=HERE), strategy, alertmanager)
    path = folder / "alertmanager.yaml"
    path.write_text(yaml.safe_dump(document))
    amtool("check-config", str(path))
    arguments = [f"{name}={matcher_value(value)}" for name, value in labels.items()]
    return amtool("config", "routes", "test", f"--config.file={path}", *arguments).strip()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("tag", TAGS)
def test_every_tag_reaches_its_team_under_every_strategy(tag: str, strategy: str, tmp_path: Path) -> None:
    """Under kps an alert carries the namespace it is about; the tag comes from it."""
    found = routed(of(strategy), strategy, tmp_path, alertname="AnomalyDetected", tag=tag, namespace=tag)
    where = tag if strategy == "OnNamespace" else HERE
    assert found == f"{where}/anomaly-exporter/tag/{tag}"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_under_openshift_alerts_carry_the_namespace_of_the_exporter_and_one_object_takes_them(
    strategy: str, tmp_path: Path
) -> None:
    labels = {"alertname": "AnomalyDetected", "tag": "crab", "namespace": HERE, "target_namespace": "crab"}
    assert routed(of(strategy, "openshift"), strategy, tmp_path, **labels) == f"{HERE}/anomaly-exporter/tag/crab"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_alerts_about_the_exporter_carry_its_namespace_and_reach_its_keepers(strategy: str, tmp_path: Path) -> None:
    labels = {"alertname": "AnomalyExporterBlind", "tag": "anomaly-exporter", "namespace": HERE}
    assert routed(of(strategy), strategy, tmp_path, **labels).endswith("/tag/anomaly-exporter")
    labels |= {"alertname": "AnomalyWatchdog"}
    assert routed(of(strategy), strategy, tmp_path, **labels) == f"{HERE}/anomaly-exporter/watchdog"


def test_the_default_strategy_asks_for_the_namespace_of_alertmanager(tmp_path: Path) -> None:
    """Elsewhere the operator ties the object, and alerts of other namespaces would miss their mail."""
    strategy = "OnNamespaceExceptForAlertmanagerNamespace"
    labels = {"alertname": "AnomalyDetected", "tag": "crab", "namespace": "crab"}
    assert routed(of(strategy), strategy, tmp_path, **labels).endswith("/tag/crab")
    assert routed(of(strategy), strategy, tmp_path, alertmanager="elsewhere", **labels) == "null"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_alerts_of_others_are_never_taken(strategy: str, tmp_path: Path) -> None:
    labels = {"alertname": "KubePodCrashLooping", "namespace": HERE, "tag": "crab"}
    assert routed(of(strategy), strategy, tmp_path, **labels) == "null"


def test_a_tag_that_no_namespace_gives_is_refused_where_it_could_not_be_routed() -> None:
    targets = [{"name": "n", "metric": "x", "tag": "crab", "queries": [{"name": "x", "expr": "x"}]}]
    routing = {"routes": [{"tag": "crab", "emails": ["a@b.org"]}], "matcher_strategy": "OnNamespace"}
    with pytest.raises(ConfigError, match=r"\['crab'\].*no object can route them"):
        objects(config(targets=targets, routing=routing), namespace=HERE)
    with pytest.raises(ConfigError, match="expected --namespace"):
        objects(config(routing=routing))


def test_the_command_says_what_is_wrong_and_exits_2(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    document = {
        "prometheus": {"url": "http://p"},
        "presets": ["kube-eagle"],
        "routing": {"matcher_strategy": "OnNamespace"},
    }
    path.write_text(yaml.safe_dump(document))
    done = CliRunner().invoke(cli, ["render", "alertmanagerconfig", "-c", str(path)])
    assert done.exit_code == 2
    assert "--namespace" in done.output


FULL = {
    "watchdog_url": "https://snitch.example.org/x",
    "smtp": {"username": "exporter"},
    "mute_windows": {"sunday": [{"weekdays": ["sunday"], "times": ["02:00-06:00"], "days_of_month": [1]}]},
    "routes": [
        {
            "tag": "crab",
            "emails": ["a@example.org"],
            "webhooks": ["https://hook.example.org/x"],
            "slack": {"channel": "#crab"},
            "mute": ["sunday"],
            "send_resolved": False,
        }
    ],
}


def test_both_forms_hold_the_same_routes_inhibitions_receivers_and_windows() -> None:
    """What the operator makes of the object is the plain form, but for names, credentials and the tie to our alerts."""
    configured = config(routing=FULL)
    plain = configuration(configured)
    made = alertmanager_configuration(objects(configured, namespace=HERE), "None", HERE)
    prefix = f"{HERE}/anomaly-exporter/"

    def named(value: Any) -> Any:
        """``value`` without the operator's prefix on names."""
        if isinstance(value, dict):
            return {key: named(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [named(inner) for inner in value]
        return value.removeprefix(prefix) if isinstance(value, str) else value

    (route,) = named(made["route"]["routes"])
    assert route.pop("continue") is True
    assert route.pop("matchers") == ['alertname=~"Anomaly.+"']
    assert route == plain["route"]
    assert made["inhibit_rules"] == plain["inhibit_rules"]
    windows = named(made["time_intervals"])
    windows[0]["time_intervals"][0]["days_of_month"] = ["1"]
    assert windows == plain["time_intervals"]
    mails = [
        [
            (mail["to"], mail["html"], mail["text"], mail["headers"], mail["send_resolved"])
            for mail in r["email_configs"]
        ]
        for document in (plain, made)
        for r in document["receivers"]
        if "email_configs" in r
    ]
    assert mails[0] == mails[1]
    assert [r.get("webhook_configs") for r in plain["receivers"]] == [
        r.get("webhook_configs") for r in made["receivers"][1:]
    ]


def test_credentials_are_references_never_values() -> None:
    configured = config(routing=FULL)
    (document,) = objects(configured, namespace=HERE)
    receiver = document["spec"]["receivers"][2]
    assert receiver["emailConfigs"][0]["authPassword"] == {"name": "anomaly-exporter-smtp", "key": "password"}
    assert receiver["slackConfigs"][0]["apiURL"] == {"name": "anomaly-exporter-slack", "key": "url"}
    plain = configuration(configured)
    assert plain["global"]["smtp_auth_password_file"] == "/etc/alertmanager/smtp/password"
    assert plain["receivers"][2]["slack_configs"][0]["api_url_file"] == "/etc/alertmanager/slack/url"


def test_a_compressed_clock_and_labels_of_the_selector_are_in_the_object() -> None:
    compressed = config(timing={"speed": 60})
    (document,) = objects(compressed, namespace=HERE, labels={"alertmanagerConfig": "main"})
    assert document["spec"]["route"]["groupWait"] == "500ms"
    assert document["metadata"]["labels"]["alertmanagerConfig"] == "main"
    assert (
        yaml.safe_load(render_text("alertmanagerconfig", compressed, namespace=HERE))["metadata"]["namespace"] == HERE
    )


def per_tag(strategy: str = "None", profile: str = "kps", **routing: Any) -> Config:
    return of(strategy, profile, object_per_tag=True, **routing)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("tag", TAGS)
def test_with_an_object_per_tag_every_tag_still_reaches_its_team_and_nobody_else(
    tag: str, strategy: str, tmp_path: Path
) -> None:
    labels = {"alertname": "AnomalyDetected", "tag": tag, "namespace": tag}
    found = routed(per_tag(strategy), strategy, tmp_path, **labels)
    assert found.endswith(f"/tag/{tag}")
    assert "," not in found


def test_with_an_object_per_tag_the_first_one_takes_what_has_none(tmp_path: Path) -> None:
    made = objects(per_tag(), namespace=HERE)
    assert [document["metadata"]["name"] for document in made] == [
        "anomaly-exporter",
        "anomaly-exporter-crab",
        "anomaly-exporter-das",
        f"anomaly-exporter-{slug(TAGS[2])}",
    ]
    assert [len(document["spec"]["receivers"]) for document in made[1:]] == [1, 1, 1]
    assert not any("inhibitRules" in document["spec"] for document in made[1:])
    for labels, receiver in (
        ({"alertname": "AnomalyDetected", "tag": "nobody"}, "default"),
        ({"alertname": "AnomalyExporterBlind", "tag": "anomaly-exporter"}, "tag/anomaly-exporter"),
        ({"alertname": "AnomalyWatchdog", "tag": "anomaly-exporter"}, "watchdog"),
    ):
        assert routed(per_tag(), "None", tmp_path, **labels) == f"{HERE}/anomaly-exporter/{receiver}"
    assert routed(per_tag(), "None", tmp_path, alertname="KubePodCrashLooping", tag="crab") == "null"


def test_without_a_tag_of_a_team_one_object_is_enough() -> None:
    routes = [{"tag": "anomaly-exporter", "emails": ["keepers@example.org"]}]
    assert len(objects(per_tag(routes=routes), namespace=HERE)) == 1


def test_mute_windows_go_along_with_the_object_that_names_them() -> None:
    configured = config(routing={**FULL, "object_per_tag": True})
    first, team = objects(configured, namespace=HERE)
    assert "muteTimeIntervals" not in first["spec"]
    assert [interval["name"] for interval in team["spec"]["muteTimeIntervals"]] == ["sunday"]
    assert team["spec"]["route"]["muteTimeIntervals"] == ["sunday"]


@given(st.text(min_size=1))
def test_a_tag_always_gives_a_valid_part_of_a_name(tag: str) -> None:
    part = slug(tag)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", part)
    assert slug(part) == part
