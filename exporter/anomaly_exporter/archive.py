"""Bodies of ``history export`` and ``history load``: stored history as a CSV table and back."""

from __future__ import annotations

import logging
from pathlib import Path

from anomaly_models.frame import Span

from .blobs import BlobError, open_blobs
from .clock import Clock
from .config import Config, ConfigError, Target, load
from .history import History, TableError, export_csv, load_csv

log = logging.getLogger(__name__)

EXIT_CONFIG, EXIT_STORE = 2, 5


def run_export(config_path: Path, target_name: str, out: Path) -> int:
    """Write all that is kept of a target, up to ``training.history`` back, to ``out``; an exit code."""
    try:
        config, target = _find(config_path, target_name)
        now = int(Clock.of(config.timing).now())
        span = Span(now - target.training.history - target.step, now + target.step)
        rows = export_csv(History(open_blobs(config.store)), target, out, span)
    except ConfigError as error:
        log.error("not exported", extra={"error": str(error)})
        return EXIT_CONFIG
    except (BlobError, OSError) as error:
        log.error("not exported: the store or the table cannot be accessed", extra={"error": str(error)})
        return EXIT_STORE
    log.info("history exported", extra={"target": target_name, "rows": rows, "table": str(out)})
    return 0


def run_load(config_path: Path, target_name: str, table: Path) -> int:
    """Append the table to the history of a target; an exit code. A wrong table changes nothing."""
    try:
        config, target = _find(config_path, target_name)
        rows = load_csv(History(open_blobs(config.store)), target, table)
    except (ConfigError, TableError) as error:
        log.error("not loaded", extra={"error": str(error)})
        return EXIT_CONFIG
    except (BlobError, OSError) as error:
        log.error("not loaded: the store or the table cannot be accessed", extra={"error": str(error)})
        return EXIT_STORE
    log.info("history loaded", extra={"target": target_name, "new_rows": rows, "table": str(table)})
    return 0


def _find(config_path: Path, name: str) -> tuple[Config, Target]:
    """The configuration and its target called ``name``. Raises ConfigError."""
    config = load(config_path).config
    try:
        return config, config.target(name)
    except KeyError:
        known = [t.name for t in config.targets]
        raise ConfigError(f"there is no target {name!r}; known are {known}") from None
