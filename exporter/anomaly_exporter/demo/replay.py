"""Recorded faults through the whole path: training part backfilled, test part live, alerts judged at the mailbox."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from . import stand
from .feeds import RecordedFeed
from .judging import SLACK, Findings, Notice, judge
from .mailbox import Mail
from .processes import wait_until
from .recording import Event, Recording, Watch, load, metric_name
from .scenario import address, smtp
from .stack import missing_programs
from .story import StoryError
from .terminal import clock_face, mail_text, say, title

WINDOW = 24
"""Samples a replay's model sees at once."""
WARM_UP = WINDOW + 6
"""Steps of the test part that are backfilled before the live part begins, so that windows are full."""
MOST = 2 * 3600
"""Data seconds within which the faults lie that the command shows, and the longest of them."""

SINCE = re.compile(r"^since\s+(\S+ \S+ \+0000)$", re.MULTILINE)
"""When an alert began, in the text part of a mail."""


@dataclass(frozen=True)
class Stretch:
    """Which part of a recording is replayed: live from ``start`` to ``end`` (data time).

    ``lead`` wall seconds pass before ``start``: set-up and the first training happen then, on what lies before.
    """

    start: int
    end: int
    speed: float = 60.0
    lead: float = 45.0
    recipe: str = "fc"


