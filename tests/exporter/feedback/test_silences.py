"""Silences of a real Alertmanager become feedback and follow edits and expiry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Words
from anomaly_exporter.demo.stack import AlertmanagerServer
from anomaly_exporter.feedback import Feedback
from anomaly_exporter.feedback.matchers import MatcherError
from anomaly_exporter.feedback.reading import remedy_in, verdict_in, wall_time
from anomaly_exporter.feedback.silences import ours
from anomaly_exporter.feedback.sync import Listener, Synced
from support.alertmanager import alertmanager
from support.feedback_configs import config_of
from support.waiting import wait_for

CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"
ALERTS = ("AnomalyDetected", "AnomalyOfWorkload")
LABELS = {"alertname": "AnomalyDetected", "namespace": "dmwm", "container": "crabserver", "tag": "dmwm"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AlertmanagerServer]:
    with alertmanager(tmp_path_factory.mktemp("am"), CONFIG) as running:
        yield running


class Desk:
    """A store that listens to an Alertmanager, and a person who silences."""

    def __init__(self, folder: Path, server: AlertmanagerServer, **more: Any) -> None:
        self.url = f"{server.url}/api/v2"
        self.config = config_of(feedback={"alertmanager": {"url": server.url}, **more})
        self.feedback = Feedback(DirectoryBlobs(folder))
        self.listener = Listener(self.config, Clock(), self.feedback, ALERTS)
        self.mine: set[str] = set()

    def silence(self, comment: str, labels: dict[str, str], *, minutes: float = 60, **more: Any) -> str:
        now = time.time()
        body = {
            "matchers": [{"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in labels.items()],
            "startsAt": instant(now),
            "endsAt": instant(now + minutes * 60),
            "createdBy": "ada",
            "comment": comment,
            **more,
        }
        answer = requests.post(f"{self.url}/silences", json=body, timeout=10)
        answer.raise_for_status()
        self.mine.add(answer.json()["silenceID"])
        return str(answer.json()["silenceID"])

    def expire(self, identity: str) -> None:
        requests.delete(f"{self.url}/silence/{identity}", timeout=10).raise_for_status()

    def alert(self, started: float, labels: dict[str, str]) -> None:
        body = [{"labels": labels, "startsAt": instant(started), "endsAt": instant(time.time() + 3600)}]
        requests.post(f"{self.url}/alerts", json=body, timeout=10).raise_for_status()

    def sync(self) -> Synced:
        return self.listener.sync("silence")

    def current(self) -> dict[str, Any]:
        """Statements in force of this test's silences, by the id of the silence."""
        return {r.source_id: r for r in self.feedback.current().statements if r.source_id in self.mine}


