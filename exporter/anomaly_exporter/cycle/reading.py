"""Keeping a ring up to date: one instant per cycle, what was missed as a small range, everything at the start."""

from __future__ import annotations

import logging

from anomaly_exporter.blobs import BlobError
from anomaly_exporter.config import Target
from anomaly_exporter.history import History
from anomaly_exporter.sources import Source
from anomaly_models.exceptions import AnomalyModelsError
from anomaly_models.frame import Block, Span, merge

from .ring import Ring
from .share import Share

log = logging.getLogger(__name__)

MOST_HOLES = 4
"""More holes in the history than this are read as one span."""


def advance(ring: Ring, source: Source, target: Target, at: int, share: Share) -> None:
    """Read the instants behind the newest one of ``ring`` up to ``at``, its own included. Raises SourceError."""
    if ring.end is not None and at >= ring.end:
        ring.extend(share.of(_checked(source.read(target, Span(ring.end, at + target.step)), target)))


def fill(ring: Ring, source: Source, history: History, target: Target, at: int, *, share: Share) -> None:
    """Fill an empty ``ring`` so that it ends with the instant ``at``: tail of the history, and the rest read.

    Raises:
        SourceError: what the history lacks could not be read.
    """
    span = Span(max(at - (ring.rows - 1) * target.step, 0), at + target.step)
    blocks, holes = _from_history(history, target, span)
    if len(holes) > MOST_HOLES:
        holes = [Span(holes[0].start, holes[-1].end)]
    # What was just read wins over what was kept: it is laid over it last.
    blocks += [_checked(source.read(target, hole), target) for hole in holes]
    ring.extend(merge([share.of(block) for block in blocks], span, target.step, target.features))


def _from_history(history: History, target: Target, span: Span) -> tuple[list[Block], list[Span]]:
    """What the history holds of ``span``, and what it lacks; all of it when the history cannot be read."""
    try:
        # In this order: what is appended meanwhile is then read twice and never missed.
        holes = history.holes(target, span)
        return [history.read(target, span)], holes
    except (BlobError, AnomalyModelsError, OSError) as error:
        log.warning(
            "the history cannot be read, warming up from the source alone",
            extra={"target": target.name, "error": str(error)},
        )
        return [], [span]


def _checked(block: Block, target: Target) -> Block:
    """``block`` with its features in the order of the configuration.

    A source promises them; a promise that is broken would put numbers under wrong names.
    """
    if block.features != target.features:
        raise AnomalyModelsError(f"expected the features {target.features}, received {block.features}")
    return block
