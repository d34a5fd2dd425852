"""From a score on a page to the mail of the right team, through the real Prometheus and Alertmanager.

Time is compressed: a minute of the rules and routes is a second. The exporter is a page that each test writes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import requests

from anomaly_exporter.demo.stack import AlertmanagerServer, PrometheusServer, Scrape
from anomaly_exporter.rendering import render_text
from anomaly_exporter.rendering.anomalies import KEEP
from support.prometheus import need_programs
from support.rule_configs import config
from support.scripted_exporter import ScriptedExporter, Series, Snitch
from support.smtp import Mail, mailbox
from support.waiting import wait_for

pytestmark = pytest.mark.e2e

SPEED = 60
PATIENCE = 40
"""Wall seconds that a condition may take on a busy machine."""
TEAMS = ("crab", "das")
CRAB, DAS = Series("crab", "crabserver", "memory"), Series("das", "das-server")


@dataclass
class Stack:
    """Exporter, the Prometheus that evaluates the rules, Alertmanager, mailbox and the outside receiver."""

    exporter: ScriptedExporter
    prometheus: PrometheusServer
    alertmanager: AlertmanagerServer
    box: Any
    snitch: Snitch

    def mail(self, tag: str, words: str = "") -> Mail:
        """The first mail to the team of ``tag`` whose subject matches ``words``."""
        found = self.box.wait(lambda m: team(tag) in m.recipients and re.search(words, m.subject), PATIENCE)
        if found is None:
            subjects = [m.subject for m in self.box.mails]
            raise AssertionError(
                f"no mail to {team(tag)} that matches {words!r}; there are {subjects}; {self.alerts()}"
            )
        assert isinstance(found, Mail)
        return found

    def mails(self, tag: str) -> list[Mail]:
        return [m for m in self.box.mails if team(tag) in m.recipients]

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """What Alertmanager knows and carries ``labels``."""
        answer = requests.get(f"{self.alertmanager.url}/api/v2/alerts", timeout=10)
        answer.raise_for_status()
        return [a for a in answer.json() if labels.items() <= a["labels"].items()]

    def silence(self, matchers: dict[str, str]) -> None:
        body = {
            "matchers": [{"name": k, "value": v, "isRegex": False, "isEqual": True} for k, v in matchers.items()],
            "startsAt": "2000-01-01T00:00:00Z",
            "endsAt": "2100-01-01T00:00:00Z",
            "createdBy": "test",
            "comment": "planned",
        }
        requests.post(f"{self.alertmanager.url}/api/v2/silences", json=body, timeout=10).raise_for_status()


def team(tag: str) -> str:
    return f"{tag}@example.org"


Start = Callable[..., Stack]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Brings a stack up; ``source`` and ``replicas`` as the test wants them."""
    need_programs()
    with ExitStack() as on:

        def up(source: Callable[[], bool] = lambda: True, replicas: int = 1) -> Stack:
            box, snitch = on.enter_context(mailbox()), on.enter_context(Snitch())
            routing = {
                "smtp": {"smarthost": f"127.0.0.1:{box.port}", "sender": team("anomaly"), "require_tls": False},
                "routes": [{"tag": tag, "emails": [team(tag)]} for tag in (*TEAMS, "anomaly-exporter")],
                "group_interval": "1m",
                "watchdog_url": snitch.url,
                "watchdog_every": "30s",
            }
            of = config(routing=routing, timing={"speed": SPEED})
            exporter = ScriptedExporter(60 / SPEED, source)
            pages = [exporter, *(ScriptedExporter(60 / SPEED, source, exporter.scores) for _ in range(replicas - 1))]
            scrapes = [
                Scrape(f"anomaly-exporter-{i}", on.enter_context(page).address, 0.25, honor_labels=True)
                for i, page in enumerate(pages)
            ]
            alertmanager = AlertmanagerServer(tmp_path / "alertmanager", render_text("alertmanager", of))
            prometheus = PrometheusServer(
                tmp_path / "prometheus",
                scrapes,
                {"anomaly-exporter.rules.yml": render_text("rules", of, "plain")},
                [alertmanager.address],
                0.5,
                # An alert lives for four times this long after Prometheus last sent it.
                resend=0.5,
            )
            on.enter_context(alertmanager)
            on.enter_context(prometheus)
            return Stack(exporter, prometheus, alertmanager, box, snitch)

        yield up


