"""Why a series that has a model waits for another one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly_exporter.exposition.labels import Labels
from anomaly_exporter.exposition.needs import why_needed
from support.snapshots import config_of, entry_of, scores_of

NOW = 1_800_000_000.0
ENTRY = entry_of("cpu", {"container": "a"}, evaluated_at=NOW)
EVERY = 7200.0


def why(*, timing: dict[str, float] | None = None, evaluated: float = NOW, **fields: object) -> str:
    config = config_of({"training": {"every": "2h"}}, timing=timing or {})
    one = replace(ENTRY, evaluated_at=evaluated)
    return why_needed("cpu", NOW, scores_of([one], **fields), 0, Labels(config))


def test_a_series_with_a_fresh_model_and_nothing_standing_needs_none():
    assert why(since=np.array([np.nan])) == ""
    assert why() == ""


@pytest.mark.parametrize(("age", "reason"), [(3 * EVERY, ""), (3 * EVERY + 1, "stale")])
def test_a_model_that_three_trainings_left_out_is_stale(age: float, reason: str):
    assert why(evaluated=NOW - age) == reason


@pytest.mark.parametrize(("age", "reason"), [(86_400, ""), (86_401, "drifted")])
def test_an_anomaly_that_stands_for_a_day_is_drift(age: float, reason: str):
    assert why(since=np.array([NOW - age])) == reason


def test_in_compressed_time_a_day_is_shorter():
    timing = {"speed": 60.0, "wall_origin": NOW, "data_origin": NOW}
    assert why(timing=timing, since=np.array([NOW - 1441])) == "drifted"
    assert why(timing=timing, evaluated=NOW - 3 * EVERY / 60 - 1) == "stale"


def test_a_series_that_is_judged_against_a_new_level_has_drifted():
    assert why(provisional=np.array([1.5], np.float32)) == "drifted"
    assert why(provisional=np.array([1.0], np.float32)) == ""


def test_a_model_that_the_gate_keeps_rejecting_is_said_before_all_else():
    one = replace(ENTRY, gate={"stuck": True}, evaluated_at=0.0)
    assert why_needed("cpu", NOW, scores_of([one]), 0, Labels(config_of())) == "rejected"
