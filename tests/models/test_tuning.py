"""Promises of the random search: what is drawn, how settings are compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anomaly_models import tuning
from anomaly_models.model_spec import ModelSpec
from anomaly_models.tuning import RELEVANT, SPACE, Trial

FC = ModelSpec("fc")


def trial(recall: float | None, mae: float | None = 1.0) -> Trial:
    return Trial({"units": 64}, recall, recall, mae, 1.0)


@pytest.mark.parametrize("recipe", RELEVANT)
def test_settings_are_different_and_of_the_space(recipe: str) -> None:
    found = list(tuning.settings(ModelSpec(recipe), 50, 0))
    assert len({tuple(sorted(picked.items())) for picked in found}) == 50
    for picked in found:
        assert tuple(picked) == RELEVANT[recipe]
        assert all(value in SPACE[name] for name, value in picked.items())
        tuning.changed(ModelSpec(recipe), picked)


def test_the_same_seed_draws_the_same_settings_and_another_seed_others() -> None:
    first, again, other = (list(tuning.settings(FC, 5, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert list(tuning.settings(FC, 3, 1)) == first[:3]


def test_no_more_settings_are_drawn_than_there_are() -> None:
    assert len(list(tuning.settings(FC, 10_000, 0))) == 4 * 4 * 5 * 2 * 3


def test_the_ensemble_tunes_its_autoencoder() -> None:
    auto = ModelSpec("auto", autoencoder="gru")
    assert tuple(next(tuning.settings(auto, 1, 0))) == RELEVANT["gru"]


def test_what_is_no_autoencoder_cannot_be_tuned() -> None:
    with pytest.raises(ValueError, match=r"only autoencoders can be tuned \(fc, .*received the recipe 'zscore'"):
        list(tuning.settings(ModelSpec("zscore"), 1, 0))


def test_a_tail_longer_than_the_window_becomes_the_window() -> None:
    assert tuning.changed(replace(FC, window=48, tail=24), {"window": 12}).tail == 12
    assert tuning.changed(replace(FC, tail=3), {"window": 12}).tail == 3


def test_recall_decides_and_error_breaks_ties() -> None:
    untuned = trial(0.5)
    assert trial(0.6).objective(untuned) > trial(0.5, 0.5).objective(untuned)
    assert trial(0.5, 0.5).objective(untuned) > untuned.objective(untuned)
    assert trial(None).objective(untuned) == float("-inf")
    assert trial(0.5, None).objective(untuned) == 0.5


def test_the_untuned_model_wins_where_nothing_is_better() -> None:
    untuned = trial(0.5)
    assert tuning.winner([trial(0.5), trial(0.4, 0.1), trial(None)], untuned) is untuned
    better = trial(0.5, 0.9)
    assert tuning.winner([trial(0.5), better], untuned) is better
