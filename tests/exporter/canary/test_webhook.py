"""Only what Alertmanager sends is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.canary import WebhookError, read
from support.notifications import notification


def test_a_notification_of_alertmanager_is_read_also_with_fields_of_later_releases() -> None:
    body = {**notification(1_800_000_000), "groupCount": 7}
    found = read(json.dumps(body).encode())
    assert found.alerts[0].starts_at.timestamp() == 1_800_000_000
    assert found.alerts[0].labels["canary"] == "canary"


def test_times_with_nanoseconds_as_go_writes_them_are_read() -> None:
    body = notification(0)
    body["alerts"][0]["startsAt"] = "2027-01-15T08:00:00.123456789+02:00"
    assert read(json.dumps(body).encode()).alerts[0].starts_at.timestamp() == pytest.approx(1_799_992_800.123456)


def changed(path: str, value: Any) -> dict[str, Any]:
    """A sound notification with one value changed; it is left out when None."""
    body = notification(1_800_000_000)
    *parents, last = path.split(".")
    place: Any = body
    for name in parents:
        place = place[int(name)] if name.isdigit() else place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", "3"),
        ("version", 4),
        ("version", None),
        ("groupKey", ""),
        ("status", "pending"),
        ("alerts", None),
        ("alerts", {}),
        ("alerts", [7]),
        ("truncatedAlerts", -1),
        ("truncatedAlerts", "0"),
        ("commonLabels", {"a": 1}),
        ("alerts.0.labels", None),
        ("alerts.0.labels", {"alertname": ["x"]}),
        ("alerts.0.startsAt", 1_800_000_000),
        ("alerts.0.startsAt", "yesterday"),
        ("alerts.0.startsAt", "2027-01-15T08:00:00"),
        ("alerts.0.status", "FIRING"),
        ("alerts.0.fingerprint", None),
    ],
)
def test_anything_else_is_refused_with_the_place_and_what_was_expected(path: str, value: Any) -> None:
    with pytest.raises(WebhookError, match=path.replace(".", r"\.")):
        read(json.dumps(changed(path, value)).encode())


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b'"x"', b"\xff\xfe", b"[" * 60_000, b'{"version": "4"}', b'{"version": NaN}']
)
def test_bodies_that_are_no_notification_at_all_are_refused(body: bytes) -> None:
    with pytest.raises(WebhookError, match="expected Alertmanager's webhook JSON, version 4"):
        read(body)


@given(st.binary(max_size=300))
def test_no_body_raises_anything_else(body: bytes) -> None:
    with pytest.raises(WebhookError):
        read(body)


def test_an_answer_names_few_problems_and_repeats_no_value() -> None:
    body = changed("commonLabels", {f"l{i}": {"<script>": 1} for i in range(100)})
    with pytest.raises(WebhookError) as error:
        read(json.dumps(body).encode())
    assert len(str(error.value).splitlines()) == 4
    assert "<script>" not in str(error.value)
