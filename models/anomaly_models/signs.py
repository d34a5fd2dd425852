"""What is known of S entities beside their scores, at B consecutive instants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .exceptions import InvalidShapeError
from .frame import Bool
from .stillness import Still


@dataclass(frozen=True)
class Signs:
    """Flags [S, B] at the ends of the windows they go with.

    ``still``: stands still, or at zero, longer than it ever should: an anomaly whatever the model says. ``bounded``: a
    resource is at its limit, or grows steadily towards one. ``restarted``: deployed or restarted at this instant.
    """

    still: Still
    bounded: Bool
    restarted: Bool

    def __post_init__(self) -> None:
        shapes = {a.shape for a in (self.still.flat, self.still.zero, self.bounded, self.restarted)}
        if len(shapes) != 1 or self.bounded.ndim != 2:
            raise InvalidShapeError(f"signs need flags [S, B] of one shape, received {sorted(shapes)}")

    @classmethod
    def none(cls, series: int, steps: int) -> Signs:
        """Nothing is known."""
        no = np.zeros((series, steps), np.bool_)
        return cls(Still(no, no), no, no)

    def at(self, steps: slice) -> Signs:
        """The signs of those instants."""
        still = Still(self.still.flat[:, steps], self.still.zero[:, steps])
        return Signs(still, self.bounded[:, steps], self.restarted[:, steps])

    def forced(self, direction: str) -> Bool:
        """Anomalous by itself, [S, B]; what falls to zero is not where only the way up is of interest."""
        return self.still.flat if direction == "up" else self.still.flat | self.still.zero

    @property
    def barred(self) -> Bool:
        """Must not be taken for a new normal, [S, B]."""
        return self.still.flat | self.still.zero | self.bounded
