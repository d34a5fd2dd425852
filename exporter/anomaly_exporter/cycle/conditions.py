"""What is asked of the source beside the samples: who was restarted, and what values may grow to.

Neither is needed to score. What cannot be read is unknown: nobody is held, and no time to a limit is told.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anomaly_exporter.config import HoldOn, Query, Target
from anomaly_exporter.sources import Source, SourceError
from anomaly_models.frame import F32, Block, Bool, EntityKey, Span

from .ring import Ring
from .share import Share

log = logging.getLogger(__name__)

REFRESH = 10
"""Steps between two readings of limits: they change with deploys, not with load."""
KEPT = 60
"""Steps for which limits are believed that cannot be read any more."""

NO_RESTARTS, NO_LIMITS = "restarts cannot be read, nobody is held", "limits cannot be read"

F64 = npt.NDArray[np.float64]


class Conditions:
    """Restarts and limits of the entities of ``target``, read from ``source`` along with its samples."""

    def __init__(self, target: Target, source: Source, share: Share, capacity: int) -> None:
        self._target, self._source, self._share, self._capacity = target, source, share, capacity
        self._marks: Ring | None = None
        self._limits: tuple[dict[EntityKey, float] | None, ...] = tuple(None for _ in target.queries)
        self._read_at: int | None = None
        self._tried_at: int | None = None
        self._said: set[str] = set()

    def read(self, at: int, rows: int) -> None:
        """Bring everything up to the instant ``at``; restarts of the ``rows`` instants before it too. Never raises."""
        if self._target.hold_on is not None:
            try:
                self._mark(self._target.hold_on, at, rows)
                self._said.discard(NO_RESTARTS)
            except SourceError as error:
                self._marks = None
                self._say(NO_RESTARTS, error)
        asked = [q for q in self._target.queries if isinstance(q.limit, str)]
        due = self._tried_at is None or at - self._tried_at >= REFRESH * self._target.step
        if asked and due:
            self._tried_at = at
            try:
                self._limits = tuple(self._limit(query, at) for query in self._target.queries)
                self._read_at = at
                self._said.discard(NO_LIMITS)
            except SourceError as error:
                self._say(NO_LIMITS, error)
                if self._read_at is not None and at - self._read_at > KEPT * self._target.step:
                    self._limits = tuple(None for _ in self._target.queries)

    def restarted(self, entities: Sequence[EntityKey], steps: int) -> Bool:
        """Which of ``entities`` were restarted at the newest ``steps`` instants, [S, steps]."""
        out = np.zeros((len(entities), steps), np.bool_)
        if self._marks is None or self._target.hold_on is None or not self._marks.entities:
            return out
        columns = self._marks.columns(entities)
        there = columns >= 0
        found = events(self._marks.values[:, columns[there], 0], self._target.hold_on.when)[-steps:]
        out[there, steps - len(found) :] = found.T
        return out

    def limits(self, entities: Sequence[EntityKey]) -> F64:
        """What the features of ``entities`` may grow to, [S, F], NaN = unknown."""
        out = np.full((len(entities), len(self._target.queries)), np.nan)
        for f, (query, known) in enumerate(zip(self._target.queries, self._limits, strict=True)):
            if isinstance(query.limit, int | float):
                out[:, f] = query.limit
            elif known:
                out[:, f] = [known.get(e, np.nan) for e in entities]
        return out

    def _mark(self, hold: HoldOn, at: int, rows: int) -> None:
        """Read what restarts are told by. Raises SourceError."""
        target = self._derived(Query(name="hold_on", expr=hold.expr), hold.aggregation)
        marks, step = self._marks, target.step
        # A row more: a restart is a difference.
        if marks is None or marks.end is None or marks.rows < rows + 1 or at + step - marks.end > rows * step:
            marks = Ring(rows + 1, step, 1, self._capacity)
            marks.extend(self._ask(target, Span(max(at - rows * step, 0), at + step)))
        elif at >= marks.end:
            marks.extend(self._ask(target, Span(marks.end, at + step)))
        self._marks = marks

    def _limit(self, query: Query, at: int) -> dict[EntityKey, float] | None:
        """What one feature may grow to. Raises SourceError."""
        if not isinstance(query.limit, str):
            return None
        target = self._derived(Query(name=query.name, expr=query.limit), self._target.aggregation)
        block = self._ask(target, Span(at, at + target.step))
        values = block.values[-1, :, 0] if len(block.values) else np.empty(0)
        return {e: float(v) for e, v in zip(block.entities, values, strict=False) if np.isfinite(v) and v > 0}

    def _ask(self, target: Target, span: Span) -> Block:
        """What this shard needs of an answer. Raises SourceError."""
        block = self._source.read(target, span)
        if block.features != target.features:
            raise SourceError(f"expected the feature {target.features[0]!r}, received {block.features}")
        return self._share.of(block)

    def _derived(self, query: Query, aggregation: str) -> Target:
        """A target with the labels and the grid of ours that asks something else."""
        return self._target.model_copy(update={"queries": (query,), "aggregation": aggregation})

    def _say(self, message: str, error: SourceError) -> None:
        """Warn once until it works again; the cycle goes on every minute."""
        level = logging.DEBUG if message in self._said else logging.WARNING
        self._said.add(message)
        log.log(level, message, extra={"target": self._target.name, "error": str(error)})


def events(values: F32, when: str) -> Bool:
    """At which of the rows of ``values`` [T, S] (NaN = missing) the value differs as said from the last known one.

    The first known value differs from nothing.
    """
    known = np.isfinite(values)
    rows = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(known, rows, -1), axis=0)
    before = np.concatenate([np.full((1, values.shape[1]), -1, last.dtype), last[:-1]]) if len(values) else last
    old = np.where(before >= 0, np.take_along_axis(values, np.maximum(before, 0), axis=0), np.float32(np.nan))
    with np.errstate(invalid="ignore"):
        differs = {"rise": values > old, "fall": values < old, "change": values != old}[when]
    return np.asarray(differs & known & (before >= 0))
