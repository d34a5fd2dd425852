"""The fields of the Prometheus operator's objects that we write, and what may stand in them.

Written down from the operator's API reference (v1 and v1alpha1); not a copy of its schemas, and narrower: a field that
is not listed here is refused, so that a slip of the pen in a template cannot pass. Types: ``str``, ``int``, ``bool``;
a compiled pattern for texts of a form; a tuple for one of these values; a list for many; a dict for an object, in
which a name with ``!`` is required and ``*`` stands for any name.
"""

from __future__ import annotations

import re
from typing import Any

DURATION = re.compile(r"(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)\Z")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
TIME = re.compile(r"((([01][0-9])|(2[0-3])):[0-5][0-9])\Z|24:00\Z")
DAY = re.compile(r"(?i)(sun|mon|tues|wednes|thurs|fri|satur)day(:(sun|mon|tues|wednes|thurs|fri|satur)day)?\Z")

LABELS = {"*": str}
METADATA = {"name!": NAME, "namespace": NAME, "labels": LABELS, "annotations": LABELS}
SECRET_KEY = {"key!": str, "name!": str, "optional": bool}
TLS = {
    "ca": {"configMap": SECRET_KEY, "secret": SECRET_KEY},
    "caFile": str,
    "insecureSkipVerify": bool,
    "serverName": str,
}
RELABELING = {
    "action": ("replace", "keep", "drop", "labeldrop", "labelkeep", "labelmap", "hashmod", "lowercase", "uppercase"),
    "modulus": int,
    "regex": str,
    "replacement": str,
    "separator": str,
    "sourceLabels": [str],
    "targetLabel": str,
}
ENDPOINT = {
    "basicAuth": {"password": SECRET_KEY, "username": SECRET_KEY},
    "bearerTokenFile": str,
    "honorLabels": bool,
    "honorTimestamps": bool,
    "interval": DURATION,
    "metricRelabelings": [RELABELING],
    "params": {"*": [str]},
    "path": str,
    "port": str,
    "relabelings": [RELABELING],
    "scheme": ("http", "https"),
    "scrapeTimeout": DURATION,
    "tlsConfig": TLS,
}
SELECTOR = {"matchLabels": LABELS, "matchExpressions": [{"key!": str, "operator!": str, "values": [str]}]}
MATCHER = {"name!": LABEL_NAME, "value": str, "matchType": ("=", "!=", "=~", "!~")}
ROUTE: dict[str, Any] = {
    "receiver": str,
    "groupBy": [str],
    "groupWait": DURATION,
    "groupInterval": DURATION,
    "repeatInterval": DURATION,
    "matchers": [MATCHER],
    "continue": bool,
    "muteTimeIntervals": [str],
    "activeTimeIntervals": [str],
}
ROUTE["routes"] = [ROUTE]
EMAIL = {
    "to": str,
    "from": str,
    "hello": str,
    "smarthost": re.compile(r"[^:]+:[0-9]+\Z"),
    "authUsername": str,
    "authPassword": SECRET_KEY,
    "headers": [{"key!": str, "value!": str}],
    "html": str,
    "text": str,
    "requireTLS": bool,
    "sendResolved": bool,
    "tlsConfig": TLS,
}
WEBHOOK = {"url": re.compile(r"https?://.+\Z"), "urlSecret": SECRET_KEY, "sendResolved": bool, "maxAlerts": int}
SLACK = {
    "apiURL": SECRET_KEY,
    "channel": str,
    "sendResolved": bool,
    "title": str,
    "titleLink": str,
    "text": str,
    "color": str,
}
RULE = {
    "alert": str,
    "record": str,
    "expr!": str,
    "for": DURATION,
    "keep_firing_for": DURATION,
    "labels": LABELS,
    "annotations": LABELS,
}
SPECS: dict[tuple[str, str], dict[str, Any]] = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): {
        "endpoints!": [ENDPOINT],
        "selector!": SELECTOR,
        "jobLabel": str,
        "namespaceSelector": {"any": bool, "matchNames": [str]},
        "sampleLimit": int,
        "targetLabels": [str],
    },
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "podMetricsEndpoints!": [ENDPOINT],
        "selector!": SELECTOR,
        "jobLabel": str,
        "namespaceSelector": {"any": bool, "matchNames": [str]},
        "sampleLimit": int,
    },
    ("monitoring.coreos.com/v1", "PrometheusRule"): {
        "groups": [{"name!": str, "interval": DURATION, "limit": int, "rules": [RULE]}]
    },
    ("monitoring.coreos.com/v1alpha1", "AlertmanagerConfig"): {
        "route": {**ROUTE, "receiver!": str},
        "receivers": [{"name!": str, "emailConfigs": [EMAIL], "webhookConfigs": [WEBHOOK], "slackConfigs": [SLACK]}],
        "inhibitRules": [{"sourceMatch": [MATCHER], "targetMatch": [MATCHER], "equal": [str]}],
        "muteTimeIntervals": [
            {
                "name!": str,
                "timeIntervals": [
                    {
                        "times": [{"startTime": TIME, "endTime": TIME}],
                        "weekdays": [DAY],
                        "daysOfMonth": [{"start": int, "end": int}],
                    }
                ],
            }
        ],
    },
}


def problems(document: dict[str, Any]) -> list[str]:
    """What the operator's API would refuse, or nobody has looked at; each with its path."""
    kind = (document.get("apiVersion", ""), document.get("kind", ""))
    if kind not in SPECS:
        return [f"{kind} is not known"]
    whole = {"apiVersion!": str, "kind!": str, "metadata!": METADATA, "spec!": SPECS[kind]}
    found = list(_wrong(document, whole, ""))
    if kind[1] == "AlertmanagerConfig" and not found:
        found += _undefined(document["spec"])
    return found


def _wrong(value: Any, wanted: Any, path: str) -> list[str]:
    if isinstance(wanted, dict):
        return _wrong_object(value, wanted, path)
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return [f"{path}: expected a list, received {value!r}"]
        return [problem for i, item in enumerate(value) for problem in _wrong(item, wanted[0], f"{path}[{i}]")]
    if isinstance(wanted, re.Pattern):
        good = isinstance(value, str) and bool(wanted.match(value)) and value != ""
    elif isinstance(wanted, tuple):
        good = value in wanted
    else:
        good = isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)
    return [] if good else [f"{path}: expected {wanted}, received {value!r}"]


def _wrong_object(value: Any, wanted: dict[str, Any], path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: expected an object, received {value!r}"]
    known = {name.removesuffix("!"): inner for name, inner in wanted.items()}
    missing = [f"{path}.{name[:-1]}: is required" for name in wanted if name.endswith("!") and name[:-1] not in value]
    return missing + [
        problem
        for name, inner in value.items()
        for problem in (
            _wrong(inner, known.get(name, known.get("*")), f"{path}.{name}")
            if name in known or "*" in known
            else [f"{path}.{name}: is not a field"]
        )
    ]


def _undefined(spec: dict[str, Any]) -> list[str]:
    """Receivers and intervals that a route names and nobody defines: the operator drops the whole object."""
    receivers = {receiver["name"] for receiver in spec["receivers"]}
    intervals = {interval["name"] for interval in spec.get("muteTimeIntervals", [])}
    found, routes = [], [spec["route"]]
    while routes:
        route = routes.pop()
        routes += route.get("routes", [])
        if "receiver" in route and route["receiver"] not in receivers:
            found.append(f"receiver {route['receiver']} is not defined")
        found += [
            f"interval {name} is not defined" for name in route.get("muteTimeIntervals", []) if name not in intervals
        ]
    return found
