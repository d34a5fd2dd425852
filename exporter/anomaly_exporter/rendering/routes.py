"""Who gets what, and what mutes what: one tree from which both forms of Alertmanager's configuration are written.

The tree is flat and static: a tag is compared as a whole, never as a regular expression or template, so no value of
the label can reach another team's receiver. What has no route goes to the default receiver.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from anomaly_exporter.config import Config, Route, Slack

from . import anomalies, canary, entity, health, states

DEFAULT_RECEIVER = "default"
WATCHDOG_RECEIVER = "watchdog"
CANARY_RECEIVER = "canary"


@dataclass(frozen=True)
class Matcher:
    """One condition on a label."""

    name: str
    value: str
    kind: Literal["=", "!=", "=~"] = "="

    def __str__(self) -> str:
        return f"{self.name}{self.kind}{matcher_value(self.value)}"


@dataclass(frozen=True)
class Receiver:
    """Who is told. Each address and URL comes with whether it also hears that an alert is over."""

    name: str
    emails: tuple[tuple[str, bool], ...] = ()
    webhooks: tuple[tuple[str, bool], ...] = ()
    slack: tuple[tuple[Slack, bool], ...] = ()


@dataclass(frozen=True)
class Branch:
    """Alerts with ``matcher`` go to ``receiver``, except within the windows ``mute``.

    ``every`` is set for what is sent again and again on purpose, in wall seconds.
    """

    matcher: Matcher
    receiver: Receiver
    mute: tuple[str, ...] = ()
    every: int | None = None


@dataclass(frozen=True)
class Inhibition:
    """While an alert ``source`` stands, alerts ``target`` with the same values of ``equal`` are not sent.

    Alertmanager takes labels that both lack as equal.
    """

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]


def default_receiver(config: Config) -> Receiver:
    """Who gets what no branch takes."""
    return Receiver(
        DEFAULT_RECEIVER, tuple((address, True) for address in dict.fromkeys(config.routing.default_emails))
    )


def branches(config: Config) -> tuple[Branch, ...]:
    """The watchdog's branch, one per tag, the canary's; several routes of one tag tell all their teams."""
    routing = config.routing
    urls = ((routing.watchdog_url, False),) if routing.watchdog_url else ()
    watchdog = Branch(
        Matcher("alertname", health.WATCHDOG),
        Receiver(WATCHDOG_RECEIVER, webhooks=urls),
        every=routing.watchdog_every,
    )
    home = config.canary.webhook_url if config.canary.enabled else None
    # Its group must have ended before the next spike, or that would be no news; see group_interval of such branches.
    own = Branch(
        Matcher("alertname", canary.CANARY),
        Receiver(CANARY_RECEIVER, webhooks=((home, False),) if home else ()),
        every=config.canary.every // 4,
    )
    by_tag: dict[str, list[Route]] = {}
    for route in routing.routes:
        by_tag.setdefault(route.tag, []).append(route)
    return (watchdog, *(_branch(tag, routes) for tag, routes in by_tag.items()), own)


def receiver_name(tag: str) -> str:
    """Name of the receiver of ``tag``; the prefix keeps a tag called ``default`` apart from the default receiver."""
    return f"tag/{tag}"


def matcher_value(value: str) -> str:
    """``value`` in the quotes of Alertmanager's matcher syntax, which escapes backslash, quote and newline."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def inhibitions(config: Config) -> tuple[Inhibition, ...]:
    """A wider or graver alert mutes its parts; only warnings are ever muted.

    The blind alert mutes only what follows from it, on its own shard: one without a number mutes nothing where there
    are numbers. Rather one mail too many than one too few.
    """
    workload = (*entity.workload_labels(config), "tag")
    series = (*workload, "metric")
    parts = (anomalies.DETECTED, anomalies.SEVERE, anomalies.ZERO, states.FLAT_LINE, anomalies.WORKLOAD)
    self_labels = tuple(dict.fromkeys((*config.static_labels, "namespace", "tag", "shard")))
    critical = (Matcher("alertname", anomalies.SEVERE), Matcher("severity", "critical"))
    return (
        Inhibition(_named(anomalies.NAMESPACE), _warnings(*parts), entity.namespace_labels(config)),
        Inhibition(_named(anomalies.WORKLOAD), _warnings(anomalies.DETECTED), workload),
        Inhibition(_named(anomalies.ZERO), _warnings(anomalies.DETECTED), series),
        Inhibition(_named(states.FLAT_LINE), _warnings(anomalies.DETECTED), series),
        Inhibition(_named(anomalies.SEVERE), _warnings(anomalies.DETECTED), (*series, "model")),
        Inhibition(critical, _warnings(anomalies.SEVERE), (*series, "model")),
        Inhibition(_named(health.BLIND), _warnings(*health.SYMPTOMS), self_labels),
    )


def _branch(tag: str, routes: list[Route]) -> Branch:
    mute = [set(route.mute) for route in routes]
    return Branch(
        Matcher("tag", tag),
        Receiver(
            receiver_name(tag),
            _told((address, route.send_resolved) for route in routes for address in route.emails),
            _told((url, route.send_resolved) for route in routes for url in route.webhooks),
            tuple((route.slack, route.send_resolved) for route in routes if route.slack),
        ),
        # Of several teams of one tag none is muted by the window of another.
        tuple(name for name in routes[0].mute if all(name in names for names in mute)),
    )


def _told(pairs: Iterable[tuple[str, bool]]) -> tuple[tuple[str, bool], ...]:
    out: dict[str, bool] = {}
    for who, resolved in pairs:
        out[who] = out.get(who, False) or resolved
    return tuple(out.items())


def _named(name: str) -> tuple[Matcher, ...]:
    return (Matcher("alertname", name),)


def _warnings(*names: str) -> tuple[Matcher, ...]:
    name = Matcher("alertname", names[0]) if len(names) == 1 else Matcher("alertname", "|".join(names), "=~")
    return (name, Matcher("severity", "warning"))
