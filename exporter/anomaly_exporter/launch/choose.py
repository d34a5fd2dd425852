"""The launcher that the configuration asks for, if this installation can be it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anomaly_exporter.blobs import Blobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import CANARY_TARGET, Config
from anomaly_exporter.generations.sharding import UNDIVIDED, Shard
from anomaly_exporter.self_metrics import SelfMetrics

from .cluster import KubernetesLauncher
from .idle import IdleLauncher
from .interface import Launcher, LauncherConfigError
from .job_api import JobApi
from .local import LocalLauncher

BY_KERAS = frozenset({"auto", "fc", "cnn", "lstm", "gru", "cnn_lstm", "cnn_gru"})
"""Recipes that only TensorFlow can train."""


def open_launcher(
    config_path: Path,
    config: Config,
    clock: Clock,
    metrics: SelfMetrics,
    *,
    shard: Shard = UNDIVIDED,
    client: Any = None,
    blobs: Blobs | None = None,
) -> Launcher:
    """The launcher of ``config``. ``client``: instead of the one that the surroundings give to ``kubernetes``;
    ``blobs``: the store in which trainings elsewhere leave their reports.

    Raises LauncherConfigError when this installation cannot be that launcher.
    """
    match config.launcher.kind:
        case "kubernetes":
            return KubernetesLauncher(config, metrics, JobApi(config.launcher.namespace, client), blobs=blobs)
        case "none":
            return IdleLauncher(config, metrics)
    require_training(config)
    return LocalLauncher(config_path, config, clock, metrics, shard=shard)


def require_training(config: Config) -> None:
    """Refuse to train here what cannot be trained here; nothing of it is imported.

    Raises:
        LauncherConfigError: a module is missing that the models of a target need.
    """
    for target in config.targets:
        if target.name == CANARY_TARGET and config.canary.enabled:
            continue
        recipes = sorted({config.model(name).recipe for name in target.models} & BY_KERAS)
        if recipes and find_spec("tensorflow") is None:
            raise _refusal(target.name, f"the recipe {recipes[0]} is trained with TensorFlow")
        if target.training.contamination > 0 and find_spec("sklearn") is None:
            raise _refusal(target.name, "training.contamination is masked with scikit-learn")


def _refusal(target: str, why: str) -> LauncherConfigError:
    return LauncherConfigError(
        f"launcher.kind local cannot train target {target!r}: {why}, which is not installed here."
        " Set launcher.kind to kubernetes or none where others train,"
        " or pip install 'anomaly-exporter[train-cpu]' to train beside this process"
    )
