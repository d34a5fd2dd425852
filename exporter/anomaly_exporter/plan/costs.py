"""What a configuration costs, as arithmetic: shapes of the models, and constants that were measured.

Where a constant comes from stands beside it, with the command that measures it again. They are for orientation: a
factor of two on another machine is nothing unusual.
"""

from __future__ import annotations

import math

from anomaly_exporter import specs
from anomaly_exporter.config import Config, Model, Target
from anomaly_exporter.cycle.groups import Rules
from anomaly_exporter.metrics import DETAIL, ENTITY
from anomaly_models import ensemble, seasonal
from anomaly_models.autoencoder import RECIPES, Widths, recipe
from anomaly_models.ensemble_spec import MEMBERS
from anomaly_models.layers import weight_shapes
from anomaly_models.thresholds import METHODS

MIB = 2**20

BASE_BYTES = 66 * MIB
"""`serve` without any entity: `python -m bench.serving`, zscore, 200 to 4,000 entities."""
ENTITY_BYTES = 41 * 1024
"""One entity and model beside ring and weights (labels, lines of both pages, raw answers): the same command."""
RING_COPIES = 3
"""The ring, its successor while it moves on, and the cleaned tail with its mask."""

WINDOW_MICROSECONDS = {"fc": 4.6, "cnn": 61.0, "lstm": 109.0, "gru": 92.0, "cnn_lstm": 54.0, "cnn_gru": 57.0}
"""CPU of training one window of 48 samples once, by recipe: `python -m bench --quick`, epoch / series / windows, on two
cores of an AMD EPYC."""
SETUP_SECONDS = {"fc": 1.6, "cnn": 3.8, "lstm": 4.1, "gru": 5.5, "cnn_lstm": 8.3, "cnn_gru": 3.5}
"""Building and tracing the stacked network, once per batch shape: the same command."""
SCORE_MICROSECONDS = {"fc": 2.7, "cnn": 17.0, "lstm": 167.0, "gru": 102.0, "cnn_lstm": 50.0, "cnn_gru": 24.0}
"""CPU of scoring one window of 48 samples: the same command."""
MEASURED_WINDOW = 48
IMPORT_SECONDS = 3.0
"""Start of a training with TensorFlow or scikit-learn: `time python -c 'import tensorflow, sklearn.ensemble'`."""
SIMPLE_SECONDS = 0.003
"""Training one entity with zscore, seasonal or pca: `anomaly-exporter train` of 200 entities, divided by 200."""
CONTEXT_SECONDS = 0.1
"""What is usual of one feature of one entity, and the calibration of `auto`, 43,200 samples:
`anomaly_models.ensemble.lessons_of`."""
CONTEXT_SAMPLES = 43_200
ENSEMBLE_MICROSECONDS = 15.0
"""CPU of the members of `auto` beside its autoencoder, per entity and feature, 64 entities at once."""
FOREST_SECONDS = 0.09
"""Isolation forest of one entity that has outliers, 43,200 samples: `anomaly_models.cleaning.mask_outliers`."""

_SIZES = {
    "method": len(METHODS),
    "measure": 4,  # mae, rmse, mase, r2; the split injected has three of its own
    "since": 2,  # the model before, a week ago
    "state": 1,
}
_SPLITS = {"anomaly_training_loss": 2}
_PERIODS = {"day": seasonal.DAY, "week": seasonal.WEEK}


def weight_bytes(model: Model, target: Target) -> int:
    """Bytes of one stored model, scalers included."""
    features = len(target.queries)
    scalers = 2 * features
    if (fitted := _fitted(model)) in RECIPES:
        widths = Widths(model.filters, model.kernel, model.units, model.code)
        layers = recipe(fitted, model.window, features, model.dropout, widths)
        numbers = sum(math.prod(shape) for shape in weight_shapes(layers, model.window, features).values())
        if model.recipe == "auto":
            context = ensemble.tensor_shapes(1, features, target.step, specs.ensemble_spec(target))
            numbers += sum(math.prod(shape) for shape in context.values())
    elif model.recipe == "seasonal":
        numbers = _PERIODS["week"] * features
    elif model.recipe in ("difference", "level", "band"):
        numbers = 3 * _PERIODS["week"] * features
    elif model.recipe == "pca":
        # At most as many components as the window has numbers; in practice a few.
        numbers = (1 + min(model.window, 8)) * model.window * features
    else:
        numbers = 0
    return 4 * (numbers + scalers)


