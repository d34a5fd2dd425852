"""``anomaly-exporter models``: which models are in force and why; rolling back, promoting what was rejected."""

from .command import run_list, run_promote, run_rollback, run_show

__all__ = ["run_list", "run_promote", "run_rollback", "run_show"]
