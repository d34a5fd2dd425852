"""Promises of the simplest member."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_models import windows
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Scorer, Windows
from anomaly_models.model_spec import ModelSpec
from anomaly_models.zscore import ZScore, ZScoreLearner

RNG = np.random.default_rng(0)
SPEC = ModelSpec("zscore", window=2, scaler="standard")


def over(values: np.ndarray, window: int = 2) -> Windows:
    """Windows over ``values`` [T, N, F] without bridging."""
    return windows.make(values.astype(np.float32), np.isfinite(values), 0, 60, window)


def learned(values: np.ndarray, spec: ModelSpec = SPEC) -> ZScore:
    w = over(values, spec.window)
    return ZScoreLearner(spec).fit(w, w, None, None, 0)


def test_with_the_standard_scaler_the_error_is_the_classic_z() -> None:
    train = RNG.normal(10, 2, (5000, 1, 1))
    scorer = learned(train)
    mean, std = train[1:].mean(), train[1:].std()
    inference = scorer.infer(over(np.array([10.0, 17.0]).reshape(2, 1, 1)))
    assert inference.error[0, 0] == pytest.approx(abs(17 - mean) / std, rel=1e-3)
    assert inference.expected is not None
    assert inference.expected[0, 0, 0] == pytest.approx(mean, rel=1e-5)


def test_with_the_robust_scaler_outliers_in_training_hardly_matter() -> None:
    train = RNG.normal(10, 2, (5000, 1, 1))
    train[::100] = 1e6
    scorer = learned(train, ModelSpec("zscore", window=2, scaler="robust"))
    assert scorer.infer(over(np.full((2, 1, 1), 16.0))).error[0, 0] == pytest.approx(3, rel=0.05)


def test_a_constant_series_gets_a_finite_error() -> None:
    scorer = learned(np.full((50, 1, 1), 5.0))
    assert scorer.infer(over(np.full((2, 1, 1), 5.0))).error[0, 0] == 0
    assert np.isfinite(scorer.infer(over(np.full((2, 1, 1), 6.0))).error[0, 0])


def test_a_series_never_seen_is_never_judged() -> None:
    scorer = learned(np.full((50, 1, 1), np.nan))
    inference = scorer.infer(over(np.ones((2, 1, 1))))
    assert np.isnan(inference.error).all()
    assert inference.expected is not None
    assert np.isnan(inference.expected).all()


def test_a_missing_feature_of_38_leaves_the_others_judged() -> None:
    scorer = learned(RNG.normal(size=(500, 2, 38)))
    now = RNG.normal(size=(2, 2, 38))
    now[1, 0, 7] = np.nan
    inference = scorer.infer(over(now))
    assert np.isfinite(inference.error).all()
    assert np.isnan(inference.feature_error[0, 0]).nonzero()[0].tolist() == [7]


def test_it_survives_storage_and_taking_rows() -> None:
    scorer = learned(RNG.normal(size=(100, 3, 2)))
    again = ZScore.restore(scorer.spec(), scorer.tensors()).take([2, 0])
    assert isinstance(again, Scorer)
    w = over(RNG.normal(size=(2, 3, 2)))
    chosen = Windows(w.x[[2, 0]], w.valid[[2, 0]], w.end[[2, 0]])
    np.testing.assert_array_equal(again.infer(chosen).error, scorer.infer(w).error[[2, 0]])


def test_no_series_are_no_error() -> None:
    assert learned(np.empty((5, 0, 1))).infer(over(np.empty((5, 0, 1)))).error.shape == (0, 4)


def test_windows_of_other_series_are_refused() -> None:
    with pytest.raises(InvalidShapeError, match="received windows"):
        learned(np.ones((5, 2, 1))).infer(over(np.ones((5, 3, 1))))
