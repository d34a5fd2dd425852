"""Promises of the alert state: a fold over scores, the same live and replayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models.alerting import AlertSpec, AlertState, fold
from anomaly_models.exceptions import InvalidShapeError
from support.alert_state import arrays

NAN = np.nan
PLAIN = AlertSpec(persistence=2, clear_below=0.8, clear_after=2)


def run(scores: list[float], spec: AlertSpec = PLAIN) -> tuple[list[float], str]:
    """Alerting scores and the alert as a picture: ``#`` detected, ``.`` not."""
    score = np.array([scores], np.float32)
    alerting, detected, _ = fold(score, score[:, :, None], None, AlertState.fresh(1, spec), spec)
    return alerting[0].tolist(), "".join("#" if d else "." for d in detected[0])


def test_the_alerting_score_is_the_minimum_of_the_last_n() -> None:
    alerting, _ = run([3, 1, 2, 5])
    np.testing.assert_array_equal(alerting, [NAN, 1, 1, 2])


def test_persistence_one_is_the_score_itself() -> None:
    assert run([0.5, 1.5], AlertSpec(persistence=1)) == ([0.5, 1.5], ".#")


def test_a_missing_score_restarts_persistence() -> None:
    alerting, picture = run([2, 2, NAN, 2, 2])
    np.testing.assert_array_equal(alerting, [NAN, 2, NAN, NAN, 2])
    assert picture[2] == "."


def test_an_alert_begins_at_exactly_one_and_not_just_below() -> None:
    assert run([1.0, 1.0])[1] == ".#"
    assert run([np.nextafter(np.float32(1), np.float32(0)), 1.0])[1] == ".."


def test_one_spike_alone_raises_nothing() -> None:
    assert run([0.1, 99, 0.1, 99, 0.1])[1] == "....."


def test_an_alert_ends_only_after_clear_after_scores_below_clear_below() -> None:
    assert run([2, 2, 0.5, 0.5, 0.5])[1] == ".##.."
    assert run([2, 2, 0.5, 0.9, 0.5, 0.8, 0.5, 0.5])[1] == ".######."


def test_an_ended_alert_needs_full_persistence_to_begin_again() -> None:
    assert run([2, 2, 0, 0, 2, 2])[1] == ".##..#"


def test_an_alert_survives_an_absence_of_clear_after_steps_but_not_one_more() -> None:
    assert run([2, 2, NAN, NAN, 0.9])[1] == ".#..#"
    assert run([2, 2, NAN, NAN, NAN, 0.9])[1] == ".#...."


def test_absence_is_no_quiet_score() -> None:
    assert run([2, 2, 0.5, NAN, 0.9, 0.5])[1] == ".##.##"


def test_hold_keeps_an_entity_silent_for_its_first_steps() -> None:
    held = replace(PLAIN, hold=4)
    assert run([2] * 6, held)[1] == "....##"
    assert run([2] * 6, replace(PLAIN, hold=0))[1] == ".#####"


def test_hold_counts_from_the_first_score_not_from_the_first_step() -> None:
    assert run([NAN] * 5 + [2] * 6, replace(PLAIN, hold=4))[1] == "." * 9 + "##"


def test_hold_begins_anew_after_an_absence_that_was_forgotten() -> None:
    held = replace(PLAIN, hold=3)
    assert run([2] * 5 + [NAN] * 2 + [2] * 4, held)[1] == "...##..####"
    assert run([2] * 5 + [NAN] * 3 + [2] * 4, held)[1] == "...##......#"


def deviating(observed: list[float], expected: list[float], spec: AlertSpec) -> str:
    """Picture of scores of 2 with the given newest samples; one feature."""
    score = np.full((1, len(observed)), 2, np.float32)
    o, e = (np.array(x, np.float32).reshape(1, -1, 1) for x in (observed, expected))
    return "".join("#" if d else "." for d in fold(score, o, e, AlertState.fresh(1, spec), spec)[1][0])


@pytest.mark.parametrize(("direction", "picture"), [("both", ".#####"), ("up", ".##..."), ("down", "....##")])
def test_only_the_wanted_side_raises_an_alert(direction: str, picture: str) -> None:
    spec = replace(PLAIN, direction=direction, clear_after=1)
    assert deviating([15, 15, 15, 5, 5, 5], [10] * 6, spec) == picture


def test_an_alert_ends_when_the_deviation_turns_to_the_other_side() -> None:
    spec = replace(PLAIN, direction="up")
    assert deviating([15, 15, 5, 5, 5], [10] * 5, spec) == ".##.."