def instant(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat()


@pytest.fixture
def desk(tmp_path: Path, server: AlertmanagerServer) -> Desk:
    return Desk(tmp_path, server)


@pytest.mark.e2e
def test_a_silence_on_our_alert_whose_comment_says_expected_becomes_feedback(desk: Desk):
    before = time.time()
    identity = desk.silence("Weekly backup, EXPECTED. fixed by: nothing to do", LABELS)
    assert desk.sync().added >= 1
    record = desk.current()[identity]
    assert (record.verdict, record.source, record.author) == ("expected", "silence", "ada")
    assert record.fixed_by == "nothing to do"
    assert record.start == pytest.approx(before, abs=5)
    assert record.end == pytest.approx(before + 3600, abs=5)
    assert record.concerns("cpu", {"namespace": "dmwm", "container": "crabserver", "tag": "dmwm"})
    assert not record.concerns("cpu", {"namespace": "dmwm", "container": "other", "tag": "dmwm"})
    assert desk.sync().added == 0


@pytest.mark.e2e
def test_an_expired_silence_ends_when_it_was_expired(desk: Desk):
    identity = desk.silence("ignore", LABELS)
    desk.sync()
    desk.expire(identity)
    assert desk.sync().changed == 1
    assert desk.current()[identity].end <= time.time() + 2


@pytest.mark.e2e
def test_an_edit_of_the_comment_is_followed_and_a_word_taken_out_withdraws(desk: Desk):
    identity = desk.silence("expected", LABELS)
    desk.sync()
    (found,) = [s for s in requests.get(f"{desk.url}/silences", timeout=10).json() if s["id"] == identity]
    same = {"id": identity, "startsAt": found["startsAt"], "endsAt": found["endsAt"]}
    assert desk.silence("an incident after all", LABELS, **same) == identity
    assert desk.sync().changed == 1
    assert desk.current()[identity].verdict == "incident"
    desk.silence("never mind", LABELS, **same)
    assert desk.sync().withdrawn == 1
    assert identity not in desk.current()


@pytest.mark.e2e
def test_a_silence_speaks_from_the_beginning_of_the_alert_that_it_mutes(desk: Desk):
    """People silence minutes after it began; when the alert has resolved the beginning stays known."""
    labels = {**LABELS, "container": "late"}
    began = time.time() - 1200
    desk.alert(began, labels)
    identity = desk.silence("expected", labels)

    def muted() -> bool:
        alerts = requests.get(f"{desk.url}/alerts", params={"active": "false"}, timeout=10).json()
        return any(identity in a["status"]["silencedBy"] for a in alerts)

    wait_for(muted, 20, "the silence to mute the alert")
    desk.sync()
    assert desk.current()[identity].start == pytest.approx(began, abs=2)
    requests.post(
        f"{desk.url}/alerts",
        json=[{"labels": labels, "startsAt": instant(began), "endsAt": instant(time.time() - 1)}],
        timeout=10,
    ).raise_for_status()
    wait_for(lambda: not muted(), 20, "the alert to resolve")
    desk.expire(identity)
    desk.sync()
    assert desk.current()[identity].start == pytest.approx(began, abs=2)


@pytest.mark.e2e
def test_silences_of_other_alerts_and_without_a_word_say_nothing(desk: Desk):
    other = desk.silence("expected", {"alertname": "KubePodCrashLooping", "namespace": "dmwm"})
    health = desk.silence("expected", {"alertname": "AnomalyDataLag"})
    foreign = desk.silence("expected", {"namespace": "dmwm", "pod": "crabserver-7"})
    mute = desk.silence("unexpected, sshh", LABELS)
    desk.sync()
    assert {other, health, foreign, mute}.isdisjoint(desk.current())


@pytest.mark.e2e
def test_a_silence_by_namespace_alone_is_on_our_alerts_too(desk: Desk):
    identity = desk.silence("Network maintenance: ignore", {"namespace": "dmwm"})
    desk.sync()
    assert desk.current()[identity].verdict == "ignore"


@pytest.mark.e2e
def test_a_withdrawal_on_the_page_holds_until_the_silence_changes(desk: Desk):
    identity = desk.silence("expected", LABELS)
    desk.sync()
    desk.feedback.withdraw(f"silence:{identity}", author="bob", source="page")
    desk.sync()
    assert identity not in desk.current()
    desk.expire(identity)
    desk.sync()
    assert identity in desk.current()


def test_an_alertmanager_that_is_down_is_an_error_and_changes_nothing(tmp_path: Path):
    config = config_of(feedback={"alertmanager": {"url": "http://127.0.0.1:9", "timeout": 2}})
    error = Listener(config, Clock(), Feedback(DirectoryBlobs(tmp_path)), ALERTS).sync("silence").error
    assert error is not None
    assert error.outcome == "unavailable"


def matchers(*pairs: tuple[str, str, bool, bool]) -> list[dict[str, Any]]:
    return [{"name": n, "value": v, "isRegex": r, "isEqual": e} for n, v, r, e in pairs]


KNOWN = {"env", "namespace", "container", "metric", "tag"}


def test_labels_that_prometheus_adds_are_left_out_where_the_alert_is_named():
    data = matchers(
        ("alertname", "Anomaly(Detected|Severe)", True, True),
        ("prometheus", "monitoring/k8s", False, True),
        ("severity", "warning", False, True),
        ("model", "fc", False, True),
        ("container", "a|b", True, True),
    )
    assert [str(m) for m in ours(data, KNOWN, ALERTS) or ()] == ['container=~"a|b"']


def test_a_silence_of_a_workload_alert_speaks_of_all_its_metrics():
    data = matchers(
        ("alertname", "AnomalyOfWorkload", False, True),
        ("metric", "several", False, True),
        ("container", "a", False, True),
    )
    assert [str(m) for m in ours(data, KNOWN, ALERTS) or ()] == ['container="a"']


def test_without_an_alert_name_something_must_tell_entities_apart():
    assert ours(matchers(("container", "a", False, False)), KNOWN, ALERTS) is None
    assert ours(matchers(("severity", "warning", False, True)), KNOWN, ALERTS) is None
    assert ours(matchers(("tag", "dmwm", False, True), ("severity", "warning", False, True)), KNOWN, ALERTS)


def test_a_pattern_that_could_take_for_ever_is_refused():
    with pytest.raises(MatcherError, match="repeated groups"):
        ours(matchers(("container", "(a+)+", True, True)), KNOWN, ALERTS)


@pytest.mark.parametrize(
    ("comment", "verdict"),
    [
        ("expected", "expected"),
        ("This was Expected!", "expected"),
        ("unexpected", None),
        ("non-expected", None),
        ("incident, not expected", "incident"),
        ("IGNORE: maintenance", "ignore"),
        ("ignored", None),
        ("", None),
    ],
)
def test_words_count_as_whole_words_in_any_case_and_the_first_wins(comment: str, verdict: str | None):
    assert verdict_in(comment, Words()) == verdict


def test_words_are_configurable():
    words = Words.model_validate({"expected": ["erwartet", "normal"]})
    assert verdict_in("Das war normal", words) == "expected"
    assert verdict_in("expected", words) is None


def test_the_remedy_stands_behind_fixed_by():
    assert remedy_in("incident\nFixed by: restart of the queue \nsee log") == "restart of the queue"
    assert remedy_in("incident") == ""


def test_instants_of_go_are_read_and_those_without_a_zone_are_not():
    assert wall_time("1970-01-01T00:00:10.123456789Z") == pytest.approx(10.123456)
    assert wall_time("1970-01-01T01:00:10+01:00") == 10
    for wrong in ("1970-01-01T00:00:10", "soon", None, 7):
        with pytest.raises(ValueError, match=r"expected an instant|Invalid"):
            wall_time(wrong)
