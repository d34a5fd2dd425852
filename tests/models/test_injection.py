"""Promises of injected anomalies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models import injection
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.injection import SHAPES, Case

STEP = 60


def waves(T: int = 600, S: int = 3, F: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    day = np.sin(np.arange(T) / 90)[:, None, None]
    return (10 + 2 * day + 0.1 * rng.normal(size=(T, S, F))).astype(np.float32)


def everything(S: int, F: int) -> np.ndarray:
    return np.ones((S, F), np.bool_)


def of(shape: str, steps: int = 30, amplitude: float = 8, share: float = 1) -> Case:
    return Case(shape, amplitude, steps, share, 5)


def altered(case: Case, x: np.ndarray, at: int = 300) -> np.ndarray:
    size = injection.variation(x)
    return injection.inject(x, case, at, size, everything(*size.shape))


def test_local_variation_is_the_standard_deviation_of_noise_on_a_slow_course() -> None:
    assert injection.variation(waves(6000)) == pytest.approx(0.1, rel=0.15)


def test_the_typical_variation_is_that_of_most_stretches() -> None:
    x = waves(6000)
    usual = injection.typical(x, 500)
    assert usual == pytest.approx(injection.variation(x), rel=0.1)
    x[3500:] *= 1 + np.random.default_rng(1).normal(size=x[3500:].shape)
    x[:500, 1] = np.nan
    assert injection.typical(x, 500) == pytest.approx(usual, rel=0.1)
    assert injection.variation(x).min() > 2 * usual.max()
    assert (injection.typical(x[:600], 500) == injection.variation(x[:600])).all()


def test_local_variation_of_a_constant_is_a_hundredth_of_it_and_never_zero() -> None:
    x = np.full((100, 2, 1), 5, np.float32)
    x[:, 1] = 0
    assert injection.variation(x).ravel() == pytest.approx([0.05, 1e-6])


def test_missing_samples_leave_the_local_variation_finite() -> None:
    x = waves()
    x[100:200] = np.nan
    x[:, 0, 0] = np.nan
    size = injection.variation(x)
    assert np.isfinite(size).all()
    assert size[1] == pytest.approx(injection.variation(waves())[1], rel=0.3)


@pytest.mark.parametrize("shape", SHAPES)
def test_only_the_rows_and_features_of_the_case_are_touched(shape: str) -> None:
    x = waves()
    size = injection.variation(x)
    chosen = everything(3, 2)
    chosen[1] = [True, False]
    out = injection.inject(x, of(shape), 300, size, chosen)
    different = out != x
    assert not different[:300].any()
    assert not different[330:].any()
    assert not different[:, 1, 1].any()
    assert different[300:330].any(axis=0)[chosen].all()
    assert x is not out


def test_every_shape_looks_like_its_name() -> None:
    x = waves()
    size = injection.variation(x)
    before = x[299]
    part = {shape: altered(of(shape), x)[300:330] for shape in SHAPES}
    assert part["spike"] - x[300:330] == pytest.approx(np.broadcast_to(8 * size, (30, 3, 2)), rel=1e-3)
    assert part["dip"] - x[300:330] == pytest.approx(np.broadcast_to(-8 * size, (30, 3, 2)), rel=1e-3)
    leak = part["slow_leak"] - x[300:330]
    assert (np.diff(leak, axis=0) > 0).all()
    assert leak[-1] == pytest.approx(8 * size, rel=1e-3)
    jumps = {
        name: np.diff(y, axis=0).std(axis=0) for name, y in (("new", part["variance_change"]), ("old", x[300:330]))
    }
    assert jumps["new"].min() > 2 * jumps["old"].max()
    assert (part["flat_line"] == before).all()
    assert (part["drop_to_zero"] == 0).all()


def test_a_level_shift_lasts_an_hour_and_a_spike_five_minutes() -> None:
    steps = {case.shape: case.steps for case in injection.cases(STEP)}
    assert steps == {
        "spike": 5,
        "dip": 5,
        "level_shift": 60,
        "slow_leak": 120,
        "variance_change": 60,
        "flat_line": 60,
        "drop_to_zero": 15,
    }


def test_on_a_coarse_grid_no_case_is_shorter_than_an_alert_needs() -> None:
    assert min(case.steps for case in injection.cases(300, least=4)) == 4


def test_a_series_that_was_never_negative_does_not_dip_below_zero() -> None:
    x = np.abs(waves()) * 0.01
    assert altered(of("dip", amplitude=1e4), x).min() == 0
    below = x - 1
    assert altered(of("dip", amplitude=1e4), below).min() < -1


def test_missing_samples_stay_missing() -> None:
    x = waves()
    x[310] = np.nan
    assert np.isnan(altered(of("drop_to_zero"), x)[310]).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_seed_gives_the_same_anomaly_whoever_is_beside_it(shape: str) -> None:
    x = waves()
    alone = altered(of(shape), x[:, :1])
    assert (altered(of(shape), x)[:, :1] == alone).all()


@given(st.integers(0, 40), st.integers(0, 20), st.integers(1, 40), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_place_has_calm_rows_and_room_on_both_sides(lead: int, trail: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    calm = rng.random((150, 4)) < 0.98
    start = injection.places(calm, Case("spike", 4, steps, 1, seed), lead, trail)
    for s, at in enumerate(start):
        if at >= 0:
            assert lead <= at <= 150 - steps - trail
            assert calm[at : at + steps, s].all()
            assert calm[at - lead : at + steps + trail, s].mean() >= injection.OBSERVED


def test_without_room_there_is_no_place() -> None:
    calm = np.ones((50, 2), np.bool_)
    calm[:, 1] = False
    assert injection.places(calm, of("spike", 5), 10).tolist()[1] == -1
    assert injection.places(calm, of("spike", 5), 46).tolist() == [-1, -1]


def test_an_excerpt_holds_the_rows_around_its_start_and_nan_where_there_is_none() -> None:
    x = waves()
    out = injection.excerpts(x, np.array([100, -1, 599]), 10, 20)
    assert (out[:, 0] == x[90:110, 0]).all()
    assert np.isnan(out[:, 1]).all()
    assert (out[:11, 2] == x[589:600, 2]).all()
    assert np.isnan(out[11:, 2]).all()


def test_at_least_one_living_feature_is_chosen_and_never_a_dead_one() -> None:
    alive = np.array([[True] * 8, [False, True] * 4, [False] * 8])
    for share, number in ((0.0, (1, 1)), (0.25, (2, 1)), (1.0, (8, 4))):
        chosen = injection.features(alive, of("spike", share=share))
        assert not (chosen & ~alive).any()
        assert chosen.sum(axis=1).tolist() == [*number, 0]


def test_a_zero_that_drops_to_zero_and_a_constant_that_goes_flat_are_no_anomalies() -> None:
    x = waves()
    x[:, 0] = 0
    x[:, 1] = 7
    size = injection.variation(x)
    assert injection.visible(x, altered(of("drop_to_zero"), x), size).tolist() == [False, True, True]
    assert injection.visible(x, altered(of("flat_line"), x), size).tolist() == [False, False, True]


def test_impossible_cases_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="shape must be one of spike"):
        of("earthquake")
    with pytest.raises(ValueError, match="amplitude must be positive"):
        of("spike", amplitude=0)
    with pytest.raises(InvalidShapeError, match="30 steps from row 590"):
        altered(of("spike"), waves(), 590)
    with pytest.raises(InvalidShapeError, match=r"\[T, S, F\]"):
        injection.variation(np.zeros((3, 2), np.float32))
