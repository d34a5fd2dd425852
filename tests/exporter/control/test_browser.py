"""The pages in a real browser: by mouse and by keyboard, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anomaly_exporter.launch import local
from support.browser import PHONE, Browser, chromium
from support.control import TOKENS, Bench, control, snapshot_of
from support.launchers import LocalBench, local_bench
from support.waiting import wait_for

LINK = "verdict=expected&from=1769860800000&to=1769862600000&label.namespace=shop&label.container=cart&label.metric=cpu"


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "POLL", 0.02)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Bench, LocalBench]]:
    with local_bench(tmp_path) as launching, control(tmp_path, launching.launcher, launching.config) as made:
        made.snapshot = snapshot_of(4)
        yield made, launching


@pytest.fixture(autouse=True)
def _signed_out(browser: Browser) -> Iterator[None]:
    browser.send("Network.clearBrowserCookies")
    browser.resize((1100, 900))
    browser.complaints.clear()
    yield
    # A page that wants what its policy forbids says so here; a refused sign-in is a 401 and is meant.
    assert [text for text in browser.complaints if "401" not in text] == []


def sign_in(browser: Browser, role: str = "operator") -> None:
    browser.write("#token", TOKENS[role])
    browser.go("main button")


def test_a_link_of_a_mail_leads_over_the_sign_in_to_kept_feedback(browser: Browser, running: Any) -> None:
    bench, _ = running
    browser.open(f"{bench.url}/feedback?{LINK}", referrer="https://mail.example.org/")
    assert "Sign in" in browser.text
    sign_in(browser)
    assert browser.url.endswith(f"/feedback?{LINK}")
    assert browser.run("document.querySelector('[name=verdict]:checked').value") == "expected"
    browser.write("#comment", "the weekly backup")
    browser.go("main .acts button")
    assert "Thank you, your feedback is kept." in browser.text
    (record,) = bench.feedback.records()
    assert (record.verdict, record.author, record.source, record.comment) == (
        "expected",
        "operator",
        "page",
        "the weekly backup",
    )
    assert (record.start, record.end) == (1_769_860_800, 1_769_862_600)
    browser.open(f"{bench.url}/feedback?{LINK}", referrer="https://mail.example.org/")
    assert "What was it?" in browser.text, "the second link finds one signed in"


def test_a_training_is_started_with_other_parameters_and_stopped(browser: Browser, running: Any) -> None:
    bench, launching = running
    browser.open(f"{bench.url}/train?target=cpu")
    sign_in(browser)
    browser.write("[name='p.epochs']", "7")
    browser.write("[name='t.history']", "2d")
    browser.go("main .acts button")
    assert "The training was asked for." in browser.text
    wait_for(lambda: launching.begun("cpu") == 1, 10, "the training to begin")
    assert '{"parameters":{"epochs":7},"training":{"history":"2d"}}' in (
        launching._folder / "arguments"
    ).read_text().replace('\\"', '"')
    browser.open(f"{bench.url}/")
    assert "running" in browser.text
    browser.go("main td a[href^=stop]")
    browser.go("main td button")
    assert "The training was stopped." in browser.text
    assert "stopped" in browser.run("document.querySelector('main tbody').innerText")
    assert bench.launcher.status()["cpu"].state == "stopped"
    assert launching.metrics.value("training_running", target="cpu") == 0


def test_the_keyboard_alone_is_enough(browser: Browser, running: Any) -> None:
    bench, _ = running
    browser.open(f"{bench.url}/feedback?{LINK}")
    assert browser.focused() == "token", "the only field has the focus"
    browser.send("Input.insertText", text=TOKENS["operator"])
    browser.key("Enter", 13, leads_away=True, text="\r")
    names = []
    while "Keep it" not in names and len(names) < 40:
        browser.key("Tab", 9)
        names.append(browser.focused())
    order = [name for name in names if name in ("verdict", "label.namespace", "from", "comment", "Keep it")]
    assert list(dict.fromkeys(order)) == ["verdict", "label.namespace", "from", "comment", "Keep it"]
    browser.key("Enter", 13, leads_away=True, text="\r")
    assert len(bench.feedback.records()) == 1


@pytest.mark.parametrize("path", ["/", "/train?target=cpu", "/stop", f"/feedback?{LINK}"])
def test_a_page_fits_a_phone(browser: Browser, running: Any, path: str) -> None:
    bench, _ = running
    browser.resize(PHONE, phone=True)
    browser.open(f"{bench.url}{path}")
    sign_in(browser)
    assert browser.overflow() == 0
    small = browser.run(
        "[...document.querySelectorAll('button,input:not([type=hidden],[type=radio],[type=checkbox]),select,textarea')]"
        ".filter(e=>e.offsetParent&&!e.closest('footer')&&e.getBoundingClientRect().height<40).map(e=>e.name)"
    )
    assert small == [], "fingers need 40 pixels"


def test_a_label_that_is_a_script_is_only_shown(browser: Browser, running: Any) -> None:
    bench, _ = running
    hostile = "\"><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    bench.snapshot = snapshot_of(6, name=lambda _: hostile)
    browser.open(f"{bench.url}/")
    sign_in(browser)
    assert hostile in browser.text
    browser.go("main td small a")
    assert browser.run("document.getElementById('label.container').value") == hostile
    assert browser.run("document.title") == "Feedback on an alert - anomaly-exporter"
    browser.go("main .acts button")
    browser.open(f"{bench.url}/feedback")
    assert "onerror" in browser.text
    assert browser.run("document.title") == "Feedback on an alert - anomaly-exporter"
