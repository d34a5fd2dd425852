"""Newest scores as a document."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomaly_exporter.snapshot import Snapshot
from support.control import Bench, control, snapshot_of
from support.snapshots import NOW, scores_of


def test_a_result_has_metadata_and_data(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        bench.snapshot = snapshot_of(2)
        document = bench.api("GET", "/results?limit=1", role="viewer").json
        metadata = document["metadata"]
        assert (
            abs(time.time() - time.mktime(time.strptime(metadata.pop("generated_at"), "%Y-%m-%dT%H:%M:%SZ"))) < 86_400
        )
        assert metadata.pop("cycle_at")
        assert metadata == {"version": 1, "total": 2, "offset": 0, "limit": 1}
        assert document["data"] == [
            {
                "target": "cpu",
                "labels": {
                    "env": "k8s-prod",
                    "namespace": "shop",
                    "container": "cart-1",
                    "metric": "cpu",
                    "model": "zscore",
                    "tag": "shop",
                },
                "at": "2027-01-15T08:00:00Z",
                "score": 0.75,
                "error": 1.5,
                "threshold": 2.0,
                "detected": False,
                "features": [
                    {
                        "feature": "value",
                        "observed": 3.0,
                        "expected": 2.0,
                        "lower": 1.0,
                        "upper": 3.0,
                        "contribution": 1.0,
                    }
                ],
            }
        ]
        assert NOW == 1_800_000_000


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["cart-3", "cart-2", "cart-1", "cart-0"]),
        ("limit=2", ["cart-3", "cart-2"]),
        ("limit=2&offset=3", ["cart-0"]),
        ("minimum_score=0.75", ["cart-3", "cart-2", "cart-1"]),
        ("minimum_score=0.7501", ["cart-3", "cart-2"]),
        ("target=cpu&model=zscore", ["cart-3", "cart-2", "cart-1", "cart-0"]),
        ("target=memory_of_all", []),
        ("model=fc", []),
        ("offset=9", []),
    ],
)
def test_results_are_filtered_and_paged_the_highest_first(tmp_path: Path, query: str, names: list[str]) -> None:
    with control(tmp_path) as bench:
        bench.snapshot = snapshot_of(4)
        found = bench.api("GET", f"/results?{query}").json["data"]
        assert [result["labels"]["container"] for result in found] == names


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "offset=-1", "minimum_score=nan", "x=1", "target=A", "limit=1&limit=2"]
)
def test_a_query_that_makes_no_sense_is_refused(tmp_path: Path, query: str) -> None:
    with control(tmp_path) as bench:
        assert bench.api("GET", f"/results?{query}").status == 422


def test_without_a_current_cycle_there_are_no_results(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        document = bench.api("GET", "/results").json
        assert (document["metadata"]["cycle_at"], document["data"]) == (None, [])


def test_what_is_no_number_is_null_and_what_is_not_shown_is_absent(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        whole = snapshot_of(3)
        entries = whole.views[0].scores[0].entries
        scores = scores_of(
            entries,
            shown=np.array([True, False, True]),
            score=np.array([1.0, 5.0, np.nan], np.float32),
            observed=np.full((3, 1), np.nan, np.float32),
        )
        bench.snapshot = Snapshot(whole.wall, (replace(whole.views[0], scores=(scores,)),))
        (result,) = bench.api("GET", "/results").json["data"]
        assert result["labels"]["container"] == "cart-0"
        assert result["features"][0]["observed"] is None


def test_the_largest_answer_is_bounded(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        bench.snapshot = snapshot_of(3000)
        answer = bench.api("GET", "/results?limit=1000")
        assert len(answer.json["data"]) == 1000
        assert len(answer.body) < 1_000_000
        assert isinstance(bench, Bench)
