"""An AlertmanagerConfig per tag from the chart is what `render alertmanagerconfig` makes of the same configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from anomaly_exporter.config import Config, parse
from anomaly_exporter.rendering import objects
from support.helm import NAMESPACE, template

ROUTING: dict[str, Any] = {
    "object_per_tag": True,
    "default_emails": ["all@example.org"],
    "mute_windows": {
        "night": [{"times": ["22:00-24:00"], "weekdays": ["saturday"]}],
        "first": [{"days_of_month": [1]}],
    },
    "routes": [
        {"tag": "das", "emails": ["das@example.org", "two@example.org"], "mute": ["night"], "send_resolved": False},
        {"tag": "anomaly-exporter", "emails": ["keepers@example.org"], "mute": ["first"]},
        {"tag": "Crab & Co", "webhooks": ["https://hook.example.org/x"], "slack": {"channel": "#crab"}},
    ],
}


def from_chart(routing: dict[str, Any]) -> tuple[list[dict[str, Any]], Config]:
    """The AlertmanagerConfig objects of the chart, and the configuration that it gives to the exporter."""
    values = ("--set", "alertmanagerConfig.enabled=true", "--set-json", f"config.routing={json.dumps(routing)}")
    documents = template(*values)
    (held,) = (d for d in documents if d["kind"] == "ConfigMap" and "config.yaml" in d.get("data", {}))
    found = [document for document in documents if document["kind"] == "AlertmanagerConfig"]
    return found, parse(held["data"]["config.yaml"])


@pytest.mark.parametrize("per_tag", [True, False])
def test_the_chart_makes_the_objects_that_the_command_makes(per_tag: bool) -> None:
    made, configured = from_chart({**ROUTING, "object_per_tag": per_tag})
    wanted = objects(configured, name="anomalies-anomaly-exporter", namespace=NAMESPACE)
    assert {d["metadata"]["name"] for d in made} == {d["metadata"]["name"] for d in wanted}
    by_name = {document["metadata"]["name"]: document["spec"] for document in made}
    for document in wanted:
        spec = by_name[document["metadata"]["name"]]
        for windows in (spec, document["spec"]):
            windows.get("muteTimeIntervals", []).sort(key=lambda interval: interval["name"])
        assert spec["route"] == document["spec"]["route"]
        assert spec.get("muteTimeIntervals") == document["spec"].get("muteTimeIntervals")
        assert ("inhibitRules" in spec) == ("inhibitRules" in document["spec"])
        assert [r["name"] for r in spec["receivers"]] == [r["name"] for r in document["spec"]["receivers"]]
        for here, there in zip(spec["receivers"], document["spec"]["receivers"], strict=True):
            for kind in ("emailConfigs", "webhookConfigs", "slackConfigs"):
                assert [x.get("to", x.get("url")) for x in here.get(kind, [])] == [
                    x.get("to", x.get("url")) for x in there.get(kind, [])
                ]


def test_rendered_objects_keep_their_names_beside_each_other() -> None:
    _, configured = from_chart(ROUTING)
    text = yaml.safe_dump_all(objects(configured, namespace=NAMESPACE))
    documents = template(
        "--set", "alertmanagerConfig.enabled=true", "--set-json", f"alertmanagerConfig.rendered={json.dumps(text)}"
    )
    names = [d["metadata"]["name"] for d in documents if d["kind"] == "AlertmanagerConfig"]
    assert len(names) == len(set(names)) == 3
