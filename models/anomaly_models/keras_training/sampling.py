"""Which windows a row of the stack sees, and when: seeded, and independent of the other rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from anomaly_models.frame import I64

GOLDEN = (5**0.5 - 1) / 2
"""Rotates the thinning from pass to pass, so that successive passes see different windows."""


def thin(indices: I64, most: int, turn: int = 0) -> I64:
    """At most ``most`` of ``indices``, evenly spread; each ``turn`` starts elsewhere between two of them."""
    if indices.size <= most:
        return indices
    offset = (turn * GOLDEN) % 1
    return indices[np.floor((np.arange(most) + offset) * indices.size / most).astype(np.int64)]


def steps_per_epoch(count: int, batch: int) -> int:
    """Steps between two validations of a row with ``count`` windows per pass: the largest power of two within a pass.

    Powers of two make the epochs of unequal rows end together, without the epoch of a row depending on the others.
    An epoch is therefore more than half a pass and at most one (a row with less than one batch repeats its windows).
    """
    return 1 << (max(count // batch, 1).bit_length() - 1)


@dataclass
class Stream:
    """Endless shuffled passes over the windows ``indices`` of one row, each thinned to ``most`` windows."""

    indices: I64
    most: int
    seed: int
    _turn: int = 0
    _rest: I64 = field(default_factory=lambda: np.empty(0, np.int64))

    def take(self, batch: int) -> I64:
        """Indices of the next ``batch`` windows; zeros for a row without windows."""
        if not self.indices.size:
            return np.zeros(batch, np.int64)
        parts = [self._rest]
        while sum(part.size for part in parts) < batch:
            chosen = thin(self.indices, self.most, self._turn)
            parts.append(np.random.default_rng((self.seed, self._turn)).permutation(chosen))
            self._turn += 1
        whole = np.concatenate(parts)
        self._rest = whole[batch:]
        return whole[:batch]
