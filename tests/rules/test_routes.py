"""Alertmanager's configuration, judged by amtool: every tag reaches its own team, whatever the tag is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_exporter.config import Config
from anomaly_exporter.rendering import configuration, render_text
from anomaly_exporter.rendering.alertmanager import DEFAULT_RECEIVER, matcher_value, receiver_name
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
    assert f"{len(TEAMS) + 1} receivers" in amtool("check-config", written(of_teams(), tmp_path))


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
    receiver = configuration(routed(routes=[route]))["receivers"][1]
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
    assert len(document["route"]["routes"]) == 1
    mails = document["receivers"][1]["email_configs"]
    assert [(mail["to"], mail["send_resolved"]) for mail in mails] == [
        ("x@example.org", False),
        ("y@example.org", True),
        ("z@example.org", True),
    ]


def test_without_default_addresses_the_default_receiver_mails_nobody(tmp_path: Path) -> None:
    assert configuration(routed())["receivers"] == [{"name": DEFAULT_RECEIVER}]
    amtool("check-config", written(routed(), tmp_path))


def test_routes_group_by_tag_and_by_the_namespace_as_it_is_emitted() -> None:
    assert configuration(config())["route"]["group_by"] == ["env", "tag", "namespace"]
    openshift = configuration(config(exposition={"profile": "openshift"}))
    assert openshift["route"]["group_by"] == ["env", "tag", "target_namespace"]


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
