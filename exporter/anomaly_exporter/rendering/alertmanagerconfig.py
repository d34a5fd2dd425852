"""The AlertmanagerConfig objects of the Prometheus operator (v1alpha1).

An object cannot ship template files, so mails are inlined. And the operator ties the routes and inhibitions of an
object to alerts of the object's own namespace (``namespace="..."``), depending on ``alertmanagerConfigMatcherStrategy``
of the Alertmanager object:

- ``None``: it does not.
- ``OnNamespaceExceptForAlertmanagerNamespace``: not for objects beside Alertmanager; ours belongs there.
- ``OnNamespace``, the operator's default: always. Under the profile ``kps`` alerts carry the namespace of what they are
  about, hence one object per namespace; under ``openshift`` they all carry the exporter's namespace, and one is enough.

With ``routing.object_per_tag`` every tag has an object of its own, and the first one leaves their alerts alone.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from anomaly_exporter.config import Config, ConfigError, MuteWindow, SecretKey

from . import mail, routes
from .durations import wall
from .entity import literal, namespace_labels
from .routes import Branch, Inhibition, Matcher, Receiver
from .self_alert import SERVICE

OURS = Matcher("alertname", "Anomaly.+", "=~")
"""Our alerts: without it, an untied object would take every alert of the cluster to its default receiver."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


