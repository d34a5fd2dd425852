"""Alert states as plain arrays."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_models.alerting import AlertState


def arrays(state: AlertState) -> dict[str, npt.NDArray[Any]]:
    """Every array of ``state`` by name, those of the regime included; copies."""
    own = {f.name: getattr(state, f.name) for f in fields(state) if f.name != "regime"}
    regime = {f"regime.{f.name}": getattr(state.regime, f.name) for f in fields(state.regime)}
    return {name: np.array(array) for name, array in (own | regime).items()}
