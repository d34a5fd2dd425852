"""The model that all series of a target share: what a generation says of it beside its entries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anomaly_models.sharing import Prior

SERVED_BY_ALL = "shared"
"""Verdict of what stands in for an entry where there is none: no training was about this series."""
SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class SharedEntry:
    """The only row of ``pack`` serves every series of the target that ``model`` has no entry for.

    ``prior``: how newcomers are scaled and judged. ``trained_at`` is wall time, ``trained_data_end`` data time;
    ``data_digest`` as for entries; ``training`` (provenance) is JSON.
    """

    model: str
    pack: str
    prior: Prior
    data_digest: str
    trained_at: float
    trained_data_end: int
    training: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "model": self.model,
            "pack": self.pack,
            "prior": self.prior.to_json(),
            "data_digest": self.data_digest,
            "trained_at": self.trained_at,
            "trained_data_end": self.trained_data_end,
            "training": dict(self.training),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SharedEntry:
        """Read back what ``to_json`` wrote.

        Raises:
            PackRejectedError, ValueError, KeyError, TypeError, AttributeError: it has another form.
        """
        # The digest becomes part of a blob's name.
        if not SHA256.match(data["pack"]):
            raise ValueError(f"expected a pack digest, received {data['pack']!r}")
        return cls(
            model=str(data["model"]),
            pack=data["pack"],
            prior=Prior.from_json(data["prior"]),
            data_digest=str(data["data_digest"]),
            trained_at=float(data["trained_at"]),
            trained_data_end=int(data["trained_data_end"]),
            training=dict(data["training"]),
        )
