"""The plain form of Alertmanager's configuration, alertmanager.yaml."""

from __future__ import annotations

from typing import Any

from anomaly_exporter.config import Config, MuteWindow

from . import mail, routes
from .durations import wall
from .entity import literal, namespace_labels
from .routes import Branch, Receiver

RESOLVE_TIMEOUT = 300
"""Alertmanager's own default: how long an alert without an end lives when Prometheus falls silent, in seconds."""


def configuration(config: Config) -> dict[str, Any]:
    """The whole document; to add it to an existing one, take its routes, inhibitions, time intervals and receivers."""
    routing, speed = config.routing, config.timing.speed
    default, branches = routes.default_receiver(config), routes.branches(config)
    smtp = routing.smtp
    login = {"smtp_auth_username": literal(smtp.username), "smtp_auth_password_file": smtp.password_file}
    out: dict[str, Any] = {
        "global": {
            "resolve_timeout": wall(RESOLVE_TIMEOUT, speed),
            "smtp_smarthost": smtp.smarthost,
            "smtp_from": literal(smtp.sender),
            "smtp_require_tls": smtp.require_tls,
            **(login if smtp.username else {}),
        },
        "route": {
            "receiver": default.name,
            "group_by": list(namespace_labels(config)),
            "group_wait": wall(routing.group_wait, speed),
            "group_interval": wall(routing.group_interval, speed),
            "repeat_interval": wall(routing.repeat_interval, speed),
            "routes": [_branch(branch, speed) for branch in branches],
        },
        "inhibit_rules": [
            {
                "source_matchers": [str(matcher) for matcher in rule.source],
                "target_matchers": [str(matcher) for matcher in rule.target],
                "equal": list(rule.equal),
            }
            for rule in routes.inhibitions(config)
        ],
    }
    if routing.mute_windows:
        out["time_intervals"] = [
            {"name": name, "time_intervals": [_window(window) for window in windows]}
            for name, windows in routing.mute_windows.items()
        ]
    out["receivers"] = [_receiver(config, receiver) for receiver in (default, *(b.receiver for b in branches))]
    return out


def _branch(branch: Branch, speed: float) -> dict[str, Any]:
    out: dict[str, Any] = {"receiver": branch.receiver.name, "matchers": [str(branch.matcher)]}
    if branch.every:
        out |= {
            "group_wait": "0s",
            "group_interval": wall(branch.every / 2, speed),
            "repeat_interval": wall(branch.every, speed),
        }
    if branch.mute:
        out["mute_time_intervals"] = list(branch.mute)
    return out


def _window(window: MuteWindow) -> dict[str, Any]:
    """One window; what it leaves open is left out."""
    times = [dict(zip(("start_time", "end_time"), times.split("-"), strict=True)) for times in window.times]
    days = [str(day) for day in window.days_of_month]
    fields = {"weekdays": list(window.weekdays), "times": times, "days_of_month": days}
    return {name: value for name, value in fields.items() if value}


def _receiver(config: Config, receiver: Receiver) -> dict[str, Any]:
    """A receiver with a mail per address: one refused address does not keep the mail from the others."""
    out: dict[str, Any] = {"name": receiver.name}
    if receiver.emails:
        out["email_configs"] = [
            {
                "to": literal(address),
                "send_resolved": resolved,
                "headers": {"Subject": mail.subject(config)},
                "html": mail.html(config),
                "text": mail.text(config),
            }
            for address, resolved in receiver.emails
        ]
    if receiver.webhooks:
        out["webhook_configs"] = [{"url": url, "send_resolved": resolved} for url, resolved in receiver.webhooks]
    if receiver.slack:
        out["slack_configs"] = [
            {
                "api_url_file": slack.api_url_file,
                "channel": literal(slack.channel),
                "send_resolved": resolved,
                "title": mail.subject(config),
                "title_link": mail.TITLE_LINK,
                "text": mail.SLACK,
            }
            for slack, resolved in receiver.slack
        ]
    return out
