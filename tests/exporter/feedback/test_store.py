"""Feedback is kept for ever, the last writer wins per entity and time, and damage costs no more than itself."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.feedback import (
    Feedback,
    Matcher,
    Record,
    RecordError,
    from_json,
    in_force,
    masks,
    parse_matcher,
    subject,
    timelines,
    to_json,
)
from anomaly_exporter.feedback.matchers import MatcherError
from anomaly_exporter.feedback.record import LONGEST, VERDICTS
from anomaly_exporter.feedback.timeline import stretches
from anomaly_models.frame import EntityKey, Span
from support.feedback_configs import config_of

A = EntityKey.of("cpu", {"namespace": "dmwm", "container": "a"})
B = EntityKey.of("cpu", {"namespace": "dmwm", "container": "b"})


@pytest.fixture
def feedback(tmp_path: Path) -> Feedback:
    ticks = iter(range(1_000, 10_000))
    return Feedback(DirectoryBlobs(tmp_path), wall=lambda: float(next(ticks)))


def record(**fields: object) -> Record:
    base = {"id": "cli:1", "verdict": "expected", "start": 0, "end": 600, "author": "ada", "source": "cli"}
    return Record(**{**base, "stated_at": 1.0, "recorded_at": 1.0, **fields})  # type: ignore[arg-type]


def test_what_is_added_is_read_back_by_another_process(feedback: Feedback, tmp_path: Path):
    said = feedback.say(
        "incident",
        Span(60, 120),
        author="ada",
        source="page",
        target="cpu",
        labels={"container": "a"},
        fixed_by="restart",
    )
    assert Feedback(DirectoryBlobs(tmp_path)).current().statements == (said,)


def test_an_edit_and_a_withdrawal_append(feedback: Feedback):
    said = feedback.say("expected", Span(0, 60), author="ada", source="page")
    edited = feedback.say("incident", Span(0, 60), author="bob", source="page", identity=said.id)
    assert feedback.current().statements == (edited,)
    assert feedback.withdraw(said.id, author="bob", source="cli") is not None
    assert feedback.current().statements == ()
    assert [(r.verdict, r.withdrawn) for r in feedback.records()] == [
        ("expected", False),
        ("incident", False),
        ("incident", True),
    ]
    assert feedback.withdraw(said.id, author="bob", source="cli") is None


def test_a_view_holds_what_concerns_a_target_and_touches_a_span(feedback: Feedback):
    mine = feedback.say("expected", Span(100, 200), author="a", source="cli", target="cpu")
    anyone = feedback.say("expected", Span(150, 250), author="a", source="cli")
    feedback.say("expected", Span(100, 200), author="a", source="cli", target="memory")
    assert feedback.current("cpu").statements == (mine, anyone)
    assert feedback.current("cpu", Span(200, 300)).statements == (anyone,)
    assert feedback.current("cpu", Span(250, 300)).statements == ()


def test_the_last_writer_wins_per_entity_and_time_and_the_conflict_is_listed(feedback: Feedback):
    feedback.say("incident", Span(0, 100), author="ada", source="silence", labels={"container": "a"})
    feedback.say("expected", Span(50, 80), author="bob", source="page", labels={"namespace": "dmwm"})
    view = feedback.current()
    config = config_of()
    of_a, of_b = timelines(view.statements, config, config.target("cpu"), [A, B], Span(0, 1000))
    assert [(s.start, s.end, s.verdict) for s in of_a] == [
        (0, 50, "incident"),
        (50, 80, "expected"),
        (80, 100, "incident"),
    ]
    assert [(s.start, s.end, s.verdict) for s in of_b] == [(50, 80, "expected")]
    (conflict,) = view.conflicts
    assert (conflict.winner.author, conflict.loser.author, conflict.span) == ("bob", "ada", Span(50, 80))


@pytest.mark.parametrize(
    "other",
    [
        {"verdict": "incident"},
        {"labels": {"container": "b"}},
        {"span": Span(100, 200)},
        {"target": "memory"},
    ],
)
def test_statements_that_cannot_meet_or_agree_are_no_conflict(feedback: Feedback, other: dict[str, object]):
    feedback.say("incident", Span(0, 100), author="a", source="cli", target="cpu", labels={"container": "a"})
    second = {"verdict": "expected", "span": Span(0, 100), "target": "cpu", "labels": {"container": "a"}, **other}
    feedback.say(second.pop("verdict"), second.pop("span"), author="b", source="cli", **second)  # type: ignore[arg-type]
    assert feedback.current().conflicts == ()


def test_incidents_and_what_to_ignore_are_masked_and_what_was_expected_is_not(feedback: Feedback):
    config = config_of()
    for verdict, start in (("incident", 0), ("ignore", 120), ("expected", 240)):
        feedback.say(verdict, Span(start, start + 60), author="a", source="cli", labels={"container": "a"})  # type: ignore[arg-type]
    out = masks(feedback.current().statements, config, config.target("cpu"), [A, B], Span(0, 360))
    np.testing.assert_array_equal(out[:, 0], [True, False, True, False, False, False])
    assert not out[:, 1].any()


def test_an_entity_is_known_by_its_labels_its_metric_its_tag_and_the_emitted_names():
    config = config_of(exposition={"profile": "openshift"})
    assert subject(config, config.target("cpu"), A) == {
        "env": "k8s-prod",
        "target_namespace": "dmwm",
        "namespace": "dmwm",
        "target_container": "a",
        "container": "a",
        "metric": "cpu",
        "tag": "dmwm",
    }
    assert subject(config, config.target("memory"), EntityKey.of("memory", {}))["tag"] == "ops"


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 2, "records": []}',
        b'{"format": 1, "records": [{}]}',
        b'{"format": 1, "records": {"a": 1}}',
        b"\xff\xfe",
        b'{"format": 1, "records": [' + b"[" * 100_000 + b"]}",
        json.dumps({"format": 1, "records": [None] * 201}).encode(),
    ],
)
def test_a_damaged_blob_is_counted_and_costs_itself_alone(feedback: Feedback, tmp_path: Path, damage: bytes):
    said = feedback.say("expected", Span(0, 60), author="a", source="cli")
    (tmp_path / "feedback" / "2026-01").mkdir(parents=True)
    (tmp_path / "feedback" / "2026-01" / "9-x.json").write_bytes(damage)
    other = Feedback(DirectoryBlobs(tmp_path))
    assert other.current().statements == (said,)
    assert other.failures == {"rejected": 1}
    other.current()
    assert other.failures == {"rejected": 1}


def test_writers_side_by_side_lose_nothing(tmp_path: Path):
    def write(name: str) -> None:
        mine = Feedback(DirectoryBlobs(tmp_path))
        for i in range(20):
            mine.say("expected", Span(i, i + 1), author=name, source="cli")

    threads = [threading.Thread(target=write, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Feedback(DirectoryBlobs(tmp_path)).records()) == 80


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)


@given(
    st.fixed_dictionaries(
        {
            "verdict": st.sampled_from(VERDICTS),
            "author": TEXT,
            "comment": TEXT,
            "target": st.none() | TEXT,
            "withdrawn": st.booleans(),
            "matchers": st.lists(st.builds(Matcher, st.just("container"), st.just("!="), TEXT), max_size=3).map(tuple),
        }
    ),
    st.integers(0, 2**33),
    st.integers(1, LONGEST),
)
def test_a_record_survives_json(fields: dict[str, object], start: int, length: int):
    one = record(start=start, end=start + length, **fields)
    assert from_json(json.loads(json.dumps(to_json(one)))) == one


@pytest.mark.parametrize(
    "fields",
    [
        {"verdict": "fine"},
        {"source": "rumour"},
        {"end": 0},
        {"start": -1},
        {"end": LONGEST + 1},
        {"author": "x" * 201},
        {"comment": "x" * 2001},
        {"comment": "\ud800"},
        {"comment": "a\0b"},
        {"id": "a b"},
        {"id": ""},
        {"stated_at": float("nan")},
        {"matchers": (Matcher("a", "=", "b"),) * 33},
    ],
)
def test_a_record_beyond_a_cap_is_refused(fields: dict[str, object]):
    with pytest.raises(RecordError):
        record(**fields)


@pytest.mark.parametrize(
    "change",
    [
        {"start": "0"},
        {"start": True},
        {"stated_at": "1"},
        {"withdrawn": 1},
        {"author": 7},
        {"target": 7},
        {"matchers": "x"},
        {"matchers": [["a", "=="]]},
        {"matchers": [["a", "~", "b"]]},
        {"matchers": [["a b", "=", "b"]]},
        {"matchers": [["a", "=~", "("]]},
        {"extra": 1},
    ],
)
def test_json_of_another_form_is_refused(change: dict[str, object]):
    with pytest.raises(RecordError):
        from_json({**to_json(record()), **change})


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_json_is_either_a_record_or_a_record_error(data: object):
    with pytest.raises(RecordError):
        from_json(data)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("container=a", "a", True),
        ("container!=a", "a", False),
        ('container=~"a|b.*"', "bcd", True),
        ("container=~a", "ab", False),
        ("container!~a.*", "b", True),
        ('container="a\\"b"', 'a"b', True),
    ],
)
def test_matchers_mean_what_they_mean_in_alertmanager(text: str, value: str, expected: bool):
    matcher = parse_matcher(text)
    assert matcher.matches(value) is expected
    assert parse_matcher(str(matcher)) == matcher


@pytest.mark.parametrize(
    "text", ["container", "=a", "a==b,c", "a=~(x+)+", "a=~(?i)x", "a=~.*.*.*.*x", "a=~(", "a=~(.)\\1"]
)
def test_a_matcher_that_cannot_be_used_is_refused(text: str):
    with pytest.raises(MatcherError):
        parse_matcher(text)


SPANS = st.tuples(st.sampled_from(VERDICTS), st.integers(0, 40), st.integers(1, 15), st.floats(0, 9))


@given(st.lists(SPANS, max_size=8))
def test_at_every_instant_the_verdict_is_that_of_the_last_who_spoke(spoken):
    records = [
        record(id=f"cli:{i}", verdict=v, start=start, end=start + length, stated_at=stated)
        for i, (v, start, length, stated) in enumerate(spoken)
    ]
    found = stretches(in_force(records), "cpu", {}, Span(0, 50))
    assert all(a.end <= b.start for a, b in pairwise(found))
    for t in range(50):
        said = [r for r in records if r.start <= t < r.end]
        expected = max(said, key=lambda r: (r.stated_at, r.recorded_at, r.id)).verdict if said else None
        assert next((s.verdict for s in found if s.start <= t < s.end), None) == expected