def test_each_team_gets_the_mail_of_its_own_incident_and_only_that(start: Start) -> None:
    stack = start()
    stack.exporter.scores |= {CRAB: 0.4, DAS: 0.4, Series("dbs", "dbs2go"): 0.4}
    stack.exporter.scores[CRAB] = 2.5
    crab = stack.mail("crab")
    assert crab.subject == "crabserver memory 2.5, expected 0.5 (crab, k8s-prod)"
    stack.exporter.scores[DAS] = 3
    das = stack.mail("das")
    assert das.subject == "das-server cpu 3 cores, expected 0.5 cores (das, k8s-prod)"
    assert [m.recipients for m in stack.box.mails] == [(team("crab"),), (team("das"),)]
    stack.exporter.scores[CRAB] = 0.4
    over = stack.mail("crab", "^Resolved after")
    assert "2.5" in over.body("plain"), "it says what it looked like"
    assert [m.subject for m in stack.mails("das")] == [das.subject]


def test_fifty_series_of_one_namespace_at_once_are_one_mail(start: Start) -> None:
    stack = start()
    stack.exporter.scores |= {Series("crab", f"c{i}", m): 2 + i / 10 for i in range(25) for m in ("cpu", "memory")}
    mail = stack.mail("crab")
    assert mail.subject == "25 workloads of crab depart at once (crab, k8s-prod)"
    assert "c24 memory 4.4" in mail.body("plain"), "it names the worst"
    detected = wait_for(
        lambda: len(stack.alerts(alertname="AnomalyDetected")) == 50, PATIENCE, "the alerts of the parts"
    )
    assert detected
    states = {a["status"]["state"] for a in stack.alerts(namespace="crab") if a["labels"]["metric"] != "several"}
    assert states == {"suppressed"}
    stack.exporter.scores[DAS] = 2
    stack.mail("das")
    assert len(stack.mails("crab")) == 1, "the parts are muted, and were while another team was mailed"


def test_when_the_source_stops_in_mid_incident_blind_is_mailed_and_nothing_looks_like_a_recovery(
    start: Start, tmp_path: Path
) -> None:
    with PrometheusServer(tmp_path / "source", evaluation=0.5) as source:

        def readable() -> bool:
            try:
                return requests.get(f"{source.url}/-/ready", timeout=1).ok
            except requests.RequestException:
                return False

        stack = start(readable)
        stack.exporter.scores[CRAB] = 2.5
        stack.mail("crab")
        source.stop()
        stopped = time.time()
    blind = stack.mail("anomaly-exporter", "AnomalyExporterBlind")
    assert [m.subject for m in stack.mails("crab") if m.subject.startswith("Resolved")] == []
    assert blind.received_at - stopped < KEEP / SPEED, "blind is known before the alert could end"
    over = stack.mail("crab", "^Resolved")
    assert over.received_at - stopped > KEEP / SPEED


def test_when_prometheus_stops_the_outside_receiver_misses_the_watchdog(start: Start) -> None:
    """Alertmanager then declares resolved what it heard last: that mail is not true, the missing watchdog is."""
    stack = start()
    stack.exporter.scores[CRAB] = 2.5
    stack.mail("crab")
    wait_for(lambda: len(stack.snitch.calls) > 2, PATIENCE, "the watchdog to come again and again")
    assert not stack.snitch.missing_for(5)
    stack.prometheus.stop()
    wait_for(lambda: stack.snitch.missing_for(5), PATIENCE, "the outside receiver to miss the watchdog")
    stack.mail("crab", "^Resolved")
    assert [m for m in stack.box.mails if "AnomalyWatchdog" in m.body("plain")] == []


def test_two_replicas_of_the_exporter_are_one_alert_and_one_mail(start: Start) -> None:
    stack = start(replicas=2)
    stack.exporter.scores[CRAB] = 2.5
    assert stack.mail("crab").subject == "crabserver memory 2.5, expected 0.5 (crab, k8s-prod)"
    assert len(stack.prometheus.query("anomaly_score")) == 2
    assert len(stack.alerts(alertname="AnomalyDetected")) == 1
    assert len(stack.mails("crab")) == 1


def test_a_silence_from_the_link_in_the_mail_keeps_the_next_mail_away(start: Start) -> None:
    stack = start()
    stack.exporter.scores[CRAB] = 2.5
    mail = stack.mail("crab")
    (line,) = [line for line in mail.body("plain").splitlines() if line.startswith("silence")]
    matchers = dict(re.findall(r'(\w+)="([^"]*)"', unquote(line.partition("filter=")[2])))
    stack.silence({**matchers, "container": "web", "service": "web"})
    stack.exporter.scores[Series("crab", "web", "memory")] = 4
    wait_for(lambda: stack.alerts(service="web", alertname="AnomalyDetected"), PATIENCE, "the silenced alert")
    stack.exporter.scores[DAS] = 2
    stack.mail("das")
    (silenced,) = stack.alerts(service="web", alertname="AnomalyDetected")
    assert silenced["status"]["state"] == "suppressed"
    assert [m.subject for m in stack.mails("crab")] == [mail.subject]
