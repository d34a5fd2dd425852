"""The library templates of the sidecar, used by a chart as an application would have it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from support.helm import CHART, HelmError, helm

ROOT = CHART.parents[1]
LIBRARY = ROOT / "charts" / "anomaly-exporter-sidecar"
APPLICATION = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout}
spec:
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}}
    spec:
      containers:
        - {{- include "anomaly-exporter.sidecar" (dict "resources" .Values.resources) | nindent 10 }}
      volumes:
        {{- $volumes := dict "configMap" .Values.configMap "claim" .Values.claim }}
        {{- include "anomaly-exporter.sidecar.volumes" $volumes | nindent 8 }}
"""
EXAMPLE = "configMap=checkout-anomaly-exporter,claim=checkout-anomaly-exporter"


def pod(folder: Path, values: str) -> dict[str, Any]:
    """The pod of an application's chart that has the library as its dependency."""
    chart = folder / "checkout"
    shutil.copytree(LIBRARY, chart / "charts" / LIBRARY.name)
    dependencies = [{"name": LIBRARY.name, "version": "0.1.0"}]
    about = {"apiVersion": "v2", "name": "checkout", "version": "1.0.0", "dependencies": dependencies}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
    (chart / "templates").mkdir()
    (chart / "templates" / "deployment.yaml").write_text(APPLICATION)
    document = yaml.safe_load(helm("template", "checkout", str(chart), "--set", values))
    kubernetes_validate.validate(document, "1.29", strict=True)
    found: dict[str, Any] = document["spec"]["template"]["spec"]
    return found


def test_container_and_volumes_are_those_of_the_example(tmp_path: Path) -> None:
    example = yaml.safe_load_all((ROOT / "examples" / "sidecar" / "deployment.yaml").read_text(encoding="utf-8"))
    (wanted,) = [d["spec"]["template"]["spec"] for d in example if d["kind"] == "Deployment"]
    made = pod(tmp_path, EXAMPLE)
    assert made["containers"] == [c for c in wanted["containers"] if c["name"] == "anomaly-exporter"]
    assert made["volumes"] == wanted["volumes"]


def test_without_a_claim_the_store_is_as_short_lived_as_the_pod_and_resources_can_be_set(tmp_path: Path) -> None:
    made = pod(tmp_path, "configMap=mine,resources.limits.memory=2Gi")
    assert {"name": "data", "emptyDir": {}} in made["volumes"]
    assert made["containers"][0]["resources"] == {"limits": {"memory": "2Gi"}}


def test_a_seed_is_looked_for_beside_the_configuration_or_where_it_is_said_to_be(tmp_path: Path) -> None:
    (volume,) = [v for v in pod(tmp_path, "configMap=mine")["volumes"] if v["name"] == "seed"]
    assert volume["configMap"] == {"name": "mine-seed", "optional": True}


def test_a_missing_configmap_is_named(tmp_path: Path) -> None:
    with pytest.raises(HelmError, match="configMap is required"):
        pod(tmp_path, "claim=mine")


def test_the_library_passes_the_strict_linter() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(LIBRARY))
