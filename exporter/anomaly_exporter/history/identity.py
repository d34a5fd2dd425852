"""The meaning of a target's samples as a digest: history and models of another meaning are never mixed in."""

from __future__ import annotations

import hashlib
import json

from anomaly_exporter.config import Target

# Raised when this code changes what the same target reads.
_FORMAT = 1


def data_digest(target: Target) -> str:
    """SHA-256 (hex) of all that changes the meaning of ``target``'s samples: queries, labels, step, aggregation.

    Neither the server's address nor the model is part of it. Which of ``expr`` and ``fallback`` answered a probe is not
    either: the choice is stored under the texts of both and never changes for them, so it is a function of what is
    hashed here. To switch by hand, edit or remove one of the two: the digest changes, and with it history and models.
    """
    meaning = {
        "format": _FORMAT,
        "queries": [[q.name, q.expr, q.fallback] for q in target.queries],
        "labels": sorted(target.labels),
        "rename": dict(target.rename),
        "step": target.step,
        "aggregation": target.aggregation,
        "zero_gap": target.zero_gap,
    }
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