def around(recording: Recording, events: Sequence[Event], **more: Any) -> Stretch:
    """The stretch that holds ``events``: from a full window before the first to the last mail about the last."""
    step = recording.step
    start = max(min(e.start for e in events) // step * step - WINDOW * step, recording.test[0] + WARM_UP * step)
    end = max(e.end for e in events) + SLACK
    return Stretch(start, min(end, recording.test[1]), **more)


def document(recording: Recording, stretch: Stretch, ends: stand.Ends) -> dict[str, Any]:
    """The exporter's configuration: a target per watch, a mail receiver per entity."""
    return {
        "prometheus": {"url": ends.prometheus_url, "timeout": "20s"},
        "static_labels": {"env": "replay"},
        "models": {stretch.recipe: {"recipe": stretch.recipe, "window": WINDOW}},
        # Fitted once, on the training part: a replay judges detection, not retraining.
        "training": {"min_history": "1h", "every": "365d"},
        "regime": {"enabled": False},
        "targets": [_target(recording, watch, stretch.recipe) for watch in recording.watches],
        "routing": {
            "routes": [{"tag": e, "emails": [address(e)]} for e in recording.entities],
            "smtp": smtp(ends),
        },
    }


def start(on: ExitStack, folder: Path, recording: Recording, stretch: Stretch) -> stand.Stand:
    """Everything up, the clock ``lead`` wall seconds before the stretch begins. Raises StackError."""
    clock = stand.clock_from(time.time(), stretch.start, stretch.speed, stretch.lead)
    times = recording.block.times
    return stand.start(
        on,
        folder,
        clock,
        lambda ends: document(recording, stretch, ends),
        feed=RecordedFeed(recording.block),
        past=times[times <= stretch.start],
    )


def wait_for_models(running: stand.Stand, patience: float = 300.0) -> dict[str, int]:
    """Return when every target is trained: the number of series scored, and of those that are not, by reason.

    Raises:
        StackError: that takes longer than ``patience`` wall seconds.
    """

    def trained() -> bool:
        metrics = running.exporter.metrics()
        return metrics is not None and running.trained(metrics)

    wait_until(trained, patience, "the first training of every target", *running.children, every=0.25)
    metrics = running.exporter.metrics()
    out = {"scored": len(metrics.all("anomaly_score")) if metrics else 0}
    for labels, count in metrics.all("anomaly_exporter_series_unscored") if metrics else ():
        if count:
            out[labels["reason"]] = out.get(labels["reason"], 0) + int(count)
    return out


def play(running: stand.Stand, until: int, seen: Callable[[Mail], None] = lambda _: None) -> None:
    """Let data time pass until ``until``; ``seen`` gets every mail as it comes. Raises StackError when a part ends."""
    mailbox = running.mailbox
    told = 0
    while True:
        running.check()
        mails = mailbox.mails if mailbox else ()
        for mail in mails[told:]:
            seen(mail)
        told = len(mails)
        if running.clock.now() >= until:
            return
        time.sleep(0.1)


def mail_notices(running: stand.Stand) -> list[Notice]:
    """A notice per mail that says something fires, and per team that got it."""
    clock = running.clock
    out = []
    for mail in running.mailbox.mails if running.mailbox else ():
        if mail.subject.startswith("Resolved"):
            continue
        began = [datetime.strptime(s, "%Y-%m-%d %H:%M:%S %z").timestamp() for s in SINCE.findall(_utc(mail))]
        since = clock.to_data(max(began)) if began else None
        for to in mail.recipients:
            out.append(Notice(to.partition("-team@")[0], clock.to_data(mail.received_at), since))
    return out


def _utc(mail: Mail) -> str:
    return mail.body("plain").replace(" UTC", " +0000")


def detection_notices(running: stand.Stand, stretch: Stretch, step: int) -> list[Notice]:
    """A notice per moment at which anomaly_detected became 1, as Prometheus holds it."""
    if running.prometheus is None:
        return []
    clock = running.clock
    width = step / clock.speed
    span = clock.to_wall(stretch.start), clock.to_wall(stretch.end)
    matrix = running.prometheus.query_range("max by (container, metric) (anomaly_detected)", *span, width)
    out = []
    for series in matrix:
        before, last = 0.0, float("-inf")
        for at, value in series["values"]:
            now = float(value)
            if now == 1 and (before == 0 or at - last > 1.5 * width):
                out.append(Notice(series["metric"]["container"], clock.to_data(float(at))))
            before, last = now, float(at)
    return out


def report(what: str, findings: Findings) -> str:
    """Lines for people: found of all, missed, false."""
    total = len(findings.found) + len(findings.missed)
    lines = [f"{what}: {len(findings.found)} of {total} events, {len(findings.false)} false"]
    lines += [
        f"  found   {clock_face(e.start)}  {e.entity} {e.kind}, after {(n.at - e.start) / 60:.1f} min"
        for e, n in findings.found
    ]
    lines += [f"  missed  {clock_face(e.start)}  {e.entity} {e.kind}" for e in findings.missed]
    lines += [f"  false   {clock_face(n.at)}  {n.entity}" for n in findings.false]
    return "\n".join(lines)


def findings(recording: Recording, stretch: Stretch, notices: Sequence[Notice]) -> Findings:
    """``notices`` against the labels of what was replayed."""
    events = [e for e in recording.events if stretch.start <= e.start and e.end <= stretch.end]
    return judge(events, [*recording.forgiven, *recording.events], notices)


def tell(on: ExitStack, folder: Path, data: Path, dataset: str) -> stand.Stand:
    """The replay as ``anomaly-exporter demo --replay`` shows it: up to three faults that can be seen.

    Raises:
        StoryError: none of them reached its team.
        StackError: a part does not come up, or ``data`` does not hold the data set.
    """
    if lacking := missing_programs():
        raise StoryError(f"a replay needs Prometheus and Alertmanager; not installed: {', '.join(lacking)}")
    entities = () if dataset == "nezha_ob" else ("machine-1-7",)
    recording = load(data, dataset, entities)
    earliest = recording.test[0] + (WARM_UP + 5) * recording.step
    visible = [e for e in recording.events if e.start >= earliest and e.end - e.start <= MOST]
    if not visible:
        raise StoryError(f"{dataset} holds no fault after its first full window")
    events = [e for e in visible[:3] if e.start < visible[0].start + MOST]
    stretch = around(recording, events)
    title(f"Replay of {dataset}: {len(recording.entities)} entities, {len(recording.block.series)} series")
    known = stretch.start - stretch.lead * stretch.speed
    say(f"  trained on what lies before {clock_face(known)}, live from {clock_face(stretch.start)};")
    say(f"  time runs {stretch.speed:g} times faster")
    running = start(on, folder, recording, stretch)
    for name, url in running.urls.items():
        say(f"  {name:<13}{url}")
    series = ", ".join(f"{count} {what}" for what, count in wait_for_models(running).items())
    say(f"  series: {series}")
    play(running, stretch.end, lambda mail: say(f"\n{mail_text(mail)}"))
    mailed = findings(recording, stretch, mail_notices(running))
    title("What came of it")
    say(report("detected", findings(recording, stretch, detection_notices(running, stretch, recording.step))))
    say(report("mailed", mailed))
    if not mailed.found:
        raise StoryError(f"no fault of {dataset} was mailed to the team of its tag; logs are in {folder}")
    return running


def _target(recording: Recording, watch: Watch, recipe: str) -> dict[str, Any]:
    selector = f'{{namespace="{recording.dataset}"}}'
    return {
        "name": f"{recording.dataset}-{watch.metric}".replace("_", "-"),
        "metric": watch.metric,
        "step": f"{recording.step}s",
        "delay": f"{recording.step // 2}s",
        "models": [recipe],
        "tag_from": "container",
        "queries": [{"name": f, "expr": f"{metric_name(f)}{selector}"} for f in watch.features],
    }
