"""Small pieces of PromQL, quoted so that no value can break out of its place."""

from __future__ import annotations

from collections.abc import Mapping

from anomaly_exporter.config import CANARY_TAG

REPLICA_LABELS = ("pod", "instance", "endpoint", "job", "service")
"""What a scrape adds. Rules aggregate it away: two replicas, or a rollout, must not make two alerts."""

WATCHED = f'tag!="{CANARY_TAG}"'
"""Matcher of the series that were asked for, which the canary's is not. In every selector that counts series."""

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def string(value: str) -> str:
    """``value`` as a double-quoted PromQL string."""
    return '"' + "".join(_ESCAPES.get(c, c) for c in value) + '"'


def selector(metric: str, matchers: Mapping[str, str], *more: str) -> str:
    """``metric{label="value",...}``: equality on given labels, then matchers as they are; the bare name without any."""
    inside = ",".join((*(f"{label}={string(value)}" for label, value in matchers.items()), *more))
    return f"{metric}{{{inside}}}" if inside else metric


def without_replicas(operator: str, expression: str, *more: str) -> str:
    """``operator without (pod, instance, ..., *more) (expression)``."""
    return f"{without(operator, *more)} ({expression})"


def without(operator: str, *more: str) -> str:
    """``operator without (pod, instance, ..., *more)``, which an expression in brackets is to follow."""
    return f"{operator} without ({', '.join((*REPLICA_LABELS, *more))})"
