"""Promises of the proof on held-out data: what would have been sent, what is caught."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models import cleaning, injection, proving
from anomaly_models.alerting import AlertSpec
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Block, EntityKey
from anomaly_models.proving import Contender, Ground, Rules
from anomaly_models.scaling import Scaler
from anomaly_models.thresholds import Recent, ThresholdInputs, ThresholdSpec
from anomaly_models.zscore import ZScore

STEP, START = 60, 60 * 400_000
RULES = Rules(ThresholdSpec(), AlertSpec(persistence=3))
SEEDS = st.integers(0, 10_000)


def zscore(S: int, F: int = 1, scale: float = 0.1, threshold: float = 5.5) -> Contender:
    scaler = Scaler(np.full((S, F), 10, np.float32), np.full((S, F), scale, np.float32))
    return Contender(ZScore(4, 1, scaler), [ThresholdInputs(Recent(START, threshold, 1.0))] * S)


def ground(S: int = 3, F: int = 1, T: int = 2000, lead: int = 10) -> Ground:
    x = (10 + 0.1 * np.random.default_rng(0).normal(size=(T, S, F))).astype(np.float32)
    return Ground(x, np.ones(x.shape, np.bool_), START, STEP, lead, injection.variation(x))


@cache
def proved(threshold: float = 5.5) -> tuple[Ground, proving.Proof, tuple[injection.Case, ...], np.ndarray]:
    held_out, models = ground(), zscore(3, threshold=threshold)
    replay = held_out.replay(models, RULES)
    cases = injection.cases(STEP)
    trials = held_out.trials(~(replay >= 1), cases, held_out.lead)
    return held_out, proving.prove(held_out, models, RULES, replay, trials), cases, replay


def test_a_replay_has_one_score_for_every_judged_row() -> None:
    held_out, _, _, replay = proved()
    assert replay.shape == (3, 1990)
    assert np.isfinite(replay).all()
    assert held_out.weeks == pytest.approx([1990 / 10_080] * 3)


def test_a_replay_in_chunks_is_the_replay_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = proved()[3]
    monkeypatch.setattr(proving, "CHUNK_FLOATS", 3 * 77)
    assert (ground().replay(zscore(3), RULES) == whole).all()


def test_a_lead_that_no_window_fits_in_is_refused() -> None:
    with pytest.raises(InvalidShapeError, match="longer lead than 3 rows"):
        ground(lead=3).replay(zscore(3), RULES)
    with pytest.raises(InvalidShapeError, match="more than 2000 rows"):
        ground(lead=2000)
    assert ground(lead=proving.lead_of([zscore(3)], RULES)).replay(zscore(3), RULES).shape == (3, 1995)


def test_what_lies_outside_the_band_long_enough_is_caught_and_what_lies_inside_is_not() -> None:
    _, proof, cases, _ = proved()
    caught = proof.caught()
    assert proof.counted.all()
    for c, case in enumerate(cases):
        if case.shape in ("spike", "dip", "level_shift"):
            assert (caught[:, c] == (case.amplitude > 5)).all(), case
        if case.shape == "flat_line":
            assert not caught[:, c].any()
        if case.shape == "drop_to_zero":
            assert caught[:, c].all()


def test_a_delay_is_the_time_until_persistence_is_reached() -> None:
    _, proof, cases, _ = proved()
    delays = proof.delays()
    large = [c for c, case in enumerate(cases) if case.shape == "level_shift" and case.amplitude == 16]
    assert (delays[:, large] == 2).all()
    leak = [c for c, case in enumerate(cases) if case.shape == "slow_leak" and case.amplitude == 16]
    assert (delays[:, leak] > 20).all()


def test_what_alerts_anyway_catches_nothing() -> None:
    held_out, models = ground(), zscore(3, threshold=0.05)
    replay = held_out.replay(models, RULES)
    assert (replay >= 1).mean() > 0.6
    trials = held_out.trials(np.ones(replay.shape, np.bool_), injection.cases(STEP), held_out.lead)
    proof = proving.prove(held_out, models, RULES, replay, trials)
    assert not proof.caught(0.0).any()
    assert proof.caught(1.0).mean() < 0.05


def test_a_wider_threshold_never_catches_more() -> None:
    levels = [proving.recall(proved(t)[1].caught(), proved(t)[1].counted).mean() for t in (2.0, 5.0, 10.0, 30.0)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > levels[-1]


def test_of_fewer_than_five_trials_there_is_no_recall() -> None:
    counted = np.array([[True] * 4 + [False] * 2, [True] * 6])
    assert np.isnan(proving.recall(counted, counted)).tolist() == [True, False]


def test_every_entity_is_proved_as_if_it_were_alone() -> None:
    held_out, proof, cases, replay = proved()
    alone = held_out.take([1])
    models = zscore(3).take([1])
    trials = alone.trials(~(replay[1:2] >= 1), cases, alone.lead)
    one = proving.prove(alone, models, RULES, alone.replay(models, RULES), trials)
    assert (one.caught()[0] == proof.caught()[1]).all()


def test_holes_have_no_trials() -> None:
    held_out = ground()
    held_out.x[:, 2], held_out.valid[:, 2] = np.nan, False
    replay = held_out.replay(zscore(3), RULES)
    trials = held_out.trials(~(replay >= 1), injection.cases(STEP), held_out.lead)
    proof = proving.prove(held_out, zscore(3), RULES, replay, trials)
    assert proof.counted.sum(axis=1).tolist() == [21, 21, 0]
    assert held_out.weeks[2] == 0


def test_a_run_is_one_notification_and_one_more_every_four_hours() -> None:
    replay = np.zeros((3, 1000), np.float32)
    replay[0, [10, 11, 20, 60]] = 1  # a hole of 9 minutes is closed, one of 40 is not
    replay[1, 100 : 100 + 241] = 1
    replay[2, 100 : 100 + 240] = 1
    assert proving.notifications(replay, STEP).tolist() == [2, 2, 1]
    assert proving.notifications(replay, STEP, 2.0).tolist() == [0, 0, 0]


@given(SEEDS, st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_the_level_for_an_allowance_keeps_it(seed: int, allowed: int) -> None:
    replay = np.random.default_rng(seed).normal(size=(3, 400)).astype(np.float32)
    replay[1] = np.nan
    level = proving.level_for(replay, STEP, np.full(3, allowed))
    assert np.isnan(level[1])
    assert (proving.notifications(replay[[0, 2]], STEP, level[[0, 2]]) <= allowed).all()


def test_with_no_notification_allowed_the_level_is_just_above_everything_seen() -> None:
    replay = np.arange(50, dtype=np.float32)[None]
    assert 49 < proving.level_for(replay, STEP, np.array([0]))[0] < 49.001


def test_a_ground_begins_for_every_entity_where_it_may() -> None:
    values = ground(S=2, T=300).x
    block = Block(START, STEP, tuple(EntityKey.of("t", {"e": str(i)}) for i in range(2)), ("x",), values)
    begin = START + STEP * np.array([200, 250])
    held_out = Ground.of(block, CleaningSpec(), begin, 20)
    assert (held_out.start, len(held_out.x), held_out.lead) == (START + 180 * STEP, 120, 20)
    assert (held_out.x[:, 0] == values[180:, 0]).all()
    assert not held_out.valid[:50, 1].any()
    assert (held_out.x[50:, 1] == values[230:, 1]).all()
    ended = Ground.of(block, CleaningSpec(), begin, 20, START + STEP * np.array([260, 270]))
    assert len(ended.x) == 90
    assert ended.valid.sum(axis=0).ravel().tolist() == [80, 40]


def test_what_a_short_history_does_not_hold_is_missing() -> None:
    values = ground(S=1, T=300).x
    block = Block(START, STEP, (EntityKey.of("t", {}),), ("x",), values)
    held_out = Ground.of(block, CleaningSpec(), START + STEP * np.array([10]), 25)
    assert held_out.start == START - 15 * STEP
    assert not held_out.valid[:15].any()
    assert (held_out.x[15:] == values).all()


def test_a_ground_is_cleaned_like_the_whole_history() -> None:
    values = ground(S=1, T=300).x.copy()
    values[[95, 178, 179, 200, 240]] = np.nan
    values[210] = 0
    block = Block(START, STEP, (EntityKey.of("t", {}),), ("x",), values)
    spec = CleaningSpec(max_gap=3, zero_gap=1)
    whole, valid = cleaning.clean(values, spec)
    held_out = Ground.of(block, spec, START + STEP * np.array([200]), 20)
    assert np.array_equal(held_out.x, whole[180:], equal_nan=True)
    assert (held_out.valid == valid[180:]).all()
