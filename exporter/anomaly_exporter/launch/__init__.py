"""Training beside the serving process: when it is due, the child process that does it, what that reports."""

from .launcher import LocalLauncher

__all__ = ["LocalLauncher"]
