"""Mails as the real Alertmanager writes them from our templates."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import requests

from anomaly_exporter.rendering import render_text
from support.alertmanager import alertmanager
from support.rule_configs import HOSTILE, config
from support.smtp import Mail, mailbox

pytestmark = pytest.mark.e2e

EVIL = "".join(HOSTILE)


def annotations(labels: dict[str, str]) -> dict[str, str]:
    """What the rules would write about an alert with ``labels``."""
    return {
        "summary": "A series departs from what its model has learned.",
        "message": f"{labels['metric']} of {labels['service']} departs from what the model expects.",
        "description": f"{labels['metric']} of {labels['service']} (model=fc): score 1.75, anomalous from 1; error 3.5",
        "date": "2026-11-22 02:00:00 +0000 UTC",
        "hostname": "http://grafana/d/anomaly-monitoring?from=1&to=2",
        "dashboard_url": "http://grafana/d/anomaly-monitoring?from=1&to=2&var-namespace=a%26b",
        "graph": "/graph?g0.expr=anomaly_score%7Bnamespace%3D%22a%26b%22%7D&g0.tab=0",
        "runbook_url": "http://docs/runbooks/anomalydetected.md",
    }


NUMBERS = {
    "values": "cpu: observed 3 cores, expected 1 cores (500m cores to 1.5 cores)",
    "neighbours": "web memory 4.2\n",
    "next_steps": "Did traffic rise with it?\nWhat changed?\n",
}


class Post:
    """An Alertmanager that mails to two teams, and what it mailed."""

    def __init__(self, address: str, box: Any) -> None:
        self.address, self.box = address, box
        self.began = datetime.now(UTC) - timedelta(minutes=3)

    def send(self, *alerts: dict[str, str], resolved: bool = False, **more: str) -> None:
        """Post alerts as Prometheus does; annotations are those that the rules make, with ``more`` over them."""
        end = {"endsAt": datetime.now(UTC).isoformat()} if resolved else {}
        body = [
            {
                "labels": {"alertname": "AnomalyDetected", "severity": "warning", "env": "k8s-prod", **labels},
                "annotations": {**annotations(labels), **more},
                "generatorURL": "http://prometheus/graph?g0.expr=x&g0.tab=1",
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


SELF = {"service": "anomaly-exporter", "metric": "last_success_timestamp_seconds"}


def labels(tag: str = "crab", **more: str) -> dict[str, str]:
    return {"tag": tag, "namespace": tag, "service": "crabserver", "metric": "cpu", "model": "fc", **more}


GOLDEN = Path(__file__).with_name("golden")


def check_golden(name: str, mail: Mail, post: Post) -> None:
    """The subject and both parts are what is committed, but for the port and the times of this run.

    To accept a change, write them anew: ``UPDATE_GOLDEN=1 pytest tests/rules/test_mail.py``.
    """
    for kind, suffix in (("plain", "txt"), ("html", "html")):
        text = mail.body(kind).replace("\r\n", "\n").replace(post.address, "ALERTMANAGER")
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", text)
        text = re.sub(r"\b3m\d*s?\b", "DURATION", text)
        subject = re.sub(r"\b3m\d*s?\b", "DURATION", mail.subject)
        text = f"Subject: {subject}\n\n{text}" if kind == "plain" else text
        path = GOLDEN / f"{name}.{suffix}"
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"{path.name} differs; UPDATE_GOLDEN=1 writes it anew"


def test_the_mail_says_what_where_and_how_to_go_on_and_the_resolved_one_that_it_is_over(post: Post) -> None:
    post.send(labels(), **NUMBERS)
    mail = post.mail("crab@example.org")
    assert mail.subject == "crabserver cpu 3 cores, expected 1 cores (crab, k8s-prod)"
    assert mail.recipients == ("crab@example.org",)
    for part in (mail.body("plain"), mail.body("html")):
        for said in ("3 cores", "1 cores", "500m cores to 1.5 cores", "score", "1.75, anomalous from 1; error 3.5"):
            assert said in part.replace("Score", "score")
        for said in ("Did traffic rise with it?", "What changed?", "web memory 4.2"):
            assert said in part
        assert post.began.strftime("%Y-%m-%d %H:%M:%S UTC") in part
        assert "http://docs/runbooks/anomalydetected.md" in part
    assert "http://grafana/d/anomaly-monitoring?from=1&to=2&var-namespace=a%26b" in mail.body("plain")
    assert 'href="http://grafana/d/anomaly-monitoring?from=1&amp;to=2&amp;var-namespace=a%26b"' in mail.body("html")
    graph = "http://prometheus/graph?g0.expr=anomaly_score%7Bnamespace%3D%22a%26b%22%7D&g0.tab=0"
    assert graph in mail.body("plain")
    assert graph in Tags(mail.body("html")).links
    check_golden("firing", mail, post)
    post.send(labels(), resolved=True, **NUMBERS)
    over = post.mail("crab@example.org", "Resolved")
    assert re.fullmatch(r"Resolved after 3m(\d+s)?: crabserver cpu \(crab, k8s-prod\)", over.subject)
    assert re.search(r", lasted 3m(\d+s)?\s", over.body("plain"))
    assert "3 cores" in over.body("html"), "it still says what it looked like"
    assert "Silence this" not in over.body("html")
    check_golden("resolved", over, post)


def test_silence_this_is_filled_in_with_exactly_the_labels_of_the_alert(post: Post) -> None:
    hostile = {**labels(), "service": 'a "b" + c & d\\e'}
    post.send(hostile)
    mail = post.mail("crab@example.org")
    (link,) = [link for link in Tags(mail.body("html")).links if "/silences/new" in link]
    (line,) = [line for line in mail.body("plain").splitlines() if line.startswith("silence")]
    assert link.startswith(f"http://{post.address}/#/silences/new?filter=%7b")
    for written in (link, line):
        encoded = written.partition("filter=")[2]
        assert "+" not in encoded, "Alertmanager's page does not read + as a blank"
        matchers = dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*")', unquote(encoded)))
        expected = {"alertname": "AnomalyDetected", "env": "k8s-prod", **hostile}
        assert {name: json.loads(value) for name, value in matchers.items()} == expected


def test_three_features_and_their_shares_are_a_table(post: Post) -> None:
    values = "cpu: observed 0.9, expected 0.2, share 50%\nmemory:, share 30%\n"
    values += "load: observed 12, expected 3 (1 to 5), share 9%"
    post.send(labels(metric="resources"), values=values)
    mail = post.mail("crab@example.org")
    assert mail.subject == "crabserver cpu 0.9, expected 0.2 (crab, k8s-prod)"
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", mail.body("html"))
    assert cells[:5] == ["cpu", "0.9", "0.2", "", "50%"]
    assert cells[5:10] == ["memory", "", "", "", "30%"]
    assert cells[10:15] == ["load", "12", "3", "1 to 5", "9%"]


def test_a_mail_of_many_alerts_shows_the_first_in_full_and_a_line_for_each_of_the_others(post: Post) -> None:
    post.began = datetime.now(UTC)
    post.send(*(labels(container=f"c{i}", service=f"s{i}") for i in range(9)))
    mail = post.mail("crab@example.org")
    assert mail.subject == "9 cpu anomalies (crab, k8s-prod)"
    assert mail.body("html").count("Silence this") == 4
    assert all(f"cpu of s{i} departs" in mail.body("html") for i in range(9))


def test_the_namespace_mutes_its_parts_and_the_workload_its_series_but_nothing_mutes_critical(post: Post) -> None:
    post.began = datetime.now(UTC)
    wide = {
        "alertname": "AnomalyOfNamespace",
        "tag": "crab",
        "namespace": "crab",
        "service": "crab",
        "metric": "several",
    }
    critical = labels(alertname="AnomalySevere", severity="critical", service="db")
    post.send(wide, critical, *(labels(container=f"c{i}") for i in range(50)))
    mail = post.mail("crab@example.org")
    assert mail.body("plain").count("runbook ") == 2
    assert "alertname=AnomalyOfNamespace" in mail.body("plain")
    assert "alertname=AnomalySevere" in mail.body("plain")


def test_the_watchdog_is_never_mailed(post: Post) -> None:
    post.send({"alertname": "AnomalyWatchdog", "severity": "none", "tag": "anomaly-exporter", **SELF})
    post.send({"alertname": "AnomalyExporterBlind", "tag": "anomaly-exporter", **SELF})
    assert "AnomalyWatchdog" not in post.mail("rest@example.org").body("plain")


def test_fifty_series_of_one_namespace_are_one_mail(post: Post) -> None:
    post.began = datetime.now(UTC)  # a group whose alert is older than group_wait would be mailed at once
    post.send(*(labels(container=f"c{i}") for i in range(50)))
    mail = post.mail("crab@example.org")
    assert mail.subject == "50 cpu anomalies of crabserver (crab, k8s-prod)"
    post.send(labels(tag="other"))
    post.mail("rest@example.org")
    assert [m.recipients for m in post.box.mails] == [("crab@example.org",), ("rest@example.org",)]


def test_alerts_about_the_exporter_name_the_alert(post: Post) -> None:
    post.send({"tag": "anomaly-exporter", **SELF, "alertname": "AnomalyExporterBlind"}, graph="", description="Blind.")
    mail = post.mail("rest@example.org")
    assert mail.subject == "anomaly-exporter: AnomalyExporterBlind (k8s-prod)"
    assert "http://prometheus/graph?g0.expr=x&g0.tab=1" in Tags(mail.body("html")).links, "the graph of the rule"
    check_golden("self", mail, post)


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
    texts = dict.fromkeys(("summary", "description", "neighbours", "hostname"), f"javascript:alert(1) {injection}")
    post.send({**labels(tag=EVIL), "service": injection, "metric": 'x" onload="alert(1)'}, **texts)
    mail = post.mail("evil@example.org")
    assert [m.recipients for m in post.box.mails] == [("evil@example.org",)]
    assert {name.lower() for name in mail.message} & {"bcc", "cc"} == set()
    assert "Bcc: victim" in mail.subject, "the line break became a blank within the subject"
    assert not re.search("[\n\r\u202a-\u202e\u2066-\u2069]", mail.subject), "nothing turns what follows"
    page = Tags(mail.body("html"))
    assert page.tags <= {"html", "head", "meta", "body", "div", "p", "a", "table", "tr", "td", "bdi", "span"}
    assert all(link.startswith(("http://", "#ZgotmplZ")) for link in page.links), "no link runs a script"
    assert "&lt;script&gt;" in mail.body("html")
    assert "<script>alert(1)</script>" in mail.body("plain")
