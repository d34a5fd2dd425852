"""The examples work as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import parse
from anomaly_exporter.sources import SourceCounters, open_source

SIDECAR = Path(__file__).resolve().parents[1] / "examples" / "sidecar"


def manifests() -> dict[str, Any]:
    return {m["kind"]: m for m in yaml.safe_load_all((SIDECAR / "deployment.yaml").read_text())}


def test_the_sidecars_configuration_is_valid_and_its_queries_can_be_evaluated() -> None:
    config = parse((SIDECAR / "config.yaml").read_text())
    open_source(config, Clock(), SourceCounters())
    assert config.scrape is not None


def test_the_sidecars_manifest_carries_that_configuration() -> None:
    assert manifests()["ConfigMap"]["data"]["config.yaml"] == (SIDECAR / "config.yaml").read_text()


def test_the_sidecars_names_fit_together() -> None:
    found = manifests()
    pod = found["Deployment"]["spec"]["template"]
    containers = {c["name"]: c for c in pod["spec"]["containers"]}
    volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
    ours = containers["anomaly-exporter"]
    assert {m["name"] for m in ours["volumeMounts"]} == set(volumes)
    assert volumes["config"]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == found["PersistentVolumeClaim"]["metadata"]["name"]
    config = parse((SIDECAR / "config.yaml").read_text())
    assert config.scrape is not None
    assert str(containers["checkout"]["ports"][0]["containerPort"]) in config.scrape.url
    assert str(config.store.path) in {m["mountPath"] for m in ours["volumeMounts"]}
    ports = {p["name"] for c in containers.values() for p in c["ports"]}
    assert {e["port"] for e in found["PodMonitor"]["spec"]["podMetricsEndpoints"]} <= ports
    assert found["PodMonitor"]["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert "readinessProbe" not in ours
