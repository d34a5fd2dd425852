"""From a block of history to a pack of models with their thresholds and figures."""

from .batch import Plan, Previous, Probe, TrainedBatch, TrainedRow, make_learner, train
from .parts import SPLITS, Parts, Survey, prepare, survey

__all__ = [
    "SPLITS",
    "Parts",
    "Plan",
    "Previous",
    "Probe",
    "Survey",
    "TrainedBatch",
    "TrainedRow",
    "make_learner",
    "prepare",
    "survey",
    "train",
]