@pytest.mark.parametrize(("observed", "picture"), [(12.0, ".#"), (11.9, ".."), (8.0, ".#"), (8.1, "..")])
def test_the_minimum_deviation_holds_on_both_sides(observed: float, picture: str) -> None:
    assert deviating([observed] * 2, [10, 10], replace(PLAIN, minimum_deviation=2.0)) == picture


@pytest.mark.parametrize(("observed", "picture"), [(15.0, ".#"), (14.9, ".."), (-15.0, ".#")])
def test_the_minimum_relative_deviation_is_a_share_of_the_expectation(observed: float, picture: str) -> None:
    spec = replace(PLAIN, minimum_relative_deviation=0.5)
    assert deviating([observed] * 2, [10 if observed > 0 else -10] * 2, spec) == picture


def test_without_an_expectation_the_score_alone_decides() -> None:
    assert deviating([5, 5], [NAN, NAN], replace(PLAIN, direction="up", minimum_deviation=9)) == ".#"


def test_of_many_features_any_may_deviate_as_wanted() -> None:
    spec = AlertSpec(persistence=1, direction="up")
    score = np.full((2, 1), 2, np.float32)
    observed = np.array([[[0, 20, 0]], [[0, 0, 0]]], np.float32)
    expected = np.array([[[10, 10, NAN]], [[10, 10, NAN]]], np.float32)
    assert fold(score, observed, expected, AlertState.fresh(2, spec), spec)[1].tolist() == [[True], [False]]


specs = st.builds(
    AlertSpec,
    persistence=st.integers(1, 5),
    direction=st.sampled_from(["both", "up", "down"]),
    minimum_deviation=st.sampled_from([0.0, 1.0]),
    clear_below=st.sampled_from([0.5, 1.0]),
    clear_after=st.integers(1, 4),
    hold=st.integers(0, 5),
)
steps = st.lists(
    st.tuples(st.sampled_from([NAN, 0.2, 0.7, 1.0, 3.0]), st.sampled_from([NAN, -2.0, 0.5, 2.0])),
    min_size=1,
    max_size=30,
)


