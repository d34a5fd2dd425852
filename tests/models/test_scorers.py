"""Promises of the registry: every stored kind comes back, nothing else does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anomaly_models import scorers, windows
from anomaly_models.exceptions import PackRejectedError
from anomaly_models.frame import Scorer
from anomaly_models.model_spec import ModelSpec, read_counts

VALUES = np.random.default_rng(0).normal(10, 1, (600, 2, 3)).astype(np.float32)
W = windows.make(VALUES, np.isfinite(VALUES), 0, 600, 6)


def fitted(recipe: str) -> Scorer:
    return scorers.simple_learner(ModelSpec(recipe, window=6, tail=2)).fit(W, W, None, None, 0)


@pytest.mark.parametrize("recipe", sorted(scorers.SIMPLE))
def test_every_simple_member_is_learned_stored_and_restored_unchanged(recipe: str) -> None:
    scorer = fitted(recipe)
    again = scorers.restore(scorer.kind, scorer.spec(), scorer.tensors())
    before, after = scorer.infer(W), again.infer(W)
    np.testing.assert_array_equal(after.error, before.error)
    np.testing.assert_array_equal(after.expected, before.expected)
    assert again.window == 6


@pytest.mark.parametrize("recipe", sorted(scorers.SIMPLE))
def test_every_tensor_is_float32_finite_and_one_row_per_series(recipe: str) -> None:
    for name, tensor in fitted(recipe).tensors().items():
        assert tensor.dtype == np.float32, name
        assert tensor.shape[0] == 2, name
        assert np.isfinite(tensor).all(), name


@pytest.mark.parametrize("recipe", sorted(scorers.SIMPLE))
def test_the_error_is_the_mean_of_the_features_and_float32(recipe: str) -> None:
    inference = fitted(recipe).infer(W)
    assert inference.error.dtype == np.float32
    np.testing.assert_allclose(inference.error, inference.feature_error.mean(axis=2), rtol=1e-5)


def test_an_unknown_kind_is_rejected_by_name() -> None:
    with pytest.raises(PackRejectedError, match="received 'pickle'"):
        scorers.restore("pickle", {}, {})


@pytest.mark.parametrize("kind", sorted(scorers.KINDS))
def test_a_specification_without_its_fields_is_rejected(kind: str) -> None:
    with pytest.raises(PackRejectedError):
        scorers.restore(kind, {}, {})


@pytest.mark.parametrize("recipe", sorted(scorers.SIMPLE))
def test_missing_tensors_are_rejected(recipe: str) -> None:
    scorer = fitted(recipe)
    for name in scorer.tensors():
        rest = {k: v for k, v in scorer.tensors().items() if k != name}
        with pytest.raises(PackRejectedError):
            scorers.restore(scorer.kind, scorer.spec(), rest)


@pytest.mark.parametrize("wrong", [0, -1, 2**21, 2.0, "2", None, True])
def test_counts_are_whole_positive_and_bounded(wrong: Any) -> None:
    with pytest.raises(PackRejectedError, match="window"):
        read_counts({"window": wrong, "tail": 1}, ("window", "tail"))


def test_a_tail_longer_than_its_window_is_rejected() -> None:
    with pytest.raises(PackRejectedError, match="tail must not exceed"):
        read_counts({"window": 2, "tail": 3}, ("window", "tail"))
    assert read_counts({"window": 3, "tail": 3}, ("window", "tail")) == (3, 3)


def test_unknown_fields_are_rejected() -> None:
    with pytest.raises(PackRejectedError, match="more"):
        read_counts({"window": 2, "more": 3}, ("window",))


def test_autoencoders_are_not_simple() -> None:
    with pytest.raises(KeyError):
        scorers.simple_learner(ModelSpec("fc"))


@pytest.mark.parametrize("wrong", [{"window": 0}, {"tail": 25}, {"minimum_scale": 0.0}, {"min_features": 0}])
def test_a_model_specification_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="received"):
        ModelSpec("fc", **wrong)
