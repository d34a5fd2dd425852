"""Promises of the public API for notebooks."""

from __future__ import annotations

import doctest
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly_models import estimator
from anomaly_models.estimator import AnomalyDetector, NotFittedError
from anomaly_models.exceptions import InvalidShapeError, PackError, UntrainableError

ROOT = Path(__file__).resolve().parents[2]


def a_series(days: int = 3, features: int = 1, seed: int = 0) -> np.ndarray:
    t = np.arange(days * 288) * 300
    noise = np.random.default_rng(seed).normal(size=(t.size, features))
    values = 10 + np.sin(2 * np.pi * t / 86400)[:, None] * np.arange(1, features + 1) + 0.05 * noise
    return values[:, 0] if features == 1 else values


@pytest.mark.parametrize("recipe", ["zscore", "seasonal", "pca"])
def test_a_spike_scores_above_1_and_ordinary_days_do_not(recipe: str) -> None:
    values = a_series()
    detector = AnomalyDetector(recipe, window=12).fit(values, step=300)
    ordinary = a_series(days=1, seed=1)
    spiked = ordinary.copy()
    spiked[200] += 6
    assert np.nanmax(detector.score(ordinary)) < 1
    assert detector.score(spiked)[200] > 1
    assert detector.predict(spiked)[200] == -1
    assert detector.predict(ordinary).min() == 1


def test_scores_and_reconstructions_keep_the_shape_and_begin_with_the_first_full_window() -> None:
    detector = AnomalyDetector("pca", window=12).fit(a_series(features=2), step=300)
    today = a_series(days=1, features=2, seed=1)
    assert detector.score(today).shape == (288,)
    assert detector.reconstruct(today).shape == today.shape
    assert np.isnan(detector.score(today)[:11]).all()
    assert np.isfinite(detector.score(today)[11:]).all()
    single = AnomalyDetector("pca", window=12).fit(a_series(), step=300)
    assert single.reconstruct(a_series(1)).shape == (288,)
    assert np.nanmax(np.abs(single.reconstruct(a_series(1)) - a_series(1))) < 0.5


def test_data_shorter_than_a_window_gets_no_score() -> None:
    detector = AnomalyDetector("pca", window=12).fit(a_series(), step=300)
    assert np.isnan(detector.score(np.ones(11))).all()
    assert detector.score(np.ones(0)).shape == (0,)


def test_missing_samples_get_no_score_and_do_not_disturb_the_rest() -> None:
    detector = AnomalyDetector("zscore", window=2).fit(a_series(), step=300)
    today = a_series(1, seed=1)
    holed = today.copy()
    holed[100] = np.inf
    score = detector.score(holed)
    assert np.isnan(score[100])
    np.testing.assert_array_equal(np.delete(score, 100), np.delete(detector.score(today), 100))


def test_the_time_of_day_follows_the_training_data() -> None:
    values = a_series(days=5)
    detector = AnomalyDetector("seasonal", window=2).fit(values[: -288 // 2], step=300, start=0)
    afternoon = values[-288 // 2 :]
    assert np.nanmax(detector.score(afternoon)) < 1
    assert np.nanmax(detector.score(afternoon, start=0)) > 1


def test_data_frames_are_welcome_and_their_columns_are_remembered() -> None:
    frame = pd.DataFrame(a_series(features=2), columns=["cpu", "memory"])
    detector = AnomalyDetector("pca", window=4).fit(frame, step=300)
    assert detector.feature_names_in_ == ("cpu", "memory")
    assert detector.n_features_in_ == 2
    assert set(detector.quality_) == {"train", "validation", "test"}


def test_a_saved_detector_comes_back_with_the_same_scores(tmp_path: Path) -> None:
    detector = AnomalyDetector("pca", window=12, threshold="p99", tail=3).fit(a_series(), step=300, start=300)
    detector.save(tmp_path / "cpu")
    again = AnomalyDetector.load(tmp_path / "cpu")
    today = a_series(1, seed=2)
    np.testing.assert_array_equal(again.score(today), detector.score(today))
    np.testing.assert_array_equal(again.reconstruct(today), detector.reconstruct(today))
    assert again.threshold_ == detector.threshold_
    assert again.plan.model == detector.plan.model


def test_saving_never_overwrites(tmp_path: Path) -> None:
    detector = AnomalyDetector("zscore").fit(a_series(), step=300)
    detector.save(tmp_path / "cpu")
    with pytest.raises(FileExistsError):
        detector.save(tmp_path / "cpu")


def test_a_damaged_folder_is_a_pack_error(tmp_path: Path) -> None:
    detector = AnomalyDetector("zscore").fit(a_series(), step=300)
    detector.save(tmp_path / "cpu")
    (tmp_path / "cpu" / "scale.npy").unlink()
    with pytest.raises(PackError):
        AnomalyDetector.load(tmp_path / "cpu")


def test_using_it_before_fit_says_what_to_do() -> None:
    with pytest.raises(NotFittedError, match="call fit or load first"):
        AnomalyDetector("zscore").score(np.ones(9))


def test_too_little_data_says_why() -> None:
    with pytest.raises(UntrainableError) as caught:
        AnomalyDetector("zscore", window=24).fit(np.ones(20))
    assert caught.value.reason == "no_windows"
    with pytest.raises(UntrainableError) as caught:
        AnomalyDetector("zscore").fit(np.full(500, np.nan))
    assert caught.value.reason == "no_data"


def test_the_wrong_number_of_features_says_so() -> None:
    detector = AnomalyDetector("zscore").fit(a_series(), step=300)
    with pytest.raises(InvalidShapeError, match="expected 1 features, received 2"):
        detector.score(a_series(features=2))


def test_the_doctest_is_true() -> None:
    assert doctest.testmod(estimator).failed == 0


def test_the_example_finds_the_incident(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["detect_in_a_notebook.py"])
    runpy.run_path(str(ROOT / "examples" / "detect_in_a_notebook.py"))
    out = capsys.readouterr().out
    assert "the first is sample 330" in out
    assert "saved and loaded: same scores" in out


def test_auto_scores_rarity_and_survives_saving(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    t = np.arange(4 * 144) * 600
    series = 10 + np.sin(2 * np.pi * t / 86400) + 0.1 * rng.normal(size=t.size)
    detector = AnomalyDetector("auto", window=8, epochs=1, max_windows=64).fit(series, step=600)
    following = series[-288:].copy()
    following[-3:] += 3
    score = detector.score(following)
    assert score[-3:].max() > 1
    assert np.nanmedian(score[:-3]) < 0.5
    assert detector.predict(following)[-3:].min() == -1
    detector.save(tmp_path / "auto")
    np.testing.assert_array_equal(AnomalyDetector.load(tmp_path / "auto").score(following), score)
