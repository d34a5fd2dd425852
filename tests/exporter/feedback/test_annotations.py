"""Annotations of Grafana become feedback, all of them, and follow edits and deletions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config
from anomaly_exporter.feedback import Feedback
from anomaly_exporter.feedback.annotations import entity_of
from anomaly_exporter.feedback.sync import Listener, Synced
from support.fake_grafana import FakeGrafana, fake_grafana
from support.feedback_configs import config_of

HOUR = 3600.0


@pytest.fixture
def grafana() -> Iterator[FakeGrafana]:
    with fake_grafana() as server:
        yield server


class Desk:
    """A store that listens to a Grafana."""

    def __init__(self, folder: Path, grafana: FakeGrafana, clock: Clock | None = None, **more: object) -> None:
        token = folder / "token"
        token.write_text(f"{grafana.token}\n")
        self.token = token
        section = {"grafana": {"url": grafana.url, "token_file": str(token), "timeout": 5, **more}}
        self.config: Config = config_of(feedback=section)
        self.feedback = Feedback(DirectoryBlobs(folder / "store"))
        self.listener = Listener(self.config, clock or Clock(), self.feedback, ())

    def sync(self) -> Synced:
        return self.listener.sync("annotation")

    def said(self) -> list[tuple[str, str]]:
        return [(r.id, r.verdict) for r in self.feedback.current().statements]


@pytest.fixture
def desk(tmp_path: Path, grafana: FakeGrafana) -> Desk:
    return Desk(tmp_path, grafana)


NOW = time.time()


def test_a_region_with_a_tag_and_an_entity_becomes_feedback_with_author_and_time(desk: Desk, grafana: FakeGrafana):
    grafana.post(NOW - 2 * HOUR, NOW - HOUR, ["anomaly:expected", "container:crabserver", "note"], "weekly backup")
    assert desk.sync() == Synced(added=1)
    (record,) = desk.feedback.current().statements
    assert (record.id, record.verdict, record.source, record.author) == (
        "annotation:1",
        "expected",
        "annotation",
        "ada",
    )
    assert (record.start, record.end) == (int(NOW - 2 * HOUR), -int(-(NOW - HOUR) // 1))
    assert [str(m) for m in record.matchers] == ['container="crabserver"']
    assert record.comment == "weekly backup"
    assert record.stated_at == pytest.approx(time.time(), abs=60)


def test_the_second_look_appends_nothing(desk: Desk, grafana: FakeGrafana):
    grafana.post(NOW - HOUR, NOW, ["anomaly:ignore", "namespace:dmwm"])
    desk.sync()
    assert desk.sync() == Synced()
    assert len(desk.feedback.records()) == 1


def test_an_edit_is_followed_and_the_earlier_version_stays_in_the_store(desk: Desk, grafana: FakeGrafana):
    identity = grafana.post(NOW - HOUR, NOW, ["anomaly:expected", "namespace:dmwm"])
    desk.sync()
    grafana.patch(identity, tags=["anomaly:incident", "namespace:dmwm"], text="it was real\nfixed by: a restart")
    assert desk.sync() == Synced(changed=1)
    assert desk.said() == [("annotation:1", "incident")]
    assert desk.feedback.current().statements[0].fixed_by == "a restart"
    assert [r.verdict for r in desk.feedback.records()] == ["expected", "incident"]


def test_a_deletion_withdraws_and_deletes_nothing(desk: Desk, grafana: FakeGrafana):
    identity = grafana.post(NOW - HOUR, NOW, ["anomaly:expected", "namespace:dmwm"])
    desk.sync()
    grafana.delete(identity)
    assert desk.sync() == Synced(withdrawn=1)
    assert desk.said() == []
    assert len(desk.feedback.records()) == 2
    assert desk.sync() == Synced()


def test_a_tag_that_is_taken_off_withdraws(desk: Desk, grafana: FakeGrafana):
    identity = grafana.post(NOW - HOUR, NOW, ["anomaly:expected", "namespace:dmwm"])
    desk.sync()
    grafana.patch(identity, tags=["namespace:dmwm"])
    assert desk.sync() == Synced(withdrawn=1)


def test_more_annotations_than_an_answer_holds_are_all_read_once(desk: Desk, grafana: FakeGrafana):
    for i in range(450):
        grafana.post(NOW - i * 600 - 300, NOW - i * 600, ["anomaly:ignore", f"container:c{i}"])
    grafana.post(NOW - 20 * 24 * HOUR, NOW, ["anomaly:ignore", "container:long"])
    assert desk.sync() == Synced(added=451)
    assert desk.sync() == Synced()


def test_a_minute_full_of_annotations_is_read_too(desk: Desk, grafana: FakeGrafana):
    for i in range(150):
        grafana.post(NOW - HOUR, NOW - HOUR + 1, ["anomaly:ignore", f"container:c{i}"])
    assert desk.sync() == Synced(added=150)


def test_annotations_older_than_the_look_back_stay_as_they_were_seen(tmp_path: Path, grafana: FakeGrafana):
    desk = Desk(tmp_path, grafana, look_back="2h")
    identity = grafana.post(NOW - 1.9 * HOUR, NOW - 1.5 * HOUR, ["anomaly:ignore", "container:a"])
    assert desk.sync() == Synced(added=1)
    short = Desk(tmp_path, grafana, look_back="1h")
    grafana.delete(identity)
    assert short.sync() == Synced()
    assert short.said() == [("annotation:1", "ignore")]


def test_an_annotation_of_one_instant_stands_for_five_minutes_on_either_side(desk: Desk, grafana: FakeGrafana):
    grafana.post(NOW - HOUR, None, ["anomaly:incident", "container:a"])
    desk.sync()
    (record,) = desk.feedback.current().statements
    assert record.end - record.start in (600, 601)


def test_an_annotation_that_names_no_entity_says_nothing_and_is_counted(desk: Desk, grafana: FakeGrafana):
    grafana.post(NOW - HOUR, NOW, ["anomaly:incident", "colour:red"], "everything was down")
    assert desk.sync() == Synced(skipped={"entity": 1})
    assert desk.said() == []


def test_variables_of_a_link_name_the_entity_where_no_tag_does():
    known = {"namespace", "container", "metric"}
    link = "see http://grafana/d/anomaly?var-namespace=dmwm&var-container=a&var-container=b&var-metric=All&var-x=1"
    assert [str(m) for m in entity_of(["anomaly:ignore"], link, known)[1]] == ['container=~"a|b"', 'namespace="dmwm"']
    tags = ["anomaly:ignore", "container:crabserver", "target:cpu"]
    target, matchers = entity_of(tags, link, known)
    assert (target, [str(m) for m in matchers]) == ("cpu", ['container="crabserver"'])


def test_a_malformed_annotation_costs_itself_alone(desk: Desk, grafana: FakeGrafana):
    tags = ["anomaly:ignore", "container:a"]
    broken = [grafana.post(NOW - HOUR, NOW, tags) for _ in range(3)]
    grafana.patch(broken[0], tags=[*tags, "target:unknown"])
    grafana.patch(broken[1], tags=["anomaly:ignore", f"container:{'a' * 600}"])
    grafana.items[broken[2]]["updated"] = "yesterday"
    grafana.post(NOW - HOUR, NOW, tags)
    assert desk.sync() == Synced(added=1, skipped={"malformed": 3})


@pytest.mark.parametrize(
    ("status", "outcome"), [(500, "unavailable"), (429, "unavailable"), (302, "rejected"), (403, "rejected")]
)
def test_a_refusal_is_an_error_with_an_outcome_and_withdraws_nothing(
    desk: Desk, grafana: FakeGrafana, status: int, outcome: str
):
    grafana.post(NOW - HOUR, NOW, ["anomaly:ignore", "container:a"])
    desk.sync()
    grafana.trouble.append(status)
    error = desk.sync().error
    assert error is not None
    assert error.outcome == outcome
    assert desk.said() == [("annotation:1", "ignore")]


def test_a_wrong_token_is_said_and_shown_nowhere(desk: Desk, grafana: FakeGrafana):
    desk.token.write_text("glsa_wrong")
    error = desk.sync().error
    assert error is not None
    assert error.outcome == "rejected"
    assert "glsa" not in str(error)
    desk.token.unlink()
    assert "cannot be read" in str(desk.sync().error)


def test_annotations_are_placed_in_data_time(tmp_path: Path, grafana: FakeGrafana):
    clock = Clock(speed=60, wall_origin=NOW, data_origin=1_000_000_000)
    desk = Desk(tmp_path, grafana, clock=clock)
    grafana.post(NOW + 10, NOW + 20, ["anomaly:ignore", "container:a"])
    desk.sync()
    (record,) = desk.feedback.current().statements
    assert record.start == pytest.approx(1_000_000_600, abs=1)
    assert record.end == pytest.approx(1_000_001_200, abs=1)
