"""From the link of a mail to feedback in the store: real Alertmanager, real browser, our own command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from anomaly_exporter.rendering import render_text
from support.alertmanager import alertmanager
from support.browser import PHONE, Browser, chromium
from support.control import TOKENS, Bench, control
from support.rule_configs import HOSTILE, config
from support.smtp import Mail, mailbox

pytestmark = pytest.mark.e2e

TO = "team@example.org"
WORST = [value for value in HOSTILE if any(sign in value for sign in '"\n<{')]
"""Values that could end an attribute, a line, a tag or a template."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as made:
        yield made


def the_mail(folder: Path, bench: Bench, labels: dict[str, str], *, resolved: bool = False) -> tuple[Mail, datetime]:
    """What Alertmanager writes about an alert with ``labels``, and when the alert began."""
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    alert: dict[str, Any] = {
        "labels": {"alertname": "AnomalyDetected", "severity": "warning", "env": "k8s-prod", "model": "fc", **labels},
        "annotations": {"message": "cpu departs", "summary": "A series departs.", "description": "score 2"},
        "startsAt": began.isoformat(),
        "generatorURL": "http://prometheus/graph",
    }
    with mailbox() as box:
        smtp = {"smarthost": f"127.0.0.1:{box.port}", "sender": "anomaly@example.org", "require_tls": False}
        routing = {"smtp": smtp, "default_emails": [TO], "group_wait": "2m", "group_interval": "2m"}
        section = {"enabled": True, "external_url": bench.url, "tokens_file": "t"}
        of = config(routing=routing, timing={"speed": 100}, control=section)
        with alertmanager(folder, render_text("alertmanager", of)) as server:
            url = f"http://{server.address}/api/v2/alerts"
            assert requests.post(url, json=[alert], timeout=10).status_code == 200
            mail = box.wait(lambda mail: TO in mail.recipients, 15)
            if resolved:
                ended = {**alert, "endsAt": (began + timedelta(minutes=10)).isoformat()}
                assert requests.post(url, json=[ended], timeout=10).status_code == 200
                mail = box.wait(lambda mail: "esolved" in mail.subject, 15)
    assert isinstance(mail, Mail)
    return mail, began


def links(mail: Mail) -> dict[str, str]:
    """Words of the button -> its address; the plain part has the same addresses."""
    found = re.findall(r'<a href="([^"]*/feedback\?[^"]*)"[^>]*>([^<]*)</a>', mail.body("html"))
    made = {words: unescape(address) for address, words in found}
    plain = re.findall(r"^(expected|incident)\s+(http\S+)$", mail.body("plain").replace("\r", ""), re.MULTILINE)
    assert [address.split("from=")[0] for _, address in plain] == [a.split("from=")[0] for a in made.values()]
    return made


def test_this_was_expected_is_clicked_in_a_mail_kept_and_listed(tmp_path: Path, browser: Browser) -> None:
    with control(tmp_path, config=config()) as bench:
        mail, began = the_mail(
            tmp_path, bench, {"namespace": "crab", "container": "crabserver", "metric": "cpu", "tag": "crab"}
        )
        browser.resize(PHONE, phone=True)
        browser.open(links(mail)["This was expected"], referrer="https://mail.example.org/")
        browser.write("#token", TOKENS["operator"])
        browser.go("main button")
        browser.write("#comment", "the weekly backup")
        browser.go("main .acts button")
        assert "Thank you, your feedback is kept." in browser.text
        file = tmp_path / "config.yaml"
        section = {"prometheus": {"url": "http://prometheus:9090"}, "store": {"path": str(tmp_path / "store")}}
        target = {"name": "cpu", "metric": "cpu", "queries": [{"expr": "x"}]}
        file.write_text(yaml.safe_dump({**section, "targets": [target]}))
        command = [sys.executable, "-m", "anomaly_exporter", "feedback", "list", "-c", str(file), "--output", "json"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "the weekly backup" in listed
    found = json.loads(listed.splitlines()[0])
    record = found[0] if isinstance(found, list) else found
    assert (record["verdict"], record["author"], record["source"]) == ("expected", "operator", "page")
    said = {name: value for name, _, value in record["matchers"]}
    assert said == {"env": "k8s-prod", "namespace": "crab", "container": "crabserver", "metric": "cpu"}
    assert record["start"] == int(began.timestamp()) - 6, "ten steps before the alert, at 100 times the speed"
    assert abs(record["end"] - datetime.now(UTC).timestamp()) < 120, "it went on when the link was opened"


@pytest.mark.parametrize("value", WORST)
def test_whatever_stands_in_a_label_arrives_in_the_form(tmp_path: Path, browser: Browser, value: str) -> None:
    with control(tmp_path, config=config()) as bench:
        mail, began = the_mail(
            tmp_path, bench, {"namespace": value, "container": "a&b=c", "metric": "cpu", "tag": "x"}, resolved=True
        )
        browser.open(links(mail)["It was an incident"], referrer="https://mail.example.org/")
        if "Sign in" in browser.text:
            browser.write("#token", TOKENS["operator"])
            browser.go("main button")
        shown = browser.run("document.getElementById('label.namespace').value")
        assert shown == value.replace("\n", "").strip(), "a line of a form has no line breaks"
        assert browser.run("document.getElementById('label.container').value") == "a&b=c"
        assert browser.run("document.querySelector('[name=verdict]:checked').value") == "incident"
        to = browser.run("document.getElementById('to').value")
        assert to == (began + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%S")


def test_mails_about_the_exporter_itself_have_no_such_links(tmp_path: Path) -> None:
    with control(tmp_path, config=config()) as bench:
        mail, _ = the_mail(tmp_path, bench, {"tag": "anomaly-exporter", "metric": "queries_total"})
        assert "/feedback?" not in mail.body("html") + mail.body("plain")
