"""Alertmanager's configuration from ``routing``: one e-mail receiver per tag.

The route tree is flat and static: a tag is compared as a whole, never as a regular expression or template, so no value
of the label can reach another team's receiver. What has no route goes to the default receiver.
"""

from __future__ import annotations

from typing import Any

from anomaly_exporter.config import Config
from anomaly_exporter.config.routes import Route

from . import mail
from .durations import wall
from .entity import literal

DEFAULT_RECEIVER = "default"
RESOLVE_TIMEOUT = 300
"""Alertmanager's own default: how long an alert without an end lives when Prometheus falls silent, in seconds."""


def configuration(config: Config) -> dict[str, Any]:
    """The whole document of alertmanager.yaml; to add it to an existing one, take its routes and receivers."""
    routing, speed = config.routing, config.timing.speed
    by_tag: dict[str, list[Route]] = {}
    for route in routing.routes:
        by_tag.setdefault(route.tag, []).append(route)
    smtp = routing.smtp
    return {
        "global": {
            "resolve_timeout": wall(RESOLVE_TIMEOUT, speed),
            "smtp_smarthost": smtp.smarthost,
            "smtp_from": literal(smtp.sender),
            "smtp_require_tls": smtp.require_tls,
        },
        "route": {
            "receiver": DEFAULT_RECEIVER,
            "group_by": list(dict.fromkeys(["env", "tag", config.exposition.emitted("namespace")])),
            "group_wait": wall(routing.group_wait, speed),
            "group_interval": wall(routing.group_interval, speed),
            "repeat_interval": wall(routing.repeat_interval, speed),
            "routes": [{"receiver": receiver_name(tag), "matchers": [f"tag={matcher_value(tag)}"]} for tag in by_tag],
        },
        "receivers": [
            _receiver(config, DEFAULT_RECEIVER, dict.fromkeys(routing.default_emails, True)),
            *(_receiver(config, receiver_name(tag), _addresses(routes)) for tag, routes in by_tag.items()),
        ],
    }


def receiver_name(tag: str) -> str:
    """Name of the receiver of ``tag``; the prefix keeps a tag called ``default`` apart from the default receiver."""
    return f"tag/{tag}"


def matcher_value(value: str) -> str:
    """``value`` in the quotes of Alertmanager's matcher syntax, which escapes backslash, quote and newline."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _addresses(routes: list[Route]) -> dict[str, bool]:
    """Address -> whether it also gets the resolved mail; several routes of one tag mail all their teams."""
    out: dict[str, bool] = {}
    for route in routes:
        for address in route.emails:
            out[address] = out.get(address, False) or route.send_resolved
    return out


def _receiver(config: Config, name: str, addresses: dict[str, bool]) -> dict[str, Any]:
    """A receiver with a mail per address: one refused address does not keep the mail from the others."""
    receiver: dict[str, Any] = {"name": name}
    if addresses:
        receiver["email_configs"] = [
            {
                "to": literal(address),
                "send_resolved": send_resolved,
                "headers": {"Subject": mail.subject(config)},
                "html": mail.HTML,
                "text": mail.TEXT,
            }
            for address, send_resolved in addresses.items()
        ]
    return receiver
