"""Small pieces of PromQL, quoted so that no value can break out of its place."""

from __future__ import annotations

from collections.abc import Mapping

REPLICA_LABELS = ("pod", "instance", "endpoint", "job", "service")
"""What a scrape adds. Rules aggregate it away: two replicas, or a rollout, must not make two alerts."""

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def string(value: str) -> str:
    """``value`` as a double-quoted PromQL string."""
    return '"' + "".join(_ESCAPES.get(c, c) for c in value) + '"'


def selector(metric: str, matchers: Mapping[str, str]) -> str:
    """``metric{label="value",...}``: equality on every given label; the bare name without labels."""
    inside = ",".join(f"{label}={string(value)}" for label, value in matchers.items())
    return f"{metric}{{{inside}}}" if inside else metric


def without_replicas(operator: str, expression: str) -> str:
    """``operator without (pod, instance, ...) (expression)``."""
    return f"{operator} without ({', '.join(REPLICA_LABELS)}) ({expression})"
