"""One series, five verbs: fit, reconstruct, score, save, load. For notebooks; no Keras knowledge needed.

>>> import numpy as np
>>> t = np.arange(3 * 1440) * 60
>>> cpu = 2 + np.sin(2 * np.pi * t / 86400) + 0.05 * np.random.default_rng(0).normal(size=t.size)
>>> detector = AnomalyDetector("pca", window=12).fit(cpu[:-60], step=60)
>>> bool((detector.score(cpu[-60:])[11:] < 1).all())
True
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from . import cleaning, pack, scorers, windows
from .budget import BudgetSpec
from .cleaning import CleaningSpec
from .detector import rarity_score
from .exceptions import InvalidShapeError, PackRejectedError, PackTruncatedError, UntrainableError
from .frame import F32, Block, EntityKey, Inference, Scorer, Windows
from .model_spec import ModelSpec
from .thresholds import Method, ThresholdInputs, ThresholdSpec, ThresholdStack, adaptive
from .training import Plan, train

_ENTITY = EntityKey.of("estimator", {})
_SPLIT = (0.7, 0.15, 0.15)


class NotFittedError(Exception):
    """The detector has learned nothing yet: call ``fit`` or ``load`` first."""


class AnomalyDetector:
    """An anomaly detector of one series of one or more features, in the style of scikit-learn.

    Args:
        recipe: auto, fc, cnn, lstm, gru, cnn_lstm, cnn_gru (need TensorFlow to fit, never to score), pca, seasonal,
            difference, level, band, zscore.
        window: samples the model sees at once; of ``auto`` its autoencoder, while the other members see hours.
        seed: same data, same seed, same model.
        threshold: base threshold of held-out errors: mean_std, mad, p95, p99; or budget, a false alert per week.
        k: factor of mean_std and mad.
        contamination: largest share of training samples masked as outliers.
        max_gap: longest gap, in steps, over which the last value is carried.
        options: further fields of ``ModelSpec``: epochs, patience, batch, tail, scaler, learning_rate, ...

    After ``fit``: ``threshold_``, in units of the error; ``quality_``: MAE, RMSE, MASE, R2 per split in units of the
    series' scale; ``n_features_in_``; ``feature_names_in_``, if the data had names.
    """

    def __init__(
        self,
        recipe: str = "fc",
        window: int = 24,
        *,
        seed: int = 0,
        threshold: Method = "mean_std",
        k: float = 5.0,
        contamination: float = 0.01,
        max_gap: int = 3,
        **options: Any,
    ) -> None:
        self.plan = Plan(
            model=ModelSpec(recipe=recipe, window=window, seed=seed, **options),
            cleaning=CleaningSpec(contamination, max_gap, 0, seed),
            threshold=ThresholdSpec(base=threshold, k=k),
            split=_SPLIT,
            # Every sample is judged for itself; what persists only matters to the errors that the others leave out.
            persistence=1 if threshold == "budget" else 3,
        )
        self.quality_: dict[str, dict[str, float]] = {}
        self.feature_names_in_: tuple[str, ...] = ()
        self._scorer: Scorer | None = None
        self._inputs: ThresholdInputs | None = None
        self._step = 60
        self._next = 0

    def fit(self, X: Any, y: object = None, *, step: int = 60, start: int = 0) -> Self:
        """Learn from ``X`` [T] or [T, F] (array or DataFrame, NaN = missing), a sample every ``step`` seconds.

        ``start`` is the time of the first sample in seconds since 1970 UTC; it matters to recipes that know the time of
        day, and must be a multiple of ``step``. ``y`` is ignored.

        Raises:
            UntrainableError: too little data or too many gaps; ``reason`` says which.
            InvalidShapeError: ``X`` is not [T] or [T, F], or ``start`` is off the grid.
        """
        values = _values(X)
        features = values.shape[1]
        names = tuple(f"f{i}" for i in range(features))
        block = Block(start, step, (_ENTITY,), names, values[:, None, :])
        plan = replace(self.plan, model=replace(self.plan.model, min_features=-(-features // 2)))
        batch = train(block, plan)
        if batch.scorer is None:
            raise UntrainableError(batch.failed[_ENTITY], f"{len(values)} samples, window {self.plan.model.window}")
        self._scorer, self._inputs = batch.scorer, batch.rows[0].threshold
        self._step, self._next = step, block.end
        self.quality_ = batch.rows[0].figures["quality"]
        self.feature_names_in_ = tuple(str(c) for c in getattr(X, "columns", ()))
        return self

    @property
    def threshold_(self) -> float:
        """Error from which a sample is anomalous, in units of the series' scale. Raises NotFittedError."""
        _, inputs = self._fitted()
        parts = adaptive(ThresholdStack.of([inputs]), self.plan.threshold, inputs.recent.at)
        return float(parts.threshold[0, 0])

    @property
    def n_features_in_(self) -> int:
        """Features of the training data. Raises NotFittedError."""
        return int(self._fitted()[0].scale.shape[1])

    def reconstruct(self, X: Any, *, start: int | None = None) -> F32:
        """What the model expected of every sample of ``X``, in the shape of ``X``.

        Each from the window that ends with it, so the first ``window - 1`` are NaN, as are samples after long gaps.
        ``start`` is the time of the first sample; by default ``X`` follows the training data.
        """
        said, _, values = self._infer(X, start)
        out = np.full(values.shape, np.nan, np.float32)
        if said.expected is not None:
            out[len(out) - said.expected.shape[1] :] = said.expected[0]
        return out[:, 0] if np.ndim(X) == 1 else out

    def score(self, X: Any, *, start: int | None = None) -> F32:
        """Error / threshold of every sample of ``X``, [T]: 1 and above is anomalous, NaN where nothing can be said.

        Of ``auto``: how rare the sample is, 1 = once a week.

        As ``reconstruct``: the first ``window - 1`` samples have no full window yet.
        """
        said, w, values = self._infer(X, start)
        out = np.full(len(values), np.nan, np.float32)
        if said.opinion is not None:
            out[len(out) - w.end.shape[1] :] = rarity_score(said.opinion.rarity, 1.0)[0]
            return out
        usable = windows.usable(w, -(-values.shape[1] // 2), self.plan.model.tail)[0]
        out[len(out) - usable.size :] = np.where(usable, said.error[0], np.float32(np.nan)) / np.float32(
            self.threshold_
        )
        return out

    def predict(self, X: Any, *, start: int | None = None) -> npt.NDArray[np.int8]:
        """-1 for anomalous samples of ``X``, 1 for all others, [T], as scikit-learn's outlier detectors say it."""
        return np.where(self.score(X, start=start) >= 1, -1, 1).astype(np.int8)

    def save(self, path: str | Path) -> None:
        """Write the fitted detector into the new folder ``path``: flat arrays and JSON, nothing that can execute.

        Raises:
            NotFittedError: there is nothing to save.
            FileExistsError: ``path`` exists.
        """
        scorer, inputs = self._fitted()
        row = {
            "model": asdict(self.plan.model),
            "cleaning": asdict(self.plan.cleaning),
            "threshold": asdict(self.plan.threshold),
            "inputs": inputs.to_json(),
            "step": self._step,
            "next": self._next,
            "quality": self.quality_,
            "features": list(self.feature_names_in_),
        }
        encoded = pack.encode(pack.Pack(scorer.kind, scorer.spec(), scorer.tensors(), (row,)))
        folder = Path(path)
        folder.mkdir(parents=True)
        for name, data in encoded.files.items():
            (folder / name).write_bytes(data)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The detector saved in the folder ``path``.

        Raises:
            PackError: the folder does not hold exactly what ``save`` wrote.
            FileNotFoundError: there is no such folder.
        """
        folder = Path(path)
        manifest = (folder / pack.MANIFEST).read_bytes()

        def tensor(file: str, size: int) -> bytes:
            try:
                with (folder / file).open("rb") as stream:
                    return stream.read(size + 1)
            except FileNotFoundError as error:
                raise PackTruncatedError(f"{folder / file} is missing") from error

        stored = pack.decode(hashlib.sha256(manifest).hexdigest(), manifest, tensor)
        row = stored.rows[0]
        try:
            detector = cls("zscore")
            detector.plan = Plan(
                ModelSpec(**row["model"]), CleaningSpec(**row["cleaning"]), _threshold(row["threshold"]), _SPLIT
            )
            detector._inputs = ThresholdInputs.from_json(row["inputs"])
            detector._step, detector._next = int(row["step"]), int(row["next"])
            detector.quality_ = row["quality"]
            detector.feature_names_in_ = tuple(row["features"])
        except (KeyError, TypeError, ValueError) as error:
            raise PackRejectedError(f"{folder} is not a saved detector: {error!r}") from error
        detector._scorer = scorers.restore(stored.kind, stored.spec, stored.tensors)
        return detector

    def _fitted(self) -> tuple[Scorer, ThresholdInputs]:
        if self._scorer is None or self._inputs is None:
            raise NotFittedError("this detector has learned nothing yet: call fit or load first")
        return self._scorer, self._inputs

    def _infer(self, X: Any, start: int | None) -> tuple[Inference, Windows, F32]:
        scorer, _ = self._fitted()
        values = _values(X)
        if values.shape[1] != scorer.scale.shape[1]:
            raise InvalidShapeError(f"expected {scorer.scale.shape[1]} features, received {values.shape[1]}")
        x, valid = cleaning.bridge(values[:, None, :], self.plan.cleaning.max_gap)
        w = windows.make(x, valid, self._next if start is None else start, self._step, scorer.window)
        return scorer.infer(w), w, values


def _threshold(stored: dict[str, Any]) -> ThresholdSpec:
    return ThresholdSpec(**{**stored, "budget": BudgetSpec(**stored["budget"])})


def _values(X: Any) -> F32:
    """``X`` as float32 [T, F], infinities as NaN."""
    values = np.asarray(X.to_numpy() if hasattr(X, "to_numpy") else X, np.float32)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise InvalidShapeError(f"expected samples [T] or [T, F], received {values.shape}")
    return np.where(np.isfinite(values), values, np.float32(np.nan))
