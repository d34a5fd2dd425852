"""Promises of the linear autoencoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly_models import pca, windows
from anomaly_models.exceptions import InvalidShapeError, PackRejectedError
from anomaly_models.frame import Scorer, Windows
from anomaly_models.model_spec import ModelSpec
from anomaly_models.pca import Pca, PcaLearner

RNG = np.random.default_rng(0)
SPEC = ModelSpec("pca", window=24)
T = 2000
WAVE = (10 + 3 * np.sin(np.arange(T) / 100 * 2 * np.pi)).reshape(-1, 1, 1) + RNG.normal(0, 0.05, (T, 1, 1))


def over(values: np.ndarray, window: int = 24) -> Windows:
    """Windows over ``values`` [T, N, F] without bridging."""
    return windows.make(values.astype(np.float32), np.isfinite(values), 0, 60, window)


def learned(values: np.ndarray, spec: ModelSpec = SPEC) -> Pca:
    w = over(values, spec.window)
    return PcaLearner(spec).fit(w, w, None, None, 0)


def test_it_reconstructs_what_it_knows_far_better_than_the_level_does() -> None:
    error = learned(WAVE).infer(over(WAVE)).error
    level = np.abs(WAVE[23:] - np.median(WAVE)).mean() / learned(WAVE).scale[0, 0]
    assert error.mean() < 0.2 * level


def test_a_spike_stands_out() -> None:
    spiked = WAVE.copy()
    spiked[1500] += 3
    scorer = learned(WAVE)
    error = scorer.infer(over(spiked)).error[0]
    assert error[1500 - 23] == error.max()
    assert error[1500 - 23] > 5 * np.median(error)


def test_components_are_orthonormal_and_never_more_than_a_third() -> None:
    scorer = learned(RNG.normal(size=(T, 1, 1)))
    kept = scorer.components[0]
    assert len(kept) == 8
    np.testing.assert_allclose(kept @ kept.T, np.eye(8), atol=1e-5)


def test_each_series_keeps_its_own_number_of_components() -> None:
    both = np.concatenate([WAVE, RNG.normal(size=(T, 1, 1))], axis=1)
    used = (np.abs(learned(both).components).sum(axis=2) > 0).sum(axis=1)
    assert used[0] < used[1] == 8


def test_a_series_in_a_stack_is_the_series_alone() -> None:
    both = np.concatenate([WAVE, WAVE**2, RNG.normal(size=(T, 1, 1))], axis=1)
    together = learned(both).infer(over(both)).error
    for s in range(3):
        alone = both[:, s : s + 1]
        np.testing.assert_allclose(learned(alone).infer(over(alone)).error[0], together[s], rtol=1e-3, atol=1e-4)


def test_long_histories_are_thinned_evenly() -> None:
    few = learned(WAVE, replace(SPEC, max_windows=64))
    assert few.infer(over(WAVE)).error.mean() == pytest.approx(learned(WAVE).infer(over(WAVE)).error.mean(), rel=0.3)


def test_unusable_windows_teach_nothing() -> None:
    holes = WAVE.copy()
    holes[500:510] = np.nan
    scorer = learned(holes)
    assert np.isfinite(scorer.components).all()
    error = scorer.infer(over(holes)).error[0]
    assert np.isnan(error).nonzero()[0].tolist() == list(range(500 - 23, 510))


def test_a_missing_feature_of_38_leaves_the_others_judged() -> None:
    source = RNG.normal(size=(T, 1, 3)) @ RNG.normal(size=(3, 38))
    scorer = learned(source, replace(SPEC, window=4))
    now = source[-10:].copy()
    now[:, 0, 5] = np.nan
    inference = scorer.infer(over(now, 4))
    assert np.isfinite(inference.error).all()
    assert np.isnan(inference.feature_error[0, :, 5]).all()
    assert np.isfinite(np.delete(inference.feature_error[0], 5, axis=1)).all()


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = learned(WAVE)
    whole = scorer.infer(over(WAVE))
    monkeypatch.setattr(pca, "CHUNK_FLOATS", 24 * 100)
    np.testing.assert_allclose(scorer.infer(over(WAVE)).error, whole.error, atol=1e-5)


@pytest.mark.parametrize("value", [7.0, np.nan])
def test_constant_and_missing_series_store_finite_numbers(value: float) -> None:
    scorer = learned(np.full((100, 1, 1), value))
    assert all(np.isfinite(t).all() for t in scorer.tensors().values())
    error = scorer.infer(over(np.full((30, 1, 1), 7.0))).error
    assert np.isnan(error).all() if np.isnan(value) else (error == 0).all()


def test_no_series_and_no_windows_are_no_error() -> None:
    assert learned(np.empty((50, 0, 1))).infer(over(np.empty((50, 0, 1)))).error.shape == (0, 27)
    assert learned(WAVE).infer(over(WAVE[:5])).error.shape == (1, 0)


def test_a_window_of_too_many_numbers_is_refused() -> None:
    with pytest.raises(InvalidShapeError, match="at most 2048"):
        learned(np.ones((40, 1, 100)), SPEC)


def test_it_survives_storage_and_taking_rows() -> None:
    both = np.concatenate([WAVE, WAVE**2, WAVE * 0.5], axis=1)
    scorer = learned(both)
    again = Pca.restore(scorer.spec(), scorer.tensors()).take([2, 0])
    assert isinstance(again, Scorer)
    w = over(both)
    chosen = Windows(w.x[[2, 0]], w.valid[[2, 0]], w.end[[2, 0]])
    np.testing.assert_allclose(again.infer(chosen).error, scorer.infer(w).error[[2, 0]], atol=1e-5)


def test_tensors_that_do_not_fit_are_rejected() -> None:
    scorer = learned(WAVE)
    tensors = scorer.tensors()
    for name, wrong in (("mean", tensors["mean"][:, :5]), ("components", tensors["components"] * np.float32(np.inf))):
        with pytest.raises(PackRejectedError, match=name):
            Pca.restore(scorer.spec(), {**tensors, name: wrong})


def test_windows_of_another_length_are_refused() -> None:
    with pytest.raises(InvalidShapeError, match="received"):
        learned(WAVE).infer(over(WAVE, 12))
