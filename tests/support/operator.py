"""What the Prometheus operator makes of AlertmanagerConfig objects: Alertmanager's configuration, tied to namespaces.

Written after the documentation of ``alertmanagerConfigMatcherStrategy``: with ``OnNamespace`` every object's route and
inhibitions get the matcher ``namespace="<namespace of the object>"``; with the strategy
``OnNamespaceExceptForAlertmanagerNamespace`` objects beside Alertmanager are left as they are; with ``None`` all are.
Every object's route goes on to the next one (``continue``), and names become ``namespace/object/name``.
"""

from __future__ import annotations

from typing import Any

from anomaly_exporter.rendering.routes import matcher_value

STRATEGIES = ("OnNamespace", "OnNamespaceExceptForAlertmanagerNamespace", "None")

ROUTE = {
    "groupBy": "group_by",
    "groupWait": "group_wait",
    "groupInterval": "group_interval",
    "repeatInterval": "repeat_interval",
    "continue": "continue",
}
EMAIL = {
    "to": "to",
    "from": "from",
    "smarthost": "smarthost",
    "requireTLS": "require_tls",
    "sendResolved": "send_resolved",
}
SPEC = {"route", "receivers", "inhibitRules", "muteTimeIntervals"}


def alertmanager_configuration(objects: list[dict[str, Any]], strategy: str, alertmanager: str) -> dict[str, Any]:
    """The document that Alertmanager in the namespace ``alertmanager`` gets; KeyError for a field that is not known."""
    assert strategy in STRATEGIES
    out: dict[str, Any] = {"route": {"receiver": "null", "routes": []}, "receivers": [{"name": "null"}]}
    out |= {"inhibit_rules": [], "time_intervals": []}
    for document in objects:
        assert (document["apiVersion"], document["kind"]) == ("monitoring.coreos.com/v1alpha1", "AlertmanagerConfig")
        namespace, spec = document["metadata"]["namespace"], document["spec"]
        assert set(spec) <= SPEC
        free = strategy == "None" or (strategy != "OnNamespace" and namespace == alertmanager)
        tie = [] if free else [f"namespace={matcher_value(namespace)}"]
        prefix = f"{namespace}/{document['metadata']['name']}"
        route = _route(spec["route"], prefix)
        route["matchers"] = [*route.get("matchers", []), *tie]
        out["route"]["routes"].append({**route, "continue": True})
        out["receivers"] += [_receiver(receiver, prefix) for receiver in spec["receivers"]]
        for rule in spec.get("inhibitRules", []):
            source, target = ([*_matchers(rule[side]), *tie] for side in ("sourceMatch", "targetMatch"))
            out["inhibit_rules"].append({"source_matchers": source, "target_matchers": target, "equal": rule["equal"]})
        out["time_intervals"] += [_interval(interval, prefix) for interval in spec.get("muteTimeIntervals", [])]
    return out


def _route(route: dict[str, Any], prefix: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in route.items():
        match name:
            case "receiver":
                out[name] = f"{prefix}/{value}"
            case "matchers":
                out[name] = _matchers(value)
            case "routes":
                out[name] = [_route(child, prefix) for child in value]
            case "muteTimeIntervals":
                out["mute_time_intervals"] = [f"{prefix}/{interval}" for interval in value]
            case _:
                out[ROUTE[name]] = value
    return out


def _matchers(matchers: list[dict[str, str]]) -> list[str]:
    return [f"{m['name']}{m['matchType']}{matcher_value(m['value'])}" for m in matchers]


def _receiver(receiver: dict[str, Any], prefix: str) -> dict[str, Any]:
    out: dict[str, Any] = {"name": f"{prefix}/{receiver['name']}"}
    assert set(receiver) <= {"name", "emailConfigs", "webhookConfigs", "slackConfigs"}
    for mail in receiver.get("emailConfigs", []):
        fields = {name: value for name, value in mail.items() if name not in {"headers", "html", "text"}}
        fields = {k: v for k, v in fields.items() if k not in {"authUsername", "authPassword"}}
        headers = {header["key"]: header["value"] for header in mail["headers"]}
        plain: dict[str, Any] = {EMAIL[name]: value for name, value in fields.items()}
        out.setdefault("email_configs", []).append(
            {**plain, "headers": headers, "html": mail["html"], "text": mail["text"]}
        )
    for hook in receiver.get("webhookConfigs", []):
        out.setdefault("webhook_configs", []).append({"url": hook["url"], "send_resolved": hook["sendResolved"]})
    for slack in receiver.get("slackConfigs", []):
        assert set(slack["apiURL"]) == {"name", "key"}
        fields = {"api_url": "http://slack.invalid/secret", "channel": slack["channel"], "text": slack["text"]}
        out.setdefault("slack_configs", []).append(
            {
                **fields,
                "title": slack["title"],
                "title_link": slack["titleLink"],
                "send_resolved": slack["sendResolved"],
            }
        )
    return out


def _interval(interval: dict[str, Any], prefix: str) -> dict[str, Any]:
    parts = []
    for window in interval["timeIntervals"]:
        assert set(window) <= {"weekdays", "times", "daysOfMonth"}
        part: dict[str, Any] = {name: window[name] for name in ("weekdays",) if name in window}
        if "times" in window:
            part["times"] = [{"start_time": t["startTime"], "end_time": t["endTime"]} for t in window["times"]]
        if "daysOfMonth" in window:
            part["days_of_month"] = [f"{days['start']}:{days['end']}" for days in window["daysOfMonth"]]
        parts.append(part)
    return {"name": f"{prefix}/{interval['name']}", "time_intervals": parts}
