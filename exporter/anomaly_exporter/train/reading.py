"""Bring the history of a target up to date: read from the source only what was never read."""

from __future__ import annotations

import logging

import numpy as np

from anomaly_exporter.config import Target
from anomaly_exporter.history import History
from anomaly_exporter.sources import Source
from anomaly_models.frame import Span

log = logging.getLogger(__name__)

FIRST_PIECE = 86_400
"""Seconds of the first read of a hole: it tells how many series there are."""
PIECE_SAMPLES = 2**26
"""Most samples read at once: 256 MiB."""


def update(source: Source, history: History, target: Target, span: Span) -> int:
    """Read the holes of ``span`` into ``history``; how many samples came.

    The newest day comes first; the rest is read in pieces that fit the memory, each kept as soon as it is there, so a
    training that was killed goes on where it stopped.

    Raises:
        SourceError: the source failed; what was read until then is kept.
        BlobError: the store failed.
    """
    samples = 0
    for hole in sorted(history.holes(target, span), key=lambda s: s.start, reverse=True):
        end, length = hole.end, FIRST_PIECE
        while end > hole.start:
            start = max(hole.start, (end - length) // target.step * target.step)
            block = source.read(target, Span(start, end))
            samples += int(np.isfinite(block.values).sum())
            history.append(target, block)
            per_instant = max(block.values.shape[1] * block.values.shape[2], 1)
            length = max(PIECE_SAMPLES // per_instant * target.step, FIRST_PIECE)
            log.debug("read", extra={"target": target.name, "start": start, "end": end, "samples": samples})
            end = start
    return samples
