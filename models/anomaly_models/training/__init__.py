"""From a block of history to a pack of models with their thresholds and figures."""

from .batch import Plan, Previous, Probe, TrainedBatch, TrainedRow, make_learner, train
from .ensembles import fitted_part
from .own_or_shared import OwnOrShared, Scope, can_share
from .parts import SPLITS, Parts, Survey, prepare, survey
from .shared_fit import FEWEST_SERIES, MOST_SERIES, SharedFit, train_shared

__all__ = [
    "FEWEST_SERIES",
    "MOST_SERIES",
    "SPLITS",
    "OwnOrShared",
    "Parts",
    "Plan",
    "Previous",
    "Probe",
    "Scope",
    "SharedFit",
    "Survey",
    "TrainedBatch",
    "TrainedRow",
    "can_share",
    "fitted_part",
    "make_learner",
    "prepare",
    "survey",
    "train",
    "train_shared",
]
