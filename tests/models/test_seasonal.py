"""Promises of the seasonal member: it knows the time of the day, and of the week once it saw two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly_models import windows
from anomaly_models.exceptions import InvalidShapeError, PackRejectedError
from anomaly_models.frame import Scorer, Windows
from anomaly_models.model_spec import ModelSpec
from anomaly_models.seasonal import DAY, WEEK, Seasonal, SeasonalLearner

STEP = 300
A_DAY = 86400 // STEP
SPEC = ModelSpec("seasonal", window=2)
RNG = np.random.default_rng(0)


def over(values: np.ndarray, start: int = 0, step: int = STEP, window: int = 2, stride: int = 1) -> Windows:
    """Windows over ``values`` [T, N, F] without bridging."""
    return windows.make(values.astype(np.float32), np.isfinite(values), start, step, window, stride)


def learned(w: Windows, spec: ModelSpec = SPEC) -> Seasonal:
    return SeasonalLearner(spec).fit(w, w, None, None, 0)


def wave(days: float, weekend: float = 1.0, noise: float = 0.1) -> np.ndarray:
    """A daily wave [T, 1, 1] of height 5 around 10, lower on two days of the week."""
    t = np.arange(int(days * A_DAY)) * STEP
    height = np.where(t // 86400 % 7 >= 5, weekend, 1.0)
    return (10 + 5 * height * np.sin(t / 86400 * 2 * np.pi) + RNG.normal(0, noise, t.size)).reshape(-1, 1, 1)


def test_the_expected_value_follows_the_daily_wave() -> None:
    scorer = learned(over(wave(5)))
    inference = scorer.infer(over(wave(1, noise=0), start=5 * 86400))
    truth = wave(1, noise=0)[1:, 0, 0]
    assert inference.expected is not None
    assert np.abs(inference.expected[0, :, 0] - truth).max() < 0.5


def test_the_scale_is_the_noise_around_the_profile_not_the_height_of_the_wave() -> None:
    assert 0.1 < learned(over(wave(5, noise=0.1))).scale[0, 0] < 0.3


def test_the_minimum_scale_follows_the_level_of_the_series() -> None:
    scorer = learned(over(np.full((3 * A_DAY, 1, 1), 200.0)), replace(SPEC, minimum_relative_scale=0.01))
    assert scorer.scale[0, 0] == pytest.approx(2.0)


@pytest.mark.parametrize(("days", "waves"), [(1.9, False), (2.1, True)])
def test_a_daily_profile_needs_two_days(days: float, waves: bool) -> None:
    scorer = learned(over(wave(days)))
    assert scorer.profile.shape[1] == DAY
    assert (np.ptp(scorer.profile) > 5) == waves


@pytest.mark.parametrize(("days", "slots"), [(13.9, DAY), (14.1, WEEK)])
def test_a_weekly_profile_needs_two_weeks(days: float, slots: int) -> None:
    assert learned(over(wave(days))).profile.shape[1] == slots


def test_a_weekly_profile_knows_quiet_weekends() -> None:
    scorer = learned(over(wave(21, weekend=0.1)))
    days = scorer.profile[0, :, 0].reshape(7, DAY)
    assert np.ptp(days[:5], axis=1).min() > 8
    assert np.ptp(days[5:6], axis=1).max() < 3


def test_features_with_short_history_share_a_stack_with_long_ones() -> None:
    both = np.concatenate([wave(21), wave(21)], axis=2)
    both[: 20 * A_DAY + 5, :, 1] = np.nan
    scorer = learned(over(both))
    assert scorer.profile.shape == (1, WEEK, 2)
    assert np.ptp(scorer.profile[0, :, 0]) > 5
    assert np.ptp(scorer.profile[0, :, 1]) == 0


def test_slots_that_were_never_seen_are_interpolated_around_midnight() -> None:
    days = wave(6, noise=0)
    hours = np.arange(len(days)) * STEP % 86400 / 3600
    days[(hours >= 22) | (hours < 2)] = np.nan
    scorer = learned(over(days))
    assert np.isfinite(scorer.profile).all()
    assert scorer.profile[0, 0, 0] == pytest.approx(10, abs=1)


def test_steps_longer_than_a_slot_work() -> None:
    t = np.arange(24 * 6)
    values = (10 + 5 * np.sin(t / 24 * 2 * np.pi)).reshape(-1, 1, 1)
    scorer = learned(over(values, step=3600))
    assert np.nanmax(scorer.infer(over(values, step=3600)).error) < 0.1


def test_a_stride_does_not_change_the_step() -> None:
    assert learned(over(wave(3), stride=4), replace(SPEC, stride=4)).step == STEP


def test_a_longer_tail_compares_every_sample_with_its_own_time() -> None:
    spec = replace(SPEC, window=12, tail=6)
    values = wave(4, noise=0.0)
    scorer = learned(over(values, window=12), spec)
    own_unit = scorer.infer(over(values, window=12)).error * scorer.scale
    assert np.nanmax(own_unit) < 0.4  # six samples of the steepest slope apart it would be 0.6


def test_a_series_never_seen_is_never_judged_and_stores_no_nan() -> None:
    scorer = learned(over(np.full((A_DAY, 1, 1), np.nan)))
    assert np.isfinite(scorer.profile).all()
    assert np.isnan(scorer.infer(over(np.ones((5, 1, 1)))).error).all()


def test_it_survives_storage_and_taking_rows() -> None:
    values = np.concatenate([wave(3), wave(3) * 2, wave(3) * 3], axis=1)
    scorer = learned(over(values))
    again = Seasonal.restore(scorer.spec(), scorer.tensors()).take([2, 0])
    assert isinstance(again, Scorer)
    w = over(values)
    chosen = Windows(w.x[[2, 0]], w.valid[[2, 0]], w.end[[2, 0]])
    np.testing.assert_array_equal(again.infer(chosen).error, scorer.infer(w).error[[2, 0]])


def test_no_series_are_no_error() -> None:
    assert learned(over(np.empty((5, 0, 1)))).infer(over(np.empty((5, 0, 1)))).error.shape == (0, 4)


def test_one_window_tells_no_step() -> None:
    with pytest.raises(InvalidShapeError, match="at least two windows"):
        learned(over(np.ones((2, 1, 1))))


def test_windows_of_other_series_are_refused() -> None:
    with pytest.raises(InvalidShapeError, match="received windows"):
        learned(over(np.ones((5, 2, 1)))).infer(over(np.ones((5, 3, 1))))


def test_profiles_that_do_not_fit_are_rejected() -> None:
    scorer = learned(over(wave(3)))
    tensors = scorer.tensors()
    for name, wrong in (
        ("profile", tensors["profile"][:, :100]),
        ("profile", tensors["profile"] * np.float32(np.nan)),
        ("scale", tensors["scale"] * 0),
    ):
        with pytest.raises(PackRejectedError):
            Seasonal.restore(scorer.spec(), {**tensors, name: wrong})
    with pytest.raises(PackRejectedError):
        Seasonal.restore({**scorer.spec(), "slots": 100}, {**tensors, "profile": tensors["profile"][:, :100]})
