"""Alertmanager's configuration, judged by amtool: every tag reaches its own team, whatever the tag is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_exporter.config import Config, ConfigError
from anomaly_exporter.rendering import configuration, render_text
from anomaly_exporter.rendering.routes import DEFAULT_RECEIVER, matcher_value, receiver_name
from support.checkers import amtool
from support.rule_configs import HOSTILE, ROOT, config

TEAMS = ("crab", "das", *HOSTILE)


def routed(**routing: Any) -> Config:
    return config(routing=routing)


def of_teams() -> Config:
    routes = [{"tag": tag, "emails": [f"team{i}@example.org"]} for i, tag in enumerate(TEAMS)]
    return routed(routes=routes, default_emails=["all@example.org"])


def written(of: Config, folder: Path) -> str:
    path = folder / "alertmanager.yaml"
    path.write_text(render_text("alertmanager", of), encoding="utf-8")
    return str(path)


def receiver_of(file: str, **labels: str) -> str:
    arguments = [f"{name}={matcher_value(value)}" for name, value in labels.items()]
    return amtool("config", "routes", "test", f"--config.file={file}", *arguments)


def test_amtool_accepts_the_committed_configuration() -> None:
    assert "SUCCESS" in amtool("check-config", str(ROOT / "rules" / "alertmanager.yaml"))


def test_amtool_accepts_a_configuration_with_hostile_tags(tmp_path: Path) -> None:
    assert f"{len(TEAMS) + 3} receivers" in amtool("check-config", written(of_teams(), tmp_path))


@pytest.mark.parametrize("tag", TEAMS)
def test_every_tag_reaches_its_own_receiver(tag: str, tmp_path: Path) -> None:
    assert receiver_of(written(of_teams(), tmp_path), tag=tag).rstrip("\n") == receiver_name(tag).rstrip("\n")


@pytest.mark.parametrize("tag", ["other", "crab2", "CRAB", "cra", 'crab"', "anomaly-exporter"])
def test_a_tag_without_a_route_reaches_the_default_receiver(tag: str, tmp_path: Path) -> None:
    assert receiver_of(written(of_teams(), tmp_path), tag=tag) == f"{DEFAULT_RECEIVER}\n"


def test_the_committed_routes_lead_to_the_teams_of_the_example() -> None:
    file = str(ROOT / "rules" / "alertmanager.yaml")
    assert receiver_of(file, tag="crab", namespace="crab") == "tag/crab\n"
    assert receiver_of(file, tag="das", namespace="das") == "tag/das\n"
    assert receiver_of(file, tag="anomaly-exporter") == "default\n"


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=30).filter(lambda text: "\x00" not in text))
def test_a_matcher_is_read_back_as_the_very_value(value: str) -> None:
    """Alertmanager's reading: between the outer quotes a backslash takes the next of ``\\``, ``"``, ``n`` with it."""
    quoted = matcher_value(value)
    assert (quoted[0], quoted[-1]) == ('"', '"')
    out, rest = "", iter(quoted[1:-1])
    for character in rest:
        assert character not in {'"', "\n"}
        out += {"n": "\n", '"': '"', "\\": "\\"}[next(rest)] if character == "\\" else character
    assert out == value


def test_each_address_has_a_mail_of_its_own_and_resolved_mails_are_a_choice() -> None:
    route = {"tag": "a", "emails": ["x@example.org", "y@example.org"], "send_resolved": False}
    receiver = configuration(routed(routes=[route]))["receivers"][2]
    assert [(mail["to"], mail["send_resolved"]) for mail in receiver["email_configs"]] == [
        ("x@example.org", False),
        ("y@example.org", False),
    ]


def test_two_routes_of_one_tag_become_one_receiver_that_mails_both_teams() -> None:
    routes = [
        {"tag": "a", "emails": ["x@example.org", "y@example.org"], "send_resolved": False},
        {"tag": "a", "emails": ["y@example.org", "z@example.org"]},
    ]
    document = configuration(routed(routes=routes))
    assert len(document["route"]["routes"]) == 3, "the watchdog, the tag and the canary"
    mails = document["receivers"][2]["email_configs"]
    assert [(mail["to"], mail["send_resolved"]) for mail in mails] == [
        ("x@example.org", False),
        ("y@example.org", True),
        ("z@example.org", True),
    ]


def test_without_default_addresses_the_default_receiver_mails_nobody(tmp_path: Path) -> None:
    names = (DEFAULT_RECEIVER, "watchdog", "canary")
    assert configuration(routed())["receivers"] == [{"name": name} for name in names]
    amtool("check-config", written(routed(), tmp_path))


def test_routes_group_by_tag_and_by_the_namespace_as_it_is_emitted() -> None:
    assert configuration(config())["route"]["group_by"] == ["env", "namespace", "tag"]
    openshift = configuration(config(exposition={"profile": "openshift"}))
    assert openshift["route"]["group_by"] == ["env", "target_namespace", "tag"]


