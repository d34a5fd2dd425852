"""The registry of fitted members: one place that knows every kind of scorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .autoencoder import Autoencoder
from .ensemble import Ensemble
from .exceptions import InvalidShapeError, PackRejectedError
from .frame import F32, Learner, Scorer
from .model_spec import ModelSpec
from .pca import Pca, PcaLearner
from .seasonal import Seasonal, SeasonalLearner
from .slot_members import SlotLearner, SlotMember
from .zscore import ZScore, ZScoreLearner

KINDS: dict[str, Callable[[Mapping[str, Any], Mapping[str, F32]], Scorer]] = {
    "auto": Ensemble.restore,
    "autoencoder": Autoencoder.restore,
    "band": partial(SlotMember.restore, "band"),
    "difference": partial(SlotMember.restore, "difference"),
    "level": partial(SlotMember.restore, "level"),
    "pca": Pca.restore,
    "seasonal": Seasonal.restore,
    "zscore": ZScore.restore,
}
"""How every stored kind is restored from its specification and tensors."""

SIMPLE: dict[str, Callable[[ModelSpec], Learner]] = {
    "band": partial(SlotLearner, "band"),
    "difference": partial(SlotLearner, "difference"),
    "level": partial(SlotLearner, "level"),
    "pca": PcaLearner,
    "seasonal": SeasonalLearner,
    "zscore": ZScoreLearner,
}
"""Recipes that are learned without Keras."""


def restore(kind: str, spec: Mapping[str, Any], tensors: Mapping[str, F32]) -> Scorer:
    """The scorer of a stored pack.

    Raises:
        PackRejectedError: the kind is unknown, or specification and tensors do not make such a scorer.
    """
    if kind not in KINDS:
        raise PackRejectedError(f"kind must be one of {', '.join(sorted(KINDS))}, received {kind!r:.80}")
    try:
        return KINDS[kind](spec, tensors)
    except InvalidShapeError as error:
        raise PackRejectedError(str(error)) from error


def simple_learner(spec: ModelSpec) -> Learner:
    """The learner of a recipe that needs no Keras.

    Raises:
        KeyError: the recipe is an autoencoder's or unknown.
    """
    return SIMPLE[spec.recipe](spec)
