"""One line of the log for everything that somebody wanted to change: who, what, and what became of it."""

from __future__ import annotations

import logging
from typing import Final, Literal

from anomaly_exporter.self_metrics import SelfMetrics

from .identity import Identity

log = logging.getLogger(__name__)

Action = Literal["train", "stop", "promote", "rollback", "feedback", "withdraw"]
Outcome = Literal["done", "denied", "refused", "failed"]
ACTIONS: Final[tuple[Action, ...]] = ("train", "stop", "promote", "rollback", "feedback", "withdraw")
OUTCOMES: Final[tuple[Outcome, ...]] = ("done", "denied", "refused", "failed")


def begin(metrics: SelfMetrics) -> None:
    """Show the counters from 0 on."""
    for action in ACTIONS:
        for outcome in OUTCOMES:
            metrics.inc("control_changes_total", 0, action=action, outcome=outcome)


def outcome_of(status: int) -> Outcome:
    """What an answer means."""
    if status < 400:
        return "done"
    if status in (401, 403):
        return "denied"
    return "failed" if status >= 500 else "refused"


def note(metrics: SelfMetrics, identity: Identity, *, peer: str, action: Action, about: str, status: int) -> None:
    """Log and count one change; ``about`` says what of, in words of the configuration, never what a client wrote."""
    outcome = outcome_of(status)
    metrics.inc("control_changes_total", action=action, outcome=outcome)
    log.info(
        "audit",
        extra={
            "who": identity.name,
            "role": identity.role,
            "via": identity.via,
            "peer": peer,
            "action": action,
            "about": about,
            "outcome": outcome,
            "status": status,
        },
    )
