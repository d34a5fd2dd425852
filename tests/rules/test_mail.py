"""Mails as the real Alertmanager writes them from our templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import requests

from anomaly_exporter.rendering import render_text
from support.alertmanager import alertmanager
from support.rule_configs import HOSTILE, config
from support.smtp import Mail, mailbox

pytestmark = pytest.mark.e2e

EVIL = "".join(HOSTILE)


class Post:
    """An Alertmanager that mails to two teams, and what it mailed."""

    def __init__(self, address: str, box: Any) -> None:
        self.address, self.box = address, box
        self.began = datetime.now(UTC) - timedelta(minutes=3)

    def send(self, *alerts: dict[str, str], resolved: bool = False) -> None:
        """Post alerts as Prometheus does; ``labels`` are given, annotations are those that the rules make."""
        end = {"endsAt": datetime.now(UTC).isoformat()} if resolved else {}
        body = [
            {
                "labels": {"alertname": "AnomalyDetected", "severity": "warning", "env": "k8s-prod", **labels},
                "annotations": {
                    "summary": "A series departs from what its model has learned.",
                    "message": f"{labels['metric']} of {labels['service']} departs from what the model expects.",
                    "description": f"score 1.75\n{labels['metric']}: observed 3, expected 1",
                    "date": "2026-11-22 02:00:00 +0000 UTC",
                    "hostname": "http://grafana/d/anomaly-monitoring?from=1&to=2",
                    "dashboard_url": "http://grafana/d/anomaly-monitoring?from=1&to=2&var-namespace=a%26b",
                    "runbook_url": "http://docs/runbooks/anomalydetected.md",
                },
                "generatorURL": "http://prometheus/graph?g0.expr=anomaly_score",
                "startsAt": self.began.isoformat(),
                **end,
            }
            for labels in alerts
        ]
        answer = requests.post(f"http://{self.address}/api/v2/alerts", json=body, timeout=10)
        assert answer.status_code == 200, answer.text

    def mail(self, recipient: str, word: str = "") -> Mail:
        found = self.box.wait(lambda mail: recipient in mail.recipients and word in mail.subject, 15)
        assert found is not None, f"no mail to {recipient} with {word!r}; {[m.subject for m in self.box.mails]}"
        assert isinstance(found, Mail)
        return found


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with mailbox() as box:
        smtp = {"smarthost": f"127.0.0.1:{box.port}", "sender": "anomaly@example.org", "require_tls": False}
        routes = [{"tag": "crab", "emails": ["crab@example.org"]}, {"tag": EVIL, "emails": ["evil@example.org"]}]
        routing = {
            "smtp": smtp,
            "routes": routes,
            "default_emails": ["rest@example.org"],
            "group_wait": "2m",
            "group_interval": "2m",
        }
        of = config(routing=routing, timing={"speed": 100})
        with alertmanager(tmp_path, render_text("alertmanager", of)) as server:
            yield Post(server.address, box)


def labels(tag: str = "crab", **more: str) -> dict[str, str]:
    return {"tag": tag, "namespace": tag, "service": "crabserver", "metric": "cpu", "model": "fc", **more}


def test_the_mail_says_what_where_and_how_to_go_on_and_the_resolved_one_that_it_is_over(post: Post) -> None:
    post.send(labels())
    mail = post.mail("crab@example.org")
    assert mail.subject == "Anomaly: cpu of crabserver in crab (k8s-prod)"
    assert mail.recipients == ("crab@example.org",)
    for part in (mail.body("plain"), mail.body("html")):
        assert "cpu of crabserver departs from what the model expects." in part
        assert "cpu: observed 3, expected 1" in part
        assert post.began.strftime("%Y-%m-%d %H:%M:%S UTC") in part
        assert "http://docs/runbooks/anomalydetected.md" in part
    assert "http://grafana/d/anomaly-monitoring?from=1&to=2&var-namespace=a%26b" in mail.body("plain")
    assert 'href="http://grafana/d/anomaly-monitoring?from=1&amp;to=2&amp;var-namespace=a%26b"' in mail.body("html")
    post.send(labels(), resolved=True)
    over = post.mail("crab@example.org", "Resolved")
    assert over.subject == "Resolved: cpu of crabserver in crab (k8s-prod)"
    assert re.search(r", after 3m\d+s\s", over.body("plain"))


def test_fifty_series_of_one_namespace_are_one_mail(post: Post) -> None:
    post.began = datetime.now(UTC)  # a group whose alert is older than group_wait would be mailed at once
    post.send(*(labels(container=f"c{i}") for i in range(50)))
    mail = post.mail("crab@example.org")
    assert mail.subject == "50 cpu anomalies of crabserver in crab (k8s-prod)"
    post.send(labels(tag="other"))
    post.mail("rest@example.org")
    assert [m.recipients for m in post.box.mails] == [("crab@example.org",), ("rest@example.org",)]


def test_alerts_about_the_exporter_name_the_alert(post: Post) -> None:
    about = {"tag": "anomaly-exporter", "service": "anomaly-exporter", "metric": "last_success_timestamp_seconds"}
    post.send({**about, "alertname": "AnomalyExporterBlind"})
    assert post.mail("rest@example.org").subject == "anomaly-exporter: AnomalyExporterBlind (k8s-prod)"


class Tags(HTMLParser):
    """The tags of a page and the targets of its links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]


def test_hostile_label_values_reach_their_team_and_nothing_of_them_runs(post: Post) -> None:
    injection = f"{EVIL}\r\nBcc: victim@example.org\r\n\r\nbody"
    post.send({**labels(tag=EVIL), "service": injection, "metric": 'x" onload="alert(1)'})
    mail = post.mail("evil@example.org")
    assert [m.recipients for m in post.box.mails] == [("evil@example.org",)]
    assert {name.lower() for name in mail.message} & {"bcc", "cc"} == set()
    assert "Bcc: victim" in mail.subject, "the line break stays within the subject, encoded"
    page = Tags(mail.body("html"))
    assert page.tags <= {"html", "body", "h2", "p", "pre", "a", "table", "tr", "td", "bdi", "hr"}
    assert all(link.startswith("http://") for link in page.links)
    assert "&lt;script&gt;" in mail.body("html")
    assert "<script>alert(1)</script>" in mail.body("plain")
