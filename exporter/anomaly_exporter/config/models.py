"""Which model to fit and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from .base import Section

Autoencoder = Literal["fc", "cnn", "lstm", "gru", "cnn_lstm", "cnn_gru"]
Simple = Literal["pca", "seasonal", "difference", "level", "band", "zscore"]
Recipe = Literal["auto", Autoencoder, Simple]
RECIPES: tuple[Recipe, ...] = ("auto", *get_args(Autoencoder), *get_args(Simple))

SHORT_WINDOW = 2
"""Default window of recipes that look at one sample at a time: a longer one would only silence them after a gap."""


class Model(Section):
    """One way of learning a series. A target refers to it by its key in ``models``, which becomes the label `model`."""

    recipe: Recipe
    """`auto`: an autoencoder and simple detectors, calibrated together to an alert budget (docs/detection.md); an
    autoencoder alone (fc, cnn, lstm, gru, cnn_lstm, cnn_gru); or a simple detector to measure it by: distance from the
    profile of the day (seasonal), from the sample before (difference), from the level of the window (level), from the
    usual range of the time of the day (band), from the mean (zscore), from the principal components (pca)."""
    autoencoder: Autoencoder = "fc"
    """Architecture of the autoencoder inside `auto`; the other keys of this section describe it. Other recipes ignore
    it."""
    window: int = Field(24, ge=2, le=1440)
    """Samples the model sees at once (of `auto`: its autoencoder); 2 for zscore, seasonal, difference and band when
    unset."""
    stride: int = Field(1, ge=1, le=1440)
    """Steps between training windows; scoring always uses every step."""
    tail: int = Field(1, ge=1, le=1440)
    """The error is taken over the last `tail` samples of the window: 1 answers soonest."""
    scaler: Literal["robust", "min_max", "standard"] = "robust"
    """How training data is brought to one scale; fitted once per training on training data only."""
    minimum_scale: Annotated[float, Field(gt=0)] = 1e-6
    """Smallest scale in the series' own unit: a constant series must not divide by zero."""
    minimum_relative_scale: Annotated[float, Field(ge=0)] = 0.01
    """Smallest scale as a share of the series' centre."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Same data, same seed, same weights."""
    epochs: int = Field(30, ge=1, le=10_000)
    """Most passes over the training windows; early stopping usually ends before."""
    patience: int = Field(5, ge=1, le=10_000)
    """Epochs without a better validation loss after which a series stops learning."""
    batch: int = Field(64, ge=1, le=8192)
    """Windows per series and step."""
    max_windows: int = Field(2048, ge=64, le=2**20)
    """Most training windows per series and epoch; longer histories are thinned evenly."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of activations dropped while training."""
    filters: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Filters of the first convolution (cnn, cnn_lstm, cnn_gru); later ones keep the recipe's ratio. Unset: its own."""
    kernel: Annotated[int, Field(ge=1, le=64)] | None = None
    """Samples that a convolution sees at once. Unset: the recipe's own."""
    units: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Width of hidden dense layers (fc) and of recurrent ones. Unset: the recipe's own."""
    code: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Numbers a window is squeezed through, at most a third of the window's. Unset: the recipe's own."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Stock Keras optimizer."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """Step size of the optimizer."""

    @model_validator(mode="before")
    @classmethod
    def _short_window(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("recipe") in ("zscore", "seasonal", "difference", "band"):
            return {"window": SHORT_WINDOW, **data}
        return data

    @model_validator(mode="after")
    def _tail_inside_window(self) -> Self:
        if self.tail > self.window:
            raise ValueError(f"tail must not exceed window ({self.window}), received {self.tail}")
        return self
