"""The file of tokens, and what is signed with a key of the process."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.control.rate_limit import MOST_KEYS, RateLimit
from anomaly_exporter.control.signing import Signer
from anomaly_exporter.control.tokens import Token, Tokens, TokensError, digest, parse_tokens

SECRET = "a-secret-that-no-message-may-show"
KIM = Token("kim", "operator", digest(SECRET))


def test_an_entry_is_a_token_or_its_digest() -> None:
    text = f"tokens: [{{name: kim, role: operator, token: {SECRET}}}, {{name: x, role: viewer, sha256: {KIM.sha256}}}]"
    assert parse_tokens(text.encode()) == (KIM, Token("x", "viewer", KIM.sha256))
    assert hashlib.sha256(SECRET.encode()).hexdigest() == KIM.sha256


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"tokens: [{{name: kim, role: root, token: {SECRET}}}]", "tokens.0.role"),
        (f"tokens: [{{name: kim, token: {SECRET}}}]", "tokens.0.role"),
        ("tokens: [{name: kim, role: viewer}]", "exactly one of token and sha256"),
        (f"tokens: [{{name: kim, role: viewer, token: {SECRET}, sha256: {'a' * 64}}}]", "exactly one of"),
        (f"tokens: [{{name: kim, role: viewer, sha256: {SECRET}}}]", "64 hexadecimal digits"),
        (f"tokens: [{{name: kim, role: viewer, token: {SECRET[:19]}}}]", "a token of 20 to 1024 characters"),
        (f"tokens: [{{name: 'a,b', role: viewer, token: {SECRET}}}]", "without commas"),
        (f"tokens: [{{name: k, role: viewer, token: {SECRET}}}, {{name: k, role: admin, token: {SECRET}}}]", "once"),
        (f"tokens: {{{SECRET}", "expected YAML"),
        (f"{SECRET}", "File"),
        ("tokens: " + "[" * 2000, "expected YAML"),
    ],
)
def test_what_is_wrong_is_told_and_never_what_stands_there(text: str, told: str) -> None:
    with pytest.raises(TokensError) as caught:
        parse_tokens(text.encode())
    assert SECRET not in repr(caught.value)
    assert SECRET[:19] not in str(caught.value)
    if told != "File":
        assert told in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_tokens_or_a_tokens_error(text: bytes) -> None:
    with suppress(TokensError):
        assert isinstance(parse_tokens(text), tuple)


def test_no_file_knows_nobody() -> None:
    tokens = Tokens(None, lambda _: None)
    assert tokens.find(SECRET) is None
    assert tokens.find("") is None


def test_the_file_is_looked_at_once_per_second(tmp_path: Path) -> None:
    path, now = tmp_path / "t.yaml", [0.0]
    path.write_text(f"tokens: [{{name: kim, role: operator, token: {SECRET}}}]")
    tokens = Tokens(path, lambda _: None, clock=lambda: now[0])
    assert tokens.find(SECRET) == KIM
    path.unlink()
    assert tokens.find(SECRET) == KIM
    now[0] = 1.0
    assert tokens.find(SECRET) is None


def known(name: str) -> Token | None:
    return KIM if name == KIM.name else None


def test_a_session_is_opened_until_its_end() -> None:
    now = [1000.0]
    signer = Signer(60, lambda: now[0])
    cookie = signer.session(KIM)
    opened = signer.open_session(cookie, known)
    assert opened is not None
    assert (opened[0].name, opened[1]) == ("kim", KIM)
    now[0] = 1059.0
    assert signer.open_session(cookie, known)
    now[0] = 1060.0
    assert signer.open_session(cookie, known) is None
    assert SECRET not in cookie
    assert KIM.sha256 not in cookie


def test_a_session_ends_with_its_token_and_with_the_process() -> None:
    cookie = Signer(60).session(KIM)
    assert Signer(60).open_session(cookie, known) is None
    signer = Signer(60)
    cookie = signer.session(KIM)
    assert signer.open_session(cookie, lambda _: None) is None
    assert signer.open_session(cookie, lambda _: Token("kim", "operator", digest("another"))) is None


@given(st.text(max_size=100), st.integers(0, 400))
def test_a_cookie_that_was_changed_opens_nothing(text: str, where: int) -> None:
    signer = Signer(60, lambda: 0.0, b"k" * 32)
    cookie = signer.session(KIM)
    assert signer.open_session(text, known) is None
    changed = cookie[:where] + ("A" if cookie[where : where + 1] != "A" else "B") + cookie[where + 1 :]
    assert signer.open_session(changed, known) is None


@given(st.text(max_size=100))
def test_a_form_belongs_to_whom_it_was_made_for(text: str) -> None:
    now = [0.0]
    signer = Signer(60, lambda: now[0])
    form = signer.form("kim 1")
    assert signer.is_form_of(form, "kim 1")
    assert not signer.is_form_of(form, "kim 2")
    assert not signer.is_form_of(text, "kim 1")
    now[0] = 60.0
    assert not signer.is_form_of(form, "kim 1")


def test_a_bucket_lets_a_burst_pass_and_then_the_rate() -> None:
    now = [0.0]
    limit = RateLimit(60, 2, lambda: now[0])
    assert [limit.wait("a"), limit.wait("a"), limit.wait("a")] == [0, 0, 1]
    now[0] = 0.5
    assert limit.wait("a") == 0.5
    now[0] = 1.0
    assert limit.wait("a") == 0
    assert limit.wait("b") == 0


def test_buckets_of_many_take_bounded_memory() -> None:
    limit = RateLimit(1, 1, lambda: 0.0)
    for number in range(3 * MOST_KEYS):
        limit.wait(str(number))
    assert len(limit._buckets) == MOST_KEYS
