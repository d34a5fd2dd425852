"""The pages as a browser gets them: prefilled, escaped, changing nothing before a form is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomaly_exporter.control import pages_url
from anomaly_exporter.control.pages import sign_in
from anomaly_exporter.control.pages.style import STYLE
from anomaly_exporter.launch import local
from support.control import TOKENS, Bench, control, snapshot_of
from support.launchers import local_bench
from support.snapshots import config_of
from support.waiting import wait_for

PAGES = ("/", "/train", "/stop", "/feedback")
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&\u202e"


class Reader(HTMLParser):
    """Tags, and the values of fields by name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def fields(self) -> dict[str, str]:
        """What a browser would send, textarea aside."""
        out = {}
        for tag, attributes in self.tags:
            if tag == "input" and (attributes.get("type") not in ("radio", "checkbox") or "checked" in attributes):
                out[str(attributes["name"])] = attributes.get("value") or ""
        return out


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "POLL", 0.02)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with local_bench(tmp_path) as launching, control(tmp_path, launching.launcher, launching.config) as made:
        made.snapshot = snapshot_of(3)
        yield made


def see(bench: Bench, path: str, role: str = "operator") -> Any:
    return bench.ask("GET", path, headers=bench.cookie(role), role=None)


def test_who_is_not_signed_in_sees_the_form_to_sign_in_and_comes_back_to_the_page(bench: Bench) -> None:
    where = "/feedback?verdict=expected&label.namespace=a%26b"
    answer = bench.ask("GET", where, role=None)
    assert answer.status == 401
    assert "cart" not in answer.text
    fields = Reader(answer.text).fields()
    assert fields["back"] == where
    signed_in = bench.post("/sign-in", {**fields, "token": TOKENS["operator"]})
    assert (signed_in.status, signed_in.headers["location"]) == (303, where[1:])
    cookie = signed_in.headers["set-cookie"]
    assert re.fullmatch(r"anomaly_session=[\w.-]+; Path=/; HttpOnly; SameSite=Lax; Max-Age=43200", cookie)


def test_a_wrong_token_is_told_counted_and_gives_no_cookie(bench: Bench) -> None:
    answer = bench.post("/sign-in", {"token": "wrong", "back": "/train"})
    assert (answer.status, "set-cookie" in answer.headers) == (401, False)
    assert "The token is not known here" in answer.text
    assert Reader(answer.text).fields()["back"] == "/train"
    assert bench.counted("auth_failures_total", reason="login") == 1


def test_where_browsers_come_by_tls_the_cookie_is_bound_to_it(tmp_path: Path) -> None:
    with control(tmp_path, external_url="https://anomalies.example.org") as made:
        cookie = made.post("/sign-in", {"token": TOKENS["viewer"], "back": "/"}).headers["set-cookie"]
        assert cookie.startswith("__Host-anomaly_session=")
        assert cookie.endswith("; Secure")
        assert pages_url(made.config) == "https://anomalies.example.org"


def test_links_of_dashboards_lead_to_the_documentation_where_there_are_no_pages() -> None:
    assert (
        pages_url(config_of(links={"runbook_url": "https://x/docs/runbooks/"}))
        == "https://x/docs/runbooks/../control.md#"
    )


def test_signing_out_takes_the_cookie_away(bench: Bench) -> None:
    cookie = bench.cookie("viewer")
    form = bench.ask("GET", "/", headers=cookie, role=None).form
    answer = bench.post("/sign-out", {"form": form}, cookie)
    assert "anomaly_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0" in answer.headers["set-cookie"]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_forbids_what_it_does_not_need(bench: Bench, path: str) -> None:
    answer = see(bench, path)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert "base-uri 'none'" in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    tags = Reader(answer.text).tags
    assert not [tag for tag, _ in tags if tag in ("script", "iframe", "img", "link", "object")]
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "style"]
    assert answer.text.count("<style>") == 1
    assert STYLE in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_every_field_has_a_label(bench: Bench, path: str) -> None:
    tags = Reader(see(bench, path).text).tags
    named = {attributes.get("for") for tag, attributes in tags if tag == "label"}
    for tag, attributes in tags:
        alone = tag in ("select", "textarea") or (
            tag == "input" and attributes.get("type") not in ("hidden", "radio", "checkbox")
        )
        assert not alone or attributes["id"] in named, attributes


@pytest.mark.parametrize("path", PAGES)
def test_a_get_changes_nothing(bench: Bench, path: str) -> None:
    query = urlencode({"target": "cpu", "verdict": "expected", "label.metric": "cpu", "withdraw": "x", "p.epochs": "3"})
    assert see(bench, f"{path}?{query}").status == 200
    assert bench.feedback.records() == ()
    assert not any(status.requested for status in bench.launcher.status().values())