def as_arrays(drawn: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    score = np.array([[s for s, _ in drawn]], np.float32)
    observed = np.array([[d for _, d in drawn]], np.float32)[:, :, None]
    return score, observed, np.zeros_like(observed)


@settings(deadline=None, max_examples=200)
@given(steps, specs)
def test_one_step_at_a_time_equals_all_at_once(drawn: list[tuple[float, float]], spec: AlertSpec) -> None:
    score, observed, expected = as_arrays(drawn)
    alerting, detected, end = fold(score, observed, expected, AlertState.fresh(1, spec), spec)
    state = AlertState.fresh(1, spec)
    for b in range(score.shape[1]):
        at = slice(b, b + 1)
        one_alerting, one_detected, state = fold(score[:, at], observed[:, at], expected[:, at], state, spec)
        np.testing.assert_array_equal(one_alerting, alerting[:, at])
        np.testing.assert_array_equal(one_detected, detected[:, at])
    for name, array in arrays(end).items():
        np.testing.assert_array_equal(arrays(state)[name], array)


@settings(deadline=None, max_examples=200)
@given(steps, specs)
def test_an_alert_never_begins_below_an_alerting_score_of_one(
    drawn: list[tuple[float, float]], spec: AlertSpec
) -> None:
    score, observed, expected = as_arrays(drawn)
    alerting, detected, _ = fold(score, observed, expected, AlertState.fresh(1, spec), spec)
    on = False
    for b in range(score.shape[1]):
        if np.isnan(score[0, b]):
            assert not detected[0, b]
            continue
        if detected[0, b] and not on:
            # It begins now, or it went on through an absence.
            assert alerting[0, b] >= 1 or np.isnan(score[0, :b]).any()
        on = bool(detected[0, b])


def test_series_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(0)
    score = rng.choice([NAN, 0.5, 2.0], (5, 40), p=[0.2, 0.3, 0.5]).astype(np.float32)
    together = fold(score, score[:, :, None], None, AlertState.fresh(5, PLAIN), PLAIN)[1]
    for s in range(5):
        alone = fold(score[s : s + 1], score[s : s + 1, :, None], None, AlertState.fresh(1, PLAIN), PLAIN)[1]
        np.testing.assert_array_equal(together[s], alone[0])


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_no_series_and_no_steps_change_nothing(shape: tuple[int, int]) -> None:
    state = AlertState.fresh(shape[0], PLAIN)
    alerting, detected, after = fold(np.empty(shape, np.float32), np.empty((*shape, 1), np.float32), None, state, PLAIN)
    assert alerting.shape == detected.shape == shape
    np.testing.assert_array_equal(after.missing, state.missing)


def test_take_carries_states_along_and_starts_new_entities_fresh() -> None:
    score = np.array([[2, 2], [0, 0]], np.float32)
    state = fold(score, score[:, :, None], None, AlertState.fresh(2, PLAIN), PLAIN)[2]
    taken = state.take([1, -1, 0], PLAIN)
    assert taken.detected.tolist() == [False, False, True]
    for name, array in arrays(AlertState.fresh(1, PLAIN)).items():
        np.testing.assert_array_equal(arrays(taken)[name][1], array[0])


def test_entities_can_join_an_empty_fleet() -> None:
    assert AlertState.fresh(0, PLAIN).take([-1, -1], PLAIN).streak.shape == (2,)


def test_replay_is_long_enough_to_rebuild_a_running_alert() -> None:
    spec = AlertSpec(persistence=3, clear_after=2, hold=4)
    history = [0.1] * 20 + [2.0] * 15
    assert run(history[-spec.replay :], spec)[1][-1] == run(history, spec)[1][-1] == "#"


HELD = AlertSpec(persistence=1, clear_after=1, hold_after_restart=3)


def held(score: str, restarts: str, spec: AlertSpec = HELD) -> str:
    """The alert as a picture, of scores (``^`` 2, ``.`` 0) and restarts (``r``)."""
    scores = np.array([[2.0 if c == "^" else 0.0 for c in score]], np.float32)
    restarted = np.array([[c == "r" for c in restarts]])
    state = AlertState.fresh(1, spec)
    return "".join(
        "#" if d else "." for d in fold(scores, scores[:, :, None], None, state, spec, None, restarted)[1][0]
    )


def test_a_restart_holds_new_alerts_for_as_long_as_is_said_its_own_step_included() -> None:
    assert held("^^^^^^", "......") == "######"
    assert held(".^^^^^", ".r....") == "....##"


def test_an_alert_that_is_on_goes_on_over_a_restart() -> None:
    assert held("^^^^^^", "...r..") == "######"


def test_what_restarts_again_and_again_is_held_once() -> None:
    assert held("^^^^^^^^^^^^", "r.r.r.r.r.r.") == "...#########"


def test_a_restart_after_a_quiet_time_of_two_holds_is_held_again_and_one_step_earlier_it_is_not() -> None:
    assert held("......^^^", "r.....r..") == "........."
    assert held(".....^^^^", "r....r...") == ".....####"


def test_without_a_hold_a_restart_means_nothing() -> None:
    assert held("^^^^", "r.r.", replace(HELD, hold_after_restart=0)) == "####"


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from([NAN, 0.5, 2.0]), st.booleans()), min_size=1, max_size=40), st.integers(1, 4))
def test_restarts_one_by_one_equal_all_at_once(drawn: list[tuple[float, bool]], hold: int) -> None:
    spec = AlertSpec(persistence=2, clear_after=1, hold_after_restart=hold)
    score = np.array([[s for s, _ in drawn]], np.float32)
    restarted = np.array([[r for _, r in drawn]])
    _, together, end = fold(score, score[:, :, None], None, AlertState.fresh(1, spec), spec, None, restarted)
    state = AlertState.fresh(1, spec)
    for b in range(score.shape[1]):
        at = slice(b, b + 1)
        _, one, state = fold(score[:, at], score[:, at, None], None, state, spec, None, restarted[:, at])
        np.testing.assert_array_equal(one, together[:, at])
    for name, array in arrays(end).items():
        np.testing.assert_array_equal(arrays(state)[name], array)


def test_what_is_forced_is_worth_an_alert_whatever_was_expected() -> None:
    spec = AlertSpec(persistence=1, minimum_deviation=5)
    score, forced = np.ones((1, 2), np.float32), np.array([[False, True]])
    same = np.full((1, 2, 1), 3, np.float32)
    assert fold(score, same, same, AlertState.fresh(1, spec), spec, forced)[1].tolist() == [[False, True]]


def test_a_state_made_for_another_persistence_is_refused() -> None:
    score = np.zeros((1, 1), np.float32)
    with pytest.raises(InvalidShapeError, match="state of 1 series with 1"):
        fold(score, score[:, :, None], None, AlertState.fresh(1, replace(PLAIN, persistence=4)), PLAIN)


@pytest.mark.parametrize(
    "wrong", [{"persistence": 0}, {"clear_after": 0}, {"hold": -1}, {"hold_after_restart": -1}, {"direction": "left"}]
)
def test_a_specification_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="received"):
        AlertSpec(**wrong)  # type: ignore[arg-type]
