"""A configuration of two targets of containers, for tests of feedback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anomaly_exporter.config import Config


def config_of(store: Path | None = None, **more: Any) -> Config:
    """Targets ``cpu`` (tag: the namespace) and ``memory`` (tag ``ops``) of namespace and container."""
    return Config.model_validate(
        {
            "files": {"path": "unused"},
            "store": {"path": str(store or "unused")},
            "targets": [
                {"name": "cpu", "metric": "cpu", "queries": [{"expr": "x"}], "models": ["zscore"]},
                {"name": "memory", "metric": "memory", "queries": [{"expr": "y"}], "models": ["zscore"], "tag": "ops"},
            ],
            **more,
        }
    )
