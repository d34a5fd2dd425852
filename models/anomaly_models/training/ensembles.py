"""The recipe ``auto``: fit its autoencoder as any other, then draw the context from the whole history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anomaly_models.autoencoder import Autoencoder
from anomaly_models.ensemble import Ensemble
from anomaly_models.ensemble_spec import EnsembleSpec
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Scorer
from anomaly_models.model_spec import ModelSpec
from anomaly_models.renewal import contexts

from .parts import Survey

AUTO = "auto"


def fitted_part(model: ModelSpec) -> ModelSpec:
    """What is fitted of ``model``: of an ensemble its autoencoder."""
    return replace(model, recipe=model.autoencoder) if model.recipe == AUTO else model


def fitted_scorer(scorer: Scorer) -> Scorer:
    """What was fitted of ``scorer``: of an ensemble its autoencoder."""
    return scorer.autoencoder if isinstance(scorer, Ensemble) else scorer


def complete(scorer: Scorer, found: Survey, rows: Sequence[int], spec: EnsembleSpec) -> Ensemble:
    """The ensembles of the fitted autoencoders ``rows`` of ``scorer``, with a context of all that ``found`` holds.

    Raises:
        InvalidShapeError: ``scorer`` is not a stack of autoencoders.
    """
    if not isinstance(scorer, Autoencoder):
        raise InvalidShapeError(f"an ensemble needs autoencoders, received {scorer.kind}; choose another recipe")
    kept = scorer.take(rows)
    block = found.block
    context = contexts(kept, found.x[:, rows], found.valid[:, rows], block.start, block.step, spec)
    return Ensemble(kept, context, block.step, spec)