def test_feedback_is_prefilled_from_the_link_and_kept_when_it_is_sent(bench: Bench) -> None:
    link = {
        "verdict": "expected",
        "from": "1769860800000",
        "to": "1769862600000",
        "label.namespace": "shop",
        "label.container": "cart",
        "label.metric": "cpu",
        "label.model": "zscore",
    }
    cookie = bench.cookie("operator")
    page = bench.ask("GET", f"/feedback?{urlencode(link)}", headers=cookie, role=None)
    fields = Reader(page.text).fields()
    assert fields | {"form": ""} == {
        "form": "",
        "verdict": "expected",
        "label.env": "",
        "label.namespace": "shop",
        "label.container": "cart",
        "label.metric": "cpu",
        "label.tag": "",
        "from": "2026-01-31T12:00:00",
        "to": "2026-01-31T12:30:00",
        "fixed_by": "",
    }
    assert '<option value="cpu" selected>' in page.text, "the only target of the metric"
    answer = bench.post("/feedback", {**fields, "target": "cpu", "comment": "backup"}, cookie)
    assert (answer.status, answer.headers["location"]) == (303, "./?said=kept")
    (record,) = bench.feedback.records()
    assert (record.author, record.source, record.verdict, record.comment) == ("operator", "page", "expected", "backup")
    assert (record.start, record.end, record.target) == (1_769_860_800, 1_769_862_600, "cpu")
    assert [str(m) for m in record.matchers] == ['container="cart"', 'metric="cpu"', 'namespace="shop"']
    after = see(bench, "/feedback").text
    assert "backup" in after
    token = bench.ask("GET", "/feedback", headers=cookie, role=None).form
    assert bench.post("/feedback", {"form": token, "withdraw": record.id}, cookie).status == 303
    assert bench.feedback.records()[-1].withdrawn


def test_what_helped_before_is_suggested_first(bench: Bench) -> None:
    remedies = [remedy.text for remedy in bench.config.all_remedies]
    said = {"verdict": "incident", "start": "1", "end": "2", "labels": {"metric": "cpu"}, "fixed_by": remedies[-1]}
    assert bench.api("POST", "/feedback", said).status == 201
    options = [a.get("value") for tag, a in Reader(see(bench, "/feedback").text).tags if tag == "option"]
    assert next(value for value in options if value in remedies) == remedies[-1]


def test_a_training_with_other_parameters_is_started_and_stopped(bench: Bench) -> None:
    cookie = bench.cookie("operator")
    page = bench.ask("GET", "/train?metric=cpu&p.epochs=9", headers=cookie, role=None)
    fields = Reader(page.text).fields()
    assert fields["target"] == "cpu"
    assert fields["p.epochs"] == "9"
    answer = bench.post("/train", {**fields, "t.history": "2d", "p.learning_rate": "0.01"}, cookie)
    assert (answer.status, answer.headers["location"]) == (303, "./?said=started")
    wait_for(lambda: bench.launcher.status()["cpu"].state == "running", 10, "the training")
    assert "running" in see(bench, "/").text
    again = bench.post("/train", fields, cookie)
    assert again.status == 409
    assert "cpu: a training runs or is asked for already" in again.text.replace("Cpu", "cpu")
    assert Reader(again.text).fields()["p.epochs"] == "9", "what was filled in stays"
    stop = see(bench, "/stop?target=cpu")
    assert bench.post("/stop", {"form": stop.form, "target": "cpu"}, bench.cookie("viewer")).status == 403
    form = bench.ask("GET", "/stop", headers=cookie, role=None).form
    assert bench.post("/stop", {"form": form, "target": "cpu"}, cookie).headers["location"] == "./?said=stopped"
    assert "stopped" in see(bench, "/").text


def test_what_is_wrong_is_told_beside_what_was_filled_in(bench: Bench) -> None:
    cookie = bench.cookie("operator")
    form = bench.ask("GET", "/train", headers=cookie, role=None).form
    answer = bench.post("/train", {"form": form, "target": "cpu", "p.window": "1", "p.recipe": HOSTILE}, cookie)
    assert answer.status == 422
    assert "parameters.window: Input should be greater than or equal to 2" in answer.text
    assert Reader(answer.text).fields()["p.window"] == "1"
    assert "<script" not in answer.text


