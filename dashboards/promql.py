"""PromQL of the dashboards.

Every query aggregates over replicas, so that two pods of the exporter, or the two of a rollout, are one line. Series
are chosen by the dashboard's variables; a variable set to All also matches series without the label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from anomaly_exporter.config import CANARY_TAG
from anomaly_exporter.config.exposition import Exposition

REPLICA: Final = ("pod", "instance", "endpoint", "job", "service")
"""Labels that tell replicas of the exporter apart."""
Profile = Literal["kps", "openshift"]


@dataclass(frozen=True)
class Labels:
    """Names of the labels of series under one label profile. Variables keep their plain names under every profile."""

    namespace: str = "namespace"
    container: str = "container"

    @classmethod
    def of(cls, profile: Profile) -> Labels:
        exposition = Exposition(profile=profile)
        return cls(exposition.emitted("namespace"), exposition.emitted("container"))

    @property
    def by_variable(self) -> dict[str, str]:
        """Variable -> label, in the order of the choice: each one offers what the ones before it leave."""
        return {
            "env": "env",
            "namespace": self.namespace,
            "workload": "workload",
            "container": self.container,
            "node": "node",
            "metric": "metric",
            "model": "model",
        }

    @property
    def identity(self) -> str:
        """Labels that tell series and models apart, as a list for ``by`` and ``on``."""
        return ", ".join(self.by_variable.values())

    def where(self, *variables: str, **more: str) -> str:
        """Matchers for the values of ``variables``, then ``more`` as exact matches, in braces.

        The canary, a series with spikes on a schedule, is nobody's anomaly.
        """
        parts = [f'{self.by_variable[name]}=~"${name}"' for name in variables]
        parts += [f'tag!="{CANARY_TAG}"', *(f'{name}="{value}"' for name, value in more.items())]
        return "{" + ",".join(parts) + "}"

    def named(self, expr: str) -> str:
        """``expr`` with a label ``series`` for people, and with every label that a link to a series needs.

        A label that a series lacks becomes ``$__all``: the variable it would set then stays open.
        """
        own = (self.namespace, "workload", self.container, "node")
        names = ", ".join(f'"{name}"' for name in own)
        expr = f'label_join({expr}, "series", " ", {names})'
        for name in own:
            expr = f'label_replace({expr}, "{name}", "$$__all", "{name}", "")'
        return expr


def one(expr: str) -> str:
    """The same series whichever replica exposes it."""
    return f"max without ({', '.join(REPLICA)}) ({expr})"


def worst(labels: Labels, where: str, count: int, by: str = "") -> str:
    """The ``count`` series with the highest score within the time range: computed once, so lines do not come and go."""
    grouping = f" by ({by})" if by else ""
    highest = f"max by ({labels.identity}) (max_over_time(anomaly_score{where}[$__range] @ end()))"
    return f"topk{grouping} ({count}, {highest})"


def fleet(expr: str, by: str) -> str:
    """Sum of a gauge per target over the shards of the exporter, counting each shard once however many replicas it has.

    ``by`` names labels beyond ``target``. All pods that report a target share its series among ``total_shards``.
    """
    names = f"target, {by}" if by else "target"
    pods = "count by (target) (anomaly_exporter_series_expected)"
    shards = "scalar(max(anomaly_exporter_total_shards))"
    return f"sum by ({names}) ({expr}) / on (target) group_left () {pods} * {shards}"


def also(where: str, **more: str) -> str:
    """The matchers ``where`` and exact matches of further labels."""
    return where[:-1] + "".join(f',{name}="{value}"' for name, value in more.items()) + "}"
