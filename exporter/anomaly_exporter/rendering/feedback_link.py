"""Links of a mail to the feedback page, with the series, the time and the verdict filled in.

They are texts of Alertmanager's templates: what stands in labels is escaped there, for a URL.
"""

from __future__ import annotations

from anomaly_exporter.config import CANARY_TAG, Config

from .entity import literal, own_labels
from .self_alert import SERVICE

LEAD = 10
"""Steps before the alert at which the anomaly is taken to have begun: persistence and evaluation took that long."""
WORDS = {"expected": "This was expected", "incident": "It was an incident"}
"""Verdict -> words of its link."""


def address(config: Config, verdict: str, escape: str = "") -> str | None:
    """Template text of the link for ``verdict``; None where ``control.external_url`` says of no page.

    ``escape`` ends the pipeline of every label; HTML templates escape by themselves.
    """
    if config.control.external_url is None or not config.control.enabled:
        return None
    step = max((target.step for target in config.watched), default=60)
    lead = round(LEAD * step * 1e9 / config.timing.speed)
    names = dict.fromkeys(config.exposition.emitted(name) for name in (*config.static_labels, *own_labels(config)))
    labels = "".join(
        f"{{{{ with .Labels.{name} }}}}&label.{name}={{{{ .{escape} }}}}{{{{ end }}}}" for name in (*names, "metric")
    )
    return (
        f"{literal(config.control.external_url.rstrip('/'))}/feedback?verdict={verdict}"
        f"&from={{{{ (.StartsAt.Add -{lead}).Unix }}}}"
        f'{{{{ if eq .Status "resolved" }}}}&to={{{{ .EndsAt.Unix }}}}{{{{ end }}}}{labels}'
    )


def only_for_series(text: str) -> str:
    """``text`` in mails about one series; not in those about the exporter, its canary or many series at once."""
    about_one = f'(ne .Labels.tag "{SERVICE}") (ne .Labels.tag "{CANARY_TAG}") (ne .Labels.metric "several")'
    return f"{{{{- if and {about_one} }}}}{text}{{{{- end }}}}"