@pytest.mark.parametrize("path", ["/train", "/stop", "/feedback", "/sign-out"])
def test_a_form_that_is_not_ours_changes_nothing(bench: Bench, path: str) -> None:
    cookie = bench.cookie("operator")
    other = see(bench, "/", role="admin").form
    mine = bench.ask("GET", "/", headers=cookie, role=None).form
    fields = {"target": "cpu", "verdict": "expected", "from": "1", "to": "2"}
    for form in ("", "x", "1.x", other, f"{mine}0", f"9{mine}"):
        assert bench.post(path, {**fields, "form": form}, cookie).status == 403, form
    elsewhere = {**cookie, "Sec-Fetch-Site": "cross-site"}
    assert bench.post(path, {**fields, "form": mine}, elsewhere).status == 403
    assert bench.post(path, {**fields, "form": mine}, {**cookie, "Origin": "https://evil.example"}).status == 403
    assert bench.post(path, {**fields, "form": mine}).status == 401, "without the cookie"
    assert bench.feedback.records() == ()
    assert not any(status.requested for status in bench.launcher.status().values())


def test_who_may_only_look_is_told_so(bench: Bench) -> None:
    for path in ("/train", "/feedback"):
        text = see(bench, path, role="viewer").text
        assert "Changing something needs the role operator" in text
        assert "disabled" in text
    cookie = bench.cookie("viewer")
    form = bench.ask("GET", "/train", headers=cookie, role=None).form
    assert bench.post("/train", {"form": form, "target": "cpu"}, cookie).status == 403
    assert bench.counted("changes_total", action="train", outcome="denied") == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.just(HOSTILE))
def test_whatever_stands_in_a_link_or_a_label_is_text(bench: Bench, text: str) -> None:
    bench.snapshot = snapshot_of(1, name=lambda _: text)
    value = quote(text, errors="replace")
    cookie = bench.__dict__.setdefault("kept_cookie", bench.cookie("operator"))
    names = "verdict target label.namespace label.metric from to comment fixed_by said model metric p.epochs t.history"
    query = "&".join(f"{name}={value}" for name in names.split())
    allowed = {"html", "head", "meta", "title", "style", "body", "header", "b", "a", "main", "h1", "h2", "section"}
    allowed |= {"table", "thead", "tbody", "tr", "th", "td", "span", "bdi", "small", "br", "time", "p", "footer"}
    allowed |= {"form", "input", "fieldset", "legend", "label", "div", "select", "option", "datalist", "textarea"}
    allowed |= {"button", "details", "summary", "ul", "li"}
    for path in PAGES:
        answer = bench.ask("GET", f"{path}?{query}", headers=cookie, role=None)
        assert answer.status == 200
        tags = Reader(answer.text).tags
        assert {tag for tag, _ in tags} <= allowed
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


@pytest.mark.parametrize(
    ("back", "where"),
    [
        ("/", "./"),
        ("/train?target=cpu", "train?target=cpu"),
        ("/feedback?a=%0d%0aX: y", "feedback?a=%0d%0aX: y"),
        ("//evil.example/train", "./"),
        ("https://evil.example/train", "./"),
        ("/\\evil.example", "./"),
        ("javascript:alert(1)", "./"),
        ("/train\r\nX: y", "./"),
        ("/elsewhere", "./"),
        ("http://[", "./"),
        ("", "./"),
    ],
)
def test_after_the_sign_in_only_a_page_of_ours_follows(back: str, where: str) -> None:
    assert sign_in.local(back) == where


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/", 405),
        ("PUT", "/train", 405),
        ("GET", "/sign-out", 405),
        ("HEAD", "/", 200),
    ],
)
def test_other_paths_and_methods_are_refused(bench: Bench, method: str, path: str, status: int) -> None:
    assert bench.ask(method, path).status == status


def test_a_form_must_be_a_form(bench: Bench) -> None:
    cookie = bench.cookie("operator")
    headers = {**cookie, "Content-Type": "application/json"}
    assert bench.ask("POST", "/feedback", "{}", headers, role=None).status == 415


def test_behind_the_proxy_nobody_signs_in_twice(tmp_path: Path) -> None:
    proxy = {"addresses": ["127.0.0.1"], "roles": {"operator": {"users": ["kim"]}}}
    with control(tmp_path, proxy=proxy, tokens_file=None) as made:
        headers = {"X-Forwarded-User": "kim"}
        page = made.ask("GET", "/train", headers=headers, role=None)
        assert (page.status, "kim" in page.text, "Sign out" in page.text) == (200, True, False)
        answer = made.post("/train", {"form": page.form, "target": "cpu"}, headers)
        assert answer.status == 409, "the launcher of this test refuses; the form was accepted"
        assert made.post("/train", {"form": page.form, "target": "cpu"}, {"X-Forwarded-User": "eve"}).status == 403
        assert "proxy of control.proxy" in made.ask("GET", "/train", role=None).text