def objects(
    config: Config,
    *,
    name: str = "anomaly-exporter",
    namespace: str | None = None,
    labels: dict[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The objects to apply; ``labels`` are those that ``alertmanagerConfigSelector`` looks for.

    Raises:
        ConfigError: under ``OnNamespace`` a route could never be reached, or ``namespace`` is missing.
    """
    branches = routes.branches(config)
    if config.routing.matcher_strategy != "OnNamespace":
        return _untied(config, name, namespace, labels, branches)
    if namespace is None:
        raise ConfigError(
            "routing.matcher_strategy OnNamespace ties every object to its namespace:"
            " expected --namespace with that of the exporter, received none"
        )
    if config.exposition.profile == "openshift":
        return _untied(config, name, namespace, labels, branches)
    by_tag = {branch.matcher.value: branch for branch in branches if branch.matcher.name == "tag"}
    fixed = {target.tag for target in config.watched if target.tag}
    free = any(target.tag is None and target.tag_from != "namespace" for target in config.watched)
    if lost := [tag for tag in by_tag if tag != SERVICE and (free or tag in fixed)]:
        raise ConfigError(
            f"routing.routes: alerts with the tags {lost} may come from any namespace or from none; under"
            " matcher_strategy OnNamespace no object can route them: expected another strategy, or tags from namespaces"
        )
    about_us = [branch for branch in branches if branch.matcher.name != "tag"]
    own = [branch for tag, branch in by_tag.items() if tag in {SERVICE, namespace}]
    out = [_object(config, name, namespace, labels, (*about_us, *own))]
    others = {tag: branch for tag, branch in by_tag.items() if tag not in {SERVICE, namespace}}
    return out + [_object(config, name, tag, labels, (branch,)) for tag, branch in others.items()]


def _untied(
    config: Config, name: str, namespace: str | None, labels: dict[str, str] | None, branches: tuple[Branch, ...]
) -> list[dict[str, Any]]:
    """One object for all, or one per tag beside one for the rest."""
    # Alerts about the exporter itself share a tag, but the watchdog's among them goes its own way.
    teams = [b for b in branches if b.matcher.name == "tag" and b.matcher.value != SERVICE]
    if not (config.routing.object_per_tag and teams):
        return [_object(config, name, namespace, labels, branches)]
    rest = tuple(branch for branch in branches if branch not in teams)
    first = _object(config, name, namespace, labels, rest)
    first["spec"]["route"]["matchers"] += [_matcher(Matcher("tag", b.matcher.value, "!=")) for b in teams]
    return [first, *(_team(config, f"{name}-{slug(b.matcher.value)}", namespace, labels, b) for b in teams)]


def slug(tag: str) -> str:
    """``tag`` as a part of an object's name; one that cannot be stands as a mark of it."""
    return tag if _NAME.match(tag) else hashlib.sha256(tag.encode()).hexdigest()[:10]


def _team(
    config: Config, name: str, namespace: str | None, labels: dict[str, str] | None, branch: Branch
) -> dict[str, Any]:
    """The object of one tag; what mutes what is said by the first object, for all."""
    out = _object(config, name, namespace, labels, (branch,))
    spec = out["spec"]
    del spec["inhibitRules"]
    route = spec["route"]
    route |= {**_route(branch, config.timing.speed), "matchers": [_matcher(OURS), _matcher(branch.matcher)]}
    del route["routes"]
    spec["receivers"] = [_receiver(config, branch.receiver)]
    return out


def _object(
    config: Config, name: str, namespace: str | None, labels: dict[str, str] | None, branches: tuple[Branch, ...]
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = {"app.kubernetes.io/name": "anomaly-exporter", **(labels or {})}
    routing, speed = config.routing, config.timing.speed
    default = routes.default_receiver(config)
    used = {window for branch in branches for window in branch.mute}
    spec: dict[str, Any] = {
        "route": {
            "receiver": default.name,
            "matchers": [_matcher(OURS)],
            "groupBy": list(namespace_labels(config)),
            "groupWait": wall(routing.group_wait, speed),
            "groupInterval": wall(routing.group_interval, speed),
            "repeatInterval": wall(routing.repeat_interval, speed),
            "routes": [_route(branch, speed) for branch in branches],
        },
        "inhibitRules": [_inhibition(rule) for rule in routes.inhibitions(config)],
    }
    if used:
        spec["muteTimeIntervals"] = [
            {"name": window, "timeIntervals": [_window(part) for part in parts]}
            for window, parts in routing.mute_windows.items()
            if window in used
        ]
    spec["receivers"] = [_receiver(config, receiver) for receiver in (default, *(b.receiver for b in branches))]
    return {
        "apiVersion": "monitoring.coreos.com/v1alpha1",
        "kind": "AlertmanagerConfig",
        "metadata": metadata,
        "spec": spec,
    }


def _matcher(matcher: Matcher) -> dict[str, str]:
    return {"name": matcher.name, "value": matcher.value, "matchType": matcher.kind}


def _route(branch: Branch, speed: float) -> dict[str, Any]:
    out: dict[str, Any] = {"receiver": branch.receiver.name, "matchers": [_matcher(branch.matcher)]}
    if branch.every:
        out |= {
            "groupWait": "0s",
            "groupInterval": wall(branch.every / 2, speed),
            "repeatInterval": wall(branch.every, speed),
        }
    if branch.mute:
        out["muteTimeIntervals"] = list(branch.mute)
    return out


def _inhibition(rule: Inhibition) -> dict[str, Any]:
    return {
        "sourceMatch": [_matcher(matcher) for matcher in rule.source],
        "targetMatch": [_matcher(matcher) for matcher in rule.target],
        "equal": list(rule.equal),
    }


def _window(window: MuteWindow) -> dict[str, Any]:
    """One window; what it leaves open is left out."""
    times = [dict(zip(("startTime", "endTime"), times.split("-"), strict=True)) for times in window.times]
    days = [{"start": day, "end": day} for day in window.days_of_month]
    fields = {"weekdays": list(window.weekdays), "times": times, "daysOfMonth": days}
    return {name: value for name, value in fields.items() if value}


def _secret(key: SecretKey) -> dict[str, str]:
    return {"name": key.name, "key": key.key}


def _receiver(config: Config, receiver: Receiver) -> dict[str, Any]:
    out: dict[str, Any] = {"name": receiver.name}
    smtp = config.routing.smtp
    login = {"authUsername": literal(smtp.username), "authPassword": _secret(smtp.password_secret)}
    if receiver.emails:
        out["emailConfigs"] = [
            {
                "to": literal(address),
                "from": literal(smtp.sender),
                "smarthost": smtp.smarthost,
                "requireTLS": smtp.require_tls,
                **(login if smtp.username else {}),
                "sendResolved": resolved,
                "headers": [{"key": "Subject", "value": mail.subject(config)}],
                "html": mail.html(config),
                "text": mail.text(config),
            }
            for address, resolved in receiver.emails
        ]
    if receiver.webhooks:
        out["webhookConfigs"] = [{"url": url, "sendResolved": resolved} for url, resolved in receiver.webhooks]
    if receiver.slack:
        out["slackConfigs"] = [
            {
                "apiURL": _secret(slack.api_url_secret),
                "channel": literal(slack.channel),
                "sendResolved": resolved,
                "title": mail.subject(config),
                "titleLink": mail.TITLE_LINK,
                "text": mail.SLACK,
            }
            for slack, resolved in receiver.slack
        ]
    return out
