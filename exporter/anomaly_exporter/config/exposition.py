"""What is exposed and how links are built."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import PositiveSeconds, Section

OPENSHIFT_NAMES = {"namespace": "target_namespace", "container": "target_container"}


class Exposition(Section):
    profile: Literal["kps", "openshift"] = "kps"
    """`kps` emits namespace, container (scrape with honorLabels), `openshift` target_namespace, target_container."""
    values: bool = True
    """Expose observed, expected, lower and upper values per feature (4 of the 9 samples of an entity)."""
    max_series: int = Field(20_000, ge=1)
    """Entities beyond this many per exporter are left out and counted as unscored{reason="limit"}."""
    max_connections: int = Field(512, ge=1)
    """Open connections beyond this many are answered with 503."""
    request_deadline: PositiveSeconds = 10
    """A request not received and answered by then is closed."""

    def emitted(self, label: str) -> str:
        """The name under which an entity label stands on the page, in rules, routes and links: set by `profile`."""
        return OPENSHIFT_NAMES.get(label, label) if self.profile == "openshift" else label


class Links(Section):
    """Base URLs for mails and dashboards."""

    grafana_url: str = "http://localhost:3000"
    """Grafana's external URL."""
    runbook_url: str = "https://github.com/anomaly-exporter/anomaly-exporter/blob/main/docs/runbooks"
    """Folder of the runbooks."""
