"""How the demo talks: plain lines, colour only on a terminal."""

from __future__ import annotations

import datetime
import os
import sys

from .mailbox import Mail
from .page import Page

Labels = dict[str, str]


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say(f"\n{_paint('1', text)}")


def clock_face(data: float) -> str:
    """Data time as people read it."""
    return datetime.datetime.fromtimestamp(data, datetime.UTC).strftime("%a %H:%M")


def score_line(data: float, metrics: Page, labels: Labels) -> str:
    """One cycle of one series: observed, expected band, error, threshold, score."""
    what = f"{labels['namespace']}/{labels['container']} {labels['metric']}"
    names = ("anomaly_observed_value", "anomaly_expected_lower", "anomaly_expected_upper")
    observed, lower, upper = (metrics.value(n, **labels) for n in names)
    error = metrics.value("anomaly_reconstruction_error", **labels)
    threshold = metrics.value("anomaly_threshold", **labels)
    score = metrics.value("anomaly_score", **labels)
    if score is None:
        return f"  {clock_face(data)}  {what}  not scored"
    line = (
        f"  {clock_face(data)}  {what}  observed {_number(observed)}  expected {_number(lower)}..{_number(upper)}  "
        f"error {_number(error)}  threshold {_number(threshold)}  score {score:.2f}"
    )
    if metrics.value("anomaly_detected", **labels) == 1:
        return _paint("1;31", f"{line}  ANOMALY")
    return _paint("33", f"{line}  above") if score >= 1 else line


def mail_text(mail: Mail) -> str:
    """Headers and text part of a mail, framed."""
    message = mail.message
    head = [f"{name}: {message[name]}" for name in ("From", "To", "Subject", "Date") if message[name]]
    text = mail.body("plain").strip() or mail.body("html").strip()
    return "\n".join(f"  | {line}".rstrip() for line in [*head, "", *text.splitlines()])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _paint(code: str, text: str) -> str:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\033[{code}m{text}\033[0m" if colour else text