def _fitted(model: Model) -> str:
    """The recipe that is fitted in epochs, if any: of an ensemble its autoencoder's."""
    return model.autoencoder if model.recipe == "auto" else model.recipe


def ring_bytes(config: Config, target: Target, entities: int) -> int:
    """Bytes of the newest samples of ``entities`` and of the copies that a cycle makes of them."""
    models = [config.model(name) for name in target.models]
    window = max(specs.window(model, target) for model in models)
    all_rules = [Rules.of(target, model) for model in models]
    rows = max(rules.rows(window, rules.replay(entities * len(models))) for rules in all_rules)
    return RING_COPIES * 4 * rows * entities * len(target.queries)


def serve_bytes(config: Config, target: Target, entities: int) -> int:
    """Memory of ``target`` in `serve`, without BASE_BYTES."""
    weights = sum(weight_bytes(config.model(name), target) for name in target.models)
    return ring_bytes(config, target, entities) + entities * (weights + ENTITY_BYTES * len(target.models))


def training_windows(config: Config, target: Target, model: str, history: int) -> int:
    """Windows per epoch of one entity with ``history`` data seconds of samples."""
    spec = specs.model_spec(config.model(model), target)
    samples = min(history, target.training.history) // target.step * target.training.split[0]
    return max(min(int((samples - spec.window) // spec.stride) + 1, spec.max_windows), 0)


def training_seconds(config: Config, target: Target, entities: int, history: int) -> float:
    """Seconds of one full training of ``target``: every epoch run, nothing stopped early."""
    total = 0.0
    for name in target.models:
        model = config.model(name)
        features, samples = len(target.queries), min(history, target.training.history) // target.step
        if (fitted := _fitted(model)) in RECIPES:
            windows = training_windows(config, target, name, history)
            size = model.window * features / MEASURED_WINDOW
            total += IMPORT_SECONDS + SETUP_SECONDS[fitted]
            total += entities * model.epochs * windows * size * WINDOW_MICROSECONDS[fitted] / 1e6
        else:
            total += entities * SIMPLE_SECONDS
        if model.recipe == "auto":
            total += entities * features * CONTEXT_SECONDS * samples / CONTEXT_SAMPLES
        total += entities * FOREST_SECONDS if target.training.contamination else 0.0
    return total


def cycle_seconds(config: Config, target: Target, entities: int) -> float:
    """CPU of scoring all entities once; reading and rendering come on top."""
    total = 0.0
    for name in target.models:
        model = config.model(name)
        size = model.window * len(target.queries) / MEASURED_WINDOW
        total += entities * size * SCORE_MICROSECONDS.get(_fitted(model), 1.0) / 1e6
        if model.recipe == "auto":
            total += entities * len(target.queries) * ENSEMBLE_MICROSECONDS / 1e6
    return total


def page_samples(config: Config, target: Target) -> int:
    """Samples of one entity on ``/metrics``, at most."""
    features = len(target.queries)
    each = sum(
        features if "feature" in spec.labels else 1
        for spec in ENTITY
        if (not spec.multivariate or features > 1) and (not spec.switch or getattr(config.exposition, spec.switch))
    )
    return each * len(target.models)


def detail_samples(config: Config, target: Target) -> int:
    """Samples of one entity on ``/metrics/detail``, at most."""
    sizes = {**_SIZES, "split": len(target.training.split)}
    total = 0
    for name in target.models:
        members = len(MEMBERS) if config.model(name).recipe == "auto" else 0
        total += sum(
            math.prod(
                _SPLITS.get(spec.name, sizes["split"])
                if label == "split"
                else {**sizes, "member": members}.get(label, 1)
                for label in spec.labels
            )
            for spec in DETAIL
        )
    return total