def test_compressed_time_divides_every_duration_by_one_number(tmp_path: Path) -> None:
    of = config(timing={"speed": 600}, routing={"group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"})
    document = configuration(of)
    assert document["global"]["resolve_timeout"] == "500ms"
    names = ("group_wait", "group_interval", "repeat_interval")
    assert [document["route"][name] for name in names] == ["50ms", "500ms", "24s"]
    amtool("check-config", written(of, tmp_path))


def test_the_smtp_server_of_the_configuration_is_used() -> None:
    smtp = {"smarthost": "mail:2525", "sender": "a@example.org", "require_tls": False}
    found = configuration(routed(smtp=smtp))["global"]
    assert found["smtp_smarthost"] == "mail:2525"
    assert found["smtp_from"] == "a@example.org"
    assert found["smtp_require_tls"] is False


def test_the_text_is_plain_yaml_that_anyone_can_load() -> None:
    text = render_text("alertmanager", of_teams())
    assert yaml.safe_load(text) == configuration(of_teams())
    assert text.startswith("# Generated from the configuration")


def test_the_watchdog_reaches_only_the_outside_receiver_and_keeps_coming(tmp_path: Path) -> None:
    of = routed(watchdog_url="https://snitch.example.org/x", watchdog_every="10m", default_emails=["all@example.org"])
    assert receiver_of(written(of, tmp_path), alertname="AnomalyWatchdog", tag="anomaly-exporter") == "watchdog\n"
    document = configuration(of)
    route = document["route"]["routes"][0]
    assert (route["group_interval"], route["repeat_interval"]) == ("5m", "10m")
    assert document["receivers"][1]["webhook_configs"] == [
        {"url": "https://snitch.example.org/x", "send_resolved": False}
    ]


def test_mute_windows_are_intervals_of_the_route_that_names_them(tmp_path: Path) -> None:
    windows = {"patchday": [{"weekdays": ["tuesday"], "times": ["18:00-24:00"]}, {"days_of_month": [1, 15]}]}
    of = routed(mute_windows=windows, routes=[{"tag": "a", "emails": ["a@example.org"], "mute": ["patchday"]}])
    document = configuration(of)
    assert document["route"]["routes"][1]["mute_time_intervals"] == ["patchday"]
    assert document["time_intervals"] == [
        {
            "name": "patchday",
            "time_intervals": [
                {"weekdays": ["tuesday"], "times": [{"start_time": "18:00", "end_time": "24:00"}]},
                {"days_of_month": ["1", "15"]},
            ],
        }
    ]
    amtool("check-config", written(of, tmp_path))


def test_a_window_mutes_a_tag_only_when_all_of_its_teams_name_it() -> None:
    routes = [{"tag": "a", "emails": ["a@example.org"], "mute": ["w"]}, {"tag": "a", "emails": ["b@example.org"]}]
    document = configuration(routed(mute_windows={"w": [{}]}, routes=routes))
    assert "mute_time_intervals" not in document["route"]["routes"][1]


@pytest.mark.parametrize(
    ("route", "complaint"),
    [
        ({"tag": "a"}, "tells nobody: expected emails, webhooks or slack"),
        ({"tag": "a", "emails": ["a@example.org"], "mute": ["w"]}, r"mute_windows \['w'\]; known are \[\]"),
        ({"tag": "a", "webhooks": ["ftp://x"]}, "routing.routes.0.webhooks.0"),
    ],
)
def test_a_route_that_cannot_work_is_refused(route: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        routed(routes=[route])


def test_webhooks_and_slack_stand_beside_the_mails(tmp_path: Path) -> None:
    route = {"tag": "a", "webhooks": ["https://h.example.org"], "slack": {"channel": "#{{ x }}"}}
    of = routed(routes=[route])
    receiver = configuration(of)["receivers"][2]
    assert receiver["webhook_configs"] == [{"url": "https://h.example.org", "send_resolved": True}]
    assert receiver["slack_configs"][0]["channel"] == '#{{ "{{" }} x }}', "the channel is no template"
    amtool("check-config", written(of, tmp_path))


def test_only_warnings_are_muted_and_the_blind_alert_mutes_only_what_follows_from_it() -> None:
    rules = configuration(config())["inhibit_rules"]
    for rule in rules:
        assert 'severity="warning"' in rule["target_matchers"]
    blind = rules[-1]
    assert blind["source_matchers"] == ['alertname="AnomalyExporterBlind"']
    assert "shard" in blind["equal"]
    assert blind["target_matchers"][0] == 'alertname=~"AnomalyCoverageLow|AnomalyDataLag|AnomalyQueryErrors"'
