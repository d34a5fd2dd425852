"""Promises of scaling: honest units, never a division by zero, never NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomaly_models.exceptions import InvalidShapeError, PackRejectedError
from anomaly_models.scaling import UNSEEN, Scaler, fit, quantiles

KINDS = ("robust", "min_max", "standard")
NORMAL = np.random.default_rng(0).normal(50, 4, (1, 20_000, 1)).astype(np.float32)


def series(*samples: float) -> np.ndarray:
    return np.array(samples, np.float32).reshape(1, -1, 1)


@pytest.mark.parametrize("kind", ["robust", "standard"])
def test_the_scale_of_normal_noise_is_its_standard_deviation(kind: str) -> None:
    scaler = fit(NORMAL, kind, 1e-6, 0.0)
    assert scaler.center[0, 0] == pytest.approx(50, rel=0.01)
    assert scaler.scale[0, 0] == pytest.approx(4, rel=0.02)


def test_min_max_brings_training_data_to_minus_one_and_one() -> None:
    scaler = fit(series(2, 4, 10), "min_max", 1e-6, 0.0)
    units = scaler.to_units(series(2, 4, 10)[:, None])
    assert units.ravel().tolist() == [-1.0, -0.5, 1.0]


def test_one_wild_sample_in_a_hundred_hardly_moves_the_robust_scale() -> None:
    wild = NORMAL[:, :1000].copy()
    wild[:, ::100] = 1e9
    assert fit(wild, "robust", 1e-6, 0.0).scale[0, 0] == pytest.approx(4, rel=0.1)


def test_a_series_that_rests_most_of_the_time_is_scaled_by_its_standard_deviation() -> None:
    resting = series(*[0.0] * 90, *[100.0] * 10)
    assert fit(resting, "robust", 1e-6, 0.0).scale[0, 0] == pytest.approx(30)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_series_gets_the_minimum_scale(kind: str) -> None:
    assert fit(series(0, 0, 0), kind, 1e-3, 0.01).scale[0, 0] == pytest.approx(1e-3)
    assert fit(series(200, 200, 200), kind, 1e-3, 0.01).scale[0, 0] == pytest.approx(2.0)


def test_the_relative_minimum_follows_the_level_when_one_is_given() -> None:
    level = np.array([[1000.0]])
    assert fit(series(0, 0, 0), "robust", 1e-6, 0.01, level).scale[0, 0] == pytest.approx(10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_feature_without_any_sample_is_marked_unseen(kind: str) -> None:
    scaler = fit(np.full((2, 5, 1), np.nan, np.float32), kind, 1e-6, 0.01)
    assert (scaler.scale == UNSEEN).all()
    assert (scaler.center == 0).all()


@pytest.mark.parametrize("shape", [(0, 5, 1), (1, 0, 1), (0, 0, 0)])
def test_no_series_and_no_samples_are_no_error(shape: tuple[int, int, int]) -> None:
    assert fit(np.empty(shape, np.float32), "robust", 1e-6, 0.01).scale.shape == (shape[0], shape[2])


def test_missing_samples_do_not_count() -> None:
    with_gaps = series(1, np.nan, 2, np.inf, 3)
    for kind in KINDS:
        expected, received = fit(series(1, 2, 3), kind, 1e-6, 0.0), fit(with_gaps, kind, 1e-6, 0.0)
        assert received.center == expected.center
        assert received.scale == expected.scale


@settings(deadline=None, max_examples=60)
@given(
    arrays(
        np.float32,
        (2, 7, 3),
        elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False) | st.just(np.nan),
    ),
    st.sampled_from(KINDS),
)
def test_whatever_the_data_scales_are_finite_and_positive(values: np.ndarray, kind: str) -> None:
    scaler = fit(values, kind, 1e-6, 0.01)
    assert np.isfinite(scaler.center).all()
    assert np.isfinite(scaler.scale).all()
    assert (scaler.scale > 0).all()


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, (2, 9, 2), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False) | st.just(np.nan)))
def test_quantiles_agree_with_numpy(values: np.ndarray) -> None:
    received = quantiles(values, (0.0, 0.25, 0.5, 1.0))
    for s in range(2):
        for f in range(2):
            seen = values[s, ~np.isnan(values[s, :, f]), f].astype(np.float64)
            if seen.size:
                np.testing.assert_allclose(received[:, s, f], np.quantile(seen, (0, 0.25, 0.5, 1)), rtol=1e-9)
            else:
                assert np.isnan(received[:, s, f]).all()


def test_units_and_back_are_inverse() -> None:
    scaler = fit(NORMAL, "robust", 1e-6, 0.01)
    x = NORMAL[:, :24].reshape(1, 2, 12, 1)
    np.testing.assert_allclose(scaler.back(scaler.to_units(x)), x, rtol=1e-5)


def test_take_keeps_the_order_of_the_rows() -> None:
    scaler = Scaler(np.arange(3, dtype=np.float32)[:, None], np.ones((3, 1), np.float32))
    assert scaler.take([2, 0]).center.ravel().tolist() == [2.0, 0.0]


def test_wrong_axes_and_unknown_kinds_are_named() -> None:
    with pytest.raises(InvalidShapeError, match=r"\[S, T, F\], received \(3,\)"):
        fit(np.zeros(3, np.float32), "robust", 1e-6, 0.01)
    with pytest.raises(ValueError, match="received 'log'"):
        fit(NORMAL, "log", 1e-6, 0.01)  # type: ignore[arg-type]


GOOD = np.ones((2, 1), np.float32)


@pytest.mark.parametrize(
    "tensors",
    [
        {"center": GOOD},
        {"scale": GOOD},
        {"center": GOOD[0], "scale": GOOD[0]},
        {"center": np.ones((2, 2), np.float32), "scale": np.ones((2, 2), np.float32)},
        {"center": GOOD, "scale": np.ones((3, 1), np.float32)},
        {"center": GOOD, "scale": 0 * GOOD},
        {"center": GOOD * np.nan, "scale": GOOD},
    ],
)
def test_stored_scalers_that_could_break_scoring_are_rejected(tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises(PackRejectedError):
        Scaler.restore(tensors, 1)
