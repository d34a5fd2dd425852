"""The bodies of `anomaly-exporter jobs`: requests of a person to the launcher on Kubernetes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from anomaly_exporter.config import Config, ConfigError, load
from anomaly_exporter.self_metrics import SelfMetrics

from .cluster import KubernetesLauncher
from .interface import LauncherConfigError, LauncherError, LauncherUnavailableError
from .job_api import JobApi
from .jobs import Job

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 2
EXIT_UNAVAILABLE: Final = 3


def run_list(config_path: Path, namespace: str | None, output: str, client: Any = None) -> int:
    """Print the Jobs; the exit code."""
    try:
        jobs = _launcher(config_path, namespace, client).jobs()
    except (ConfigError, LauncherError) as error:
        return _failed(error)
    if output == "json":
        sys.stdout.write("".join(f"{json.dumps(asdict(job))}\n" for job in jobs))
    else:
        rows = [("JOB", "TARGET", "STATE", "PROGRESS", "CREATED"), *map(_row, jobs)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return EXIT_OK


def run_request(request: str, config_path: Path, namespace: str | None, target: str | None, client: Any = None) -> int:
    """Pass ``request`` (start, suspend, resume or delete) on; the exit code."""
    try:
        launcher = _launcher(config_path, namespace, client)
        requests: dict[str, Callable[[str | None], object]] = {
            "start": launcher.train,
            "suspend": launcher.suspend,
            "resume": launcher.resume,
            "delete": launcher.cancel,
        }
        requests[request](target)
    except (ConfigError, LauncherError) as error:
        return _failed(error)
    return EXIT_OK


def _launcher(config_path: Path, namespace: str | None, client: Any) -> KubernetesLauncher:
    config: Config = load(config_path).config
    if config.launcher.kind != "kubernetes":
        raise LauncherConfigError(
            f"{config_path}: launcher.kind: expected kubernetes to have Jobs, received {config.launcher.kind}"
        )
    return KubernetesLauncher(config, SelfMetrics(), JobApi(namespace or config.launcher.namespace, client))


def _row(job: Job) -> tuple[str, ...]:
    state = job.outcome or ("suspended" if job.suspended else "running")
    created = datetime.fromtimestamp(job.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (job.name, job.target or "all", state, f"{job.progress:.0%}", created)


def _failed(error: Exception) -> int:
    sys.stderr.write(f"{error}\n")
    return EXIT_UNAVAILABLE if isinstance(error, LauncherUnavailableError) else EXIT_REFUSED
