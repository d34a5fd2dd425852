"""A few hundred requests that nobody thought of; `python -m bench.control_fuzz` sends thousands."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomaly_exporter.launch import local
from anomaly_exporter.logging_setup import Formatter
from support.control import TOKENS, Bench, control, snapshot_of
from support.fuzz import fuzz, raw_requests, send_raw
from support.launchers import local_bench

TARGETS = ["cpu", "memory_of_all"]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(local, "POLL", 0.02)
    with (
        local_bench(tmp_path) as launching,
        control(tmp_path, launching.launcher, launching.config, rate_per_minute=100_000) as made,
    ):
        made.snapshot = snapshot_of(5)
        yield made


def test_no_request_of_an_operator_breaks_anything(bench: Bench) -> None:
    answers = fuzz(bench.url, TOKENS["admin"], TARGETS, 24)
    assert sum(answers.values()) > 200
    assert {200, 201, 202, 404, 409, 422} <= set(answers), "all ways through the code were taken"
    assert bench.counted("requests_total", code="500") == 0


@pytest.mark.parametrize("role", [None, "viewer"])
def test_no_request_of_somebody_who_may_not_changes_anything(bench: Bench, role: str | None) -> None:
    before = bench.feedback.records(), bench.generations.targets()
    answers = fuzz(bench.url, TOKENS[role] if role else None, TARGETS, 10)
    assert set(answers) <= (
        {401, 429, 400, 404, 405} if role is None else {200, 400, 401, 403, 404, 405, 415, 422, 429}
    )
    assert (bench.feedback.records(), bench.generations.targets()) == before
    assert not any(s.requested or s.state == "running" for s in bench.launcher.status().values())


def test_planted_secrets_appear_nowhere(bench: Bench, tmp_path: Path) -> None:
    """Whatever is asked, no token is in a log, a metric, a page or an error."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter("json"))
    logging.getLogger().addHandler(handler)
    said: list[bytes] = []
    where = (bench.service.address.host, bench.service.address.port)
    try:
        secret = {"Authorization": f"Bearer {TOKENS['operator']}", "X-Api-Key": "planted-key-0123456789"}
        wrong = {
            "Authorization": "Bearer planted-wrong-token-0123456789",
            "Cookie": "anomaly_session=planted-cookie-01234",
        }
        codes = [send_raw(where, raw, said.append) for raw in raw_requests(150, 1, secret)]
        codes += [send_raw(where, raw, said.append) for raw in raw_requests(100, 2, wrong)]
        for token in (TOKENS["admin"], "planted-wrong-token-0123456789"):
            answer = bench.post("/sign-in", {"token": token, "back": f"/train?token={token[:0]}"})
            said.append(answer.body + str(answer.headers).encode())
        bench.tokens_file.write_text("tokens: [{name: x, role: operator, token: planted-broken-0123456789, more: 1}]")
        bench.metrics.set("control_tokens", -1)
        for _ in range(30):
            said.append(bench.api("GET", "/identity").body)
            if bench.counted("tokens") == 0:
                break
    finally:
        logging.getLogger().removeHandler(handler)
    said += [stream.getvalue().encode(), bench.metrics.render()]
    assert max(codes) < 500
    assert {200, 401, 404, 405} <= set(codes)
    everything = b"\n".join(said)
    for planted in (*TOKENS.values(), "planted-"):
        assert planted.encode() not in everything, planted
    assert b"who" in everything or b"refused" in everything, "something was logged at all"
