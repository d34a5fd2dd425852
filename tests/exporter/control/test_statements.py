"""Feedback by the API: kept under the name of whoever gave it, listed, taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anomaly_exporter.feedback import Matcher
from anomaly_models.frame import Span
from support.control import LABELS, control

SAID: dict[str, Any] = {
    "verdict": "expected",
    "start": "2026-01-31T12:00:00Z",
    "end": "2026-01-31T12:30:00Z",
    "target": "cpu",
    "labels": LABELS,
    "comment": "the weekly backup",
}


def test_what_somebody_says_is_kept_under_their_name(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        answer = bench.api("POST", "/feedback", SAID)
        assert answer.status == 201
        (record,) = bench.feedback.records()
        assert (record.author, record.source, record.verdict, record.target) == ("operator", "api", "expected", "cpu")
        assert record.span == Span(1_769_860_800, 1_769_862_600)
        assert record.matchers == (Matcher("container", "=", "cart"), Matcher("namespace", "=", "shop"))
        listed = bench.api("GET", "/feedback", role="viewer").json
        assert listed == {"feedback": [answer.json], "total": 1, "conflicts": 0}
        assert answer.json["matchers"] == ['container="cart"', 'namespace="shop"']
        assert answer.json["comment"] == "the weekly backup"


def test_feedback_is_taken_back_and_stays_in_the_store(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        name = bench.api("POST", "/feedback", SAID).json["id"]
        assert bench.api("DELETE", f"/feedback/{name}").status == 200
        assert bench.api("GET", "/feedback").json["total"] == 0
        assert [record.withdrawn for record in bench.feedback.records()] == [False, True]
        assert bench.api("DELETE", f"/feedback/{name}").status == 404


def test_feedback_is_filtered_by_target_and_time(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        bench.api("POST", "/feedback", SAID)
        bench.api("POST", "/feedback", {**SAID, "target": "memory_of_all", "verdict": "ignore"})

        def total(query: str) -> int:
            return int(bench.api("GET", f"/feedback?{query}").json["total"])

        assert total("") == 2
        assert total("target=cpu") == 1
        assert total("start=2026-01-31T12:30:00Z&end=2026-01-31T13:00:00Z") == 0
        assert total("start=2026-01-31T12:29:59Z&end=2026-01-31T13:00:00Z") == 2
        assert bench.api("GET", "/feedback?start=1").status == 422


def test_statements_that_disagree_are_counted(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        bench.api("POST", "/feedback", SAID)
        bench.api("POST", "/feedback", {**SAID, "verdict": "incident"})
        assert bench.api("GET", "/feedback").json["conflicts"] == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"verdict": "fine"}, "verdict"),
        ({"start": "yesterday"}, "start: expected Unix seconds"),
        ({"end": SAID["start"]}, "end: expected a time after start"),
        ({"end": "2029-01-31T12:00:00Z"}, "366 days"),
        ({"target": "disk"}, "target: 'disk' is not configured"),
        ({"target": None, "labels": {}}, "which entities are meant?"),
        ({"labels": {"pod": "x"}}, "labels.pod: unknown, expected one of env, namespace, container, metric, tag"),
        ({"labels": {"a b": "x"}}, "labels"),
        ({"labels": {"namespace": "x" * 501}}, "labels.namespace"),
        ({"comment": "x" * 2001}, "comment"),
        ({"comment": "\0"}, "comment must not hold a NUL"),
        ({"author": "somebody else"}, "author: unknown key"),
        ({"source": "cli"}, "source: unknown key"),
    ],
)
def test_what_is_not_valid_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with control(tmp_path) as bench:
        answer = bench.api("POST", "/feedback", {**SAID, **change})
        assert answer.status == 422, answer.text
        assert any(told in line for line in answer.json["errors"]), answer.json["errors"]
        assert bench.feedback.records() == ()


def test_hostile_text_comes_back_as_it_was(tmp_path: Path) -> None:
    text = "<script>alert(1)</script>\"'\\\n\u202eé\U0001f4a5"
    with control(tmp_path) as bench:
        labels = {"namespace": text}
        assert bench.api("POST", "/feedback", {**SAID, "comment": text, "labels": labels}).status == 201
        (found,) = bench.api("GET", "/feedback").json["feedback"]
        assert found["comment"] == text
        (record,) = bench.feedback.records()
        assert record.matchers == (Matcher("namespace", "=", text),)
