"""The compose stack mounts files that exist, and each program accepts what it is given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from anomaly_exporter.config import load
from support.checkers import amtool, promtool

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docs" / "compose"
STACK: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = STACK["services"]


def mounted(service: str) -> dict[str, Path]:
    """Path in the container -> file or folder of this repository."""
    found = {}
    for volume in SERVICES[service].get("volumes", ()):
        source, target, *_ = volume.split(":")
        if source.startswith("."):
            found[target] = (COMPOSE / source).resolve()
    return found


def test_everything_mounted_exists_and_is_read_only() -> None:
    for name, service in SERVICES.items():
        for path in mounted(name).values():
            assert path.exists(), f"{name} mounts {path}"
            assert path.is_relative_to(ROOT)
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in STACK["volumes"] or volume.endswith(":ro"), f"{name} could write to {source}"


def test_images_are_pinned_and_ports_are_open_to_this_machine_only() -> None:
    for service in SERVICES.values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_prometheus_accepts_its_configuration_and_finds_the_rules(tmp_path: Path) -> None:
    files = mounted("prometheus")
    (rules,) = [path for target, path in files.items() if target.startswith("/etc/prometheus/rules/")]
    text = files["/etc/prometheus/prometheus.yaml"].read_text(encoding="utf-8")
    here = tmp_path / "prometheus.yaml"
    here.write_text(text.replace("/etc/prometheus/rules/*.yaml", str(rules)), encoding="utf-8")
    assert "1 rule files found" in promtool("check", "config", str(here))


def test_prometheus_keeps_the_labels_of_the_exporter_and_scrapes_both_pages() -> None:
    jobs = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    ours = {job.get("metrics_path", "/metrics"): job for job in jobs if job["job_name"].startswith("anomaly-exporter")}
    assert set(ours) == {"/metrics", "/metrics/detail"}
    assert all(job["honor_labels"] for job in ours.values())


def test_alertmanager_accepts_its_configuration() -> None:
    amtool("check-config", str(mounted("alertmanager")["/etc/alertmanager/alertmanager.yaml"]))


def test_the_exporter_accepts_its_configuration() -> None:
    config = load(COMPOSE / "exporter.yaml").config
    assert config.targets
    port = SERVICES["grafana"]["ports"][0].split(":")[1]
    assert config.links.grafana_url.endswith(f":{port}")


@pytest.mark.parametrize("kind", ["datasources", "dashboards"])
def test_grafana_finds_one_provisioning_file_of_each_kind(kind: str) -> None:
    folder = mounted("grafana")["/etc/grafana/provisioning"] / kind
    (path,) = folder.iterdir()
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["apiVersion"] == 1


def test_grafana_is_given_the_dashboards_and_the_prometheus_of_the_stack() -> None:
    files = mounted("grafana")
    provisioning = files["/etc/grafana/provisioning"]
    provider = yaml.safe_load((provisioning / "dashboards" / "anomaly-exporter.yaml").read_text(encoding="utf-8"))
    folder = files[provider["providers"][0]["options"]["path"]]
    environment = SERVICES["grafana"]["environment"]
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (folder / Path(home).name).is_file()
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text(encoding="utf-8"))
    (datasource,) = source["datasources"]
    assert datasource["type"] == "prometheus"
    for name in (datasource["url"], datasource["jsonData"]["timeInterval"]):
        assert name.removeprefix("$") in environment
    assert "http://prometheus:9090" in environment["PROMETHEUS_URL"]
