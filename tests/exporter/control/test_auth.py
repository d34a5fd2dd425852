"""Who comes in: tokens, sessions, the proxy; everybody else is told nothing and counted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from support.control import TOKENS, Bench, control
from support.waiting import wait_for

PROXY: dict[str, Any] = {
    "addresses": ["127.0.0.0/8"],
    "roles": {
        "admin": {"users": ["ada"]},
        "operator": {"groups": ["cms-operators", "sre"]},
        "viewer": {"groups": ["cms"]},
    },
}
READS = ("/identity", "/trainings", "/generations", "/generations/cpu", "/results", "/feedback")
CHANGES = (
    ("POST", "/trainings", "operator"),
    ("DELETE", "/trainings", "operator"),
    ("DELETE", "/trainings/cpu", "operator"),
    ("POST", "/generations/cpu/promote", "admin"),
    ("POST", "/generations/cpu/rollback", "admin"),
    ("POST", "/feedback", "operator"),
    ("DELETE", "/feedback/page:1", "operator"),
)


def test_nobody_comes_in_without_a_name(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        for path in READS:
            answer = bench.api("GET", path, role=None)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="anomaly-exporter"')
        for method, path, _ in CHANGES:
            assert bench.api(method, path, {}, role=None).status == 401
        assert bench.counted("auth_failures_total", reason="missing") == 13


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_a_role_may_do_what_it_may_and_nothing_else(tmp_path: Path, role: str) -> None:
    ranks = ["viewer", "operator", "admin"]
    with control(tmp_path) as bench:
        assert bench.api("GET", "/identity", role=role).json == {"name": role, "role": role, "via": "token"}
        assert {bench.api("GET", path, role=role).status for path in READS} == {200}
        for method, path, needed in CHANGES:
            status = bench.api(method, path, {}, role=role).status
            assert (status == 403) == (ranks.index(role) < ranks.index(needed)), (method, path, status)


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {TOKENS['admin']}x",
        f"Bearer {TOKENS['admin'][:-1]}",
        "Bearer",
        "Bearer ",
        f"Basic {TOKENS['admin']}",
        f"Bearer {hashlib.sha256(TOKENS['admin'].encode()).hexdigest()}",
        "Bearer " + "x" * 10_000,
        "Bearer \xff\xfe",
    ],
)
def test_a_token_that_is_not_known_is_refused(tmp_path: Path, header: str) -> None:
    with control(tmp_path) as bench:
        answer = bench.ask(
            "GET", "/api/v1/identity", headers={"Authorization": header.encode("latin-1").decode("latin-1")}
        )
        assert answer.status == 401
        assert bench.counted("auth_failures_total", reason="token") == 1


def test_tokens_are_read_again_when_the_file_changes(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        new = "a-new-token-of-somebody-else"
        bench.write_tokens({"new": {"role": "admin", "sha256": hashlib.sha256(new.encode()).hexdigest()}})
        headers = {"Authorization": f"Bearer {new}"}
        wait_for(lambda: bench.ask("GET", "/api/v1/identity", headers=headers).status == 200, 5, "the new token", 0.3)
        assert bench.api("GET", "/identity").status == 401, "the old ones are gone"
        assert bench.counted("tokens") == 1


def test_a_broken_file_of_tokens_changes_nothing_and_a_missing_one_lets_nobody_in(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        bench.tokens_file.write_text("tokens: [{name: x, role: operator, token: short}]")
        wait_for(
            lambda: bench.api("GET", "/identity") and bench.counted("tokens") == 0, 5, "the broken file to be seen"
        )
        assert bench.api("GET", "/identity").status == 200
        bench.tokens_file.unlink()
        wait_for(lambda: bench.api("GET", "/identity").status == 401, 5, "the missing file to be seen", 0.3)


def ask_as(bench: Bench, user: str | None, groups: str | None = None, path: str = "/identity", **more: str) -> Any:
    headers = {**more}
    if user is not None:
        headers["X-Forwarded-User"] = user
    if groups is not None:
        headers["X-Forwarded-Groups"] = groups
    return bench.ask("GET", f"/api/v1{path}", headers=headers, role=None)


def test_the_proxy_says_who_somebody_is_and_groups_give_the_role(tmp_path: Path) -> None:
    with control(tmp_path, proxy=PROXY, tokens_file=None) as bench:
        assert ask_as(bench, "ada").json == {"name": "ada", "role": "admin", "via": "proxy"}
        assert ask_as(bench, "kim", "cms, sre").json["role"] == "operator"
        assert ask_as(bench, "kim", "cms").json["role"] == "viewer"
        assert ask_as(bench, "kim", "others").status == 403
        assert ask_as(bench, "kim").status == 403
        assert ask_as(bench, None, "sre").status == 403
        assert ask_as(bench, None).status == 401


def test_everybody_whom_the_proxy_lets_in_may_have_a_role(tmp_path: Path) -> None:
    proxy = {**PROXY, "roles": {**PROXY["roles"], "everybody": "viewer"}}
    with control(tmp_path, proxy=proxy) as bench:
        assert ask_as(bench, "kim").json["role"] == "viewer"
        assert ask_as(bench, "ada").json["role"] == "admin"


def test_identity_headers_from_anybody_else_are_refused(tmp_path: Path) -> None:
    with control(tmp_path, proxy={**PROXY, "addresses": ["10.1.2.3", "fd00::/8"]}) as bench:
        assert ask_as(bench, "ada").status == 401
        assert bench.counted("auth_failures_total", reason="header") == 1
        mine = {"Authorization": f"Bearer {TOKENS['viewer']}"}
        answer = ask_as(bench, "ada", **mine)
        assert answer.json == {"name": "viewer", "role": "viewer", "via": "token"}, "a token says who it is"


@pytest.mark.parametrize("user", ["ada,eve", "", " ", "a" * 201, "ada\x0b"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, user: str) -> None:
    with control(tmp_path, proxy={**PROXY, "roles": {"everybody": "admin"}}) as bench:
        assert ask_as(bench, user).status in (400, 401, 403)


def test_a_header_that_comes_twice_names_nobody(tmp_path: Path) -> None:
    with control(tmp_path, proxy={**PROXY, "roles": {"everybody": "admin"}}) as bench:
        import http.client

        connection = http.client.HTTPConnection(bench.service.address.host, bench.service.address.port)
        connection.putrequest("GET", "/api/v1/identity")
        connection.putheader("X-Forwarded-User", "kim")
        connection.putheader("X-Forwarded-User", "ada")
        connection.endheaders()
        assert connection.getresponse().status == 403
        connection.close()


def test_a_change_by_the_proxy_must_come_from_a_page_of_ours(tmp_path: Path) -> None:
    with control(tmp_path, proxy=PROXY) as bench:
        sent = {"X-Forwarded-User": "ada", "Content-Type": "application/json"}

        def status(**more: str) -> int:
            headers = {**sent, **{name.replace("_", "-"): value for name, value in more.items()}}
            return bench.ask("DELETE", "/api/v1/trainings", headers=headers, role=None).status

        assert status(Sec_Fetch_Site="cross-site") == 403
        assert status(Sec_Fetch_Site="same-site") == 403
        assert status(Origin="https://evil.example") == 403
        assert status(Sec_Fetch_Site="same-origin") == 409, "nothing runs, but it may ask"
        assert status() == 409, "programs tell nothing"
        assert bench.counted("auth_failures_total", reason="origin") == 3


def test_a_session_is_no_way_into_the_api(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        assert bench.ask("GET", "/api/v1/identity", headers=bench.cookie("admin"), role=None).status == 401


def test_more_requests_than_the_rate_are_told_when_to_come_again(tmp_path: Path) -> None:
    with control(tmp_path, burst=3, rate_per_minute=1) as bench:
        assert [bench.api("GET", "/identity").status for _ in range(4)] == [200, 200, 200, 429]
        refused = bench.api("GET", "/identity")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert bench.api("GET", "/identity", role="viewer").status == 200, "others are not concerned"
        assert bench.counted("requests_total", code="429") == 2


def test_many_failures_of_one_peer_cost_one_line_each_up_to_a_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with control(tmp_path) as bench:
        wrong = {"Authorization": "Bearer wrong-wrong-wrong-wrong"}
        codes = [bench.ask("GET", "/api/v1/identity", headers=wrong).status for _ in range(40)]
        assert set(codes) == {401, 429}
        assert sum(r.getMessage() == "refused" for r in caplog.records) <= 25
        assert bench.counted("auth_failures_total", reason="token") == 40, "all of them are counted"
        assert bench.api("GET", "/identity").status == 200, "who has a token comes in nevertheless"


def test_a_listener_without_any_way_in_is_refused() -> None:
    from support.snapshots import config_of

    with pytest.raises(ValueError, match="enabled needs tokens_file, proxy or both"):
        config_of(control={"enabled": True})
