"""Bodies as Alertmanager 0.25 posts them to a webhook."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from anomaly_exporter.canary.station import ALERT
from anomaly_exporter.config import CANARY_TAG


def notification(starts_at: float, status: str = "firing", **labels: str) -> dict[str, Any]:
    """The canary's alert that began at wall time ``starts_at``; ``labels`` are put over its own."""
    own = {"alertname": ALERT, "tag": CANARY_TAG, "canary": "canary", "severity": "none", **labels}
    alert = {
        "status": status,
        "labels": own,
        "annotations": {"summary": "x"},
        "startsAt": datetime.fromtimestamp(starts_at, UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "0123456789abcdef",
    }
    return {
        "receiver": "canary",
        "status": status,
        "alerts": [alert],
        "groupLabels": {"tag": CANARY_TAG},
        "commonLabels": own,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "version": "4",
        "groupKey": '{}:{tag="anomaly-exporter-canary"}',
        "truncatedAlerts": 0,
    }
