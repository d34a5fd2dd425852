"""Body of ``plan``: what the configuration would cost, asked of the source, before anything runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import ConfigError, load
from anomaly_exporter.sources import PrometheusSource, SourceCounters

from .report import document, row, text
from .survey import survey

EXIT_OK, EXIT_CONFIG, EXIT_SOURCE = 0, 2, 3


def run(config_path: Path, output: str = "text", clock: Clock | None = None) -> int:
    """Print the plan; 3 when no target could be read. Nothing is written, not even the choice of a fallback."""
    try:
        config = load(config_path).config
        if config.prometheus is None:
            raise ConfigError(f"{config_path}: a plan is made from a Prometheus; expected the section prometheus")
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    clock, counters = clock or Clock.of(config.timing), SourceCounters()
    source = PrometheusSource(config.prometheus, clock, counters)
    try:
        rows = [row(config, target, survey(source, counters, target, clock)) for target in config.watched]
    finally:
        source.close()
    sys.stdout.write(json.dumps(document(rows), indent=2) + "\n" if output == "json" else text(rows))
    return EXIT_SOURCE if all(one["error"] for one in rows) else EXIT_OK
