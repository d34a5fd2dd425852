"""Training beside the serving process or on Kubernetes: when it is due, who does it, what that reports."""

from .choose import open_launcher, require_training
from .cluster import KubernetesLauncher
from .idle import IdleLauncher
from .interface import (
    Launcher,
    LauncherConfigError,
    LauncherError,
    LauncherRefusedError,
    LauncherUnavailableError,
)
from .job_api import JobApi
from .local import LocalLauncher

__all__ = [
    "IdleLauncher",
    "JobApi",
    "KubernetesLauncher",
    "Launcher",
    "LauncherConfigError",
    "LauncherError",
    "LauncherRefusedError",
    "LauncherUnavailableError",
    "LocalLauncher",
    "open_launcher",
    "require_training",
]
