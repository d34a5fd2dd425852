"""Arrays as lines of the text format."""

from __future__ import annotations

from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt


def lines(name: str, texts: list[str], values: npt.NDArray[Any], shown: npt.NDArray[np.bool_]) -> tuple[str, int]:
    """Samples of the rows that are ``shown`` and finite, and their number; floats are written exactly."""
    if values.dtype == np.bool_:
        values = values.astype(np.int64)
    shown = shown & np.isfinite(values)
    count = int(np.count_nonzero(shown))
    if count == 0:
        return "", 0
    if count < len(texts):
        texts, values = list(compress(texts, shown.tolist())), values[shown]
    # tolist() gives Python's int and float, whose repr() is the shortest text that reads back as the same number.
    return "".join([f"{name}{text} {value!r}\n" for text, value in zip(texts, values.tolist(), strict=True)]), count
