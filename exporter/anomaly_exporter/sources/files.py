"""Series from long tables, CSV or Parquet: ``timestamp`` (UTC seconds), ``entity``, ``metric``, ``value``.

A query is a plain selector on the metric's name and the entity label. A sample belongs to the first grid instant not
before it, as with Prometheus; of several in one step the newest counts. Needs the extra ``data`` (pandas).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anomaly_exporter.config import FilesConnection, Target
from anomaly_models.frame import I64, Block, Span, grid

from .base import SourceAnswerError, SourceCounters, SourceRejectedError, SourceUnavailableError
from .selection import F64, RawSeries, assemble, plain

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger(__name__)
_COLUMNS = ("timestamp", "entity", "metric", "value")
_SUFFIXES = (".csv", ".parquet")
_Series = dict[tuple[str, str], tuple[I64, F64]]


class FilesSource:
    """A folder of tables, or one; read when first asked and again when a file changed."""

    def __init__(self, connection: FilesConnection, counters: SourceCounters | None = None) -> None:
        self.connection = connection
        self.counters = counters or SourceCounters()
        self._lock = threading.Lock()
        self._read: tuple[object, _Series] = (None, {})

    def read(self, target: Target, span: Span) -> Block:
        times = grid(span, target.step)
        if not times.size:
            return Block.empty(span, target.step, (), target.features)
        block = assemble(target, times, self._on_grid(times, target.step))
        self.counters.query("ok")
        self.counters.add(samples=int(np.isfinite(block.values).sum()))
        return block

    def lag(self, target: Target, at: int) -> float | None:
        newest = []
        wanted = [plain(target, query) for query in target.queries]
        for (entity, metric), (times, _) in self._series().items():
            if any(selector.matches(metric, {self.connection.entity_label: entity}) for selector in wanted):
                newest += times[: np.searchsorted(times, at, side="right")][-1:].tolist()
        return float(at - max(newest)) if newest else None

    def _on_grid(self, instants: I64, step: int) -> Iterator[RawSeries]:
        start, end = int(instants[0]), int(instants[-1])
        for (entity, metric), (times, values) in self._series().items():
            first, last = np.searchsorted(times, [start - step, end], side="right")
            if first < last:
                column = np.full(instants.size, np.nan)
                # In order of time: where two fall into one step the later assignment stays.
                column[-(-(times[first:last] - start) // step)] = values[first:last]
                yield RawSeries(metric, {self.connection.entity_label: entity}, column)

    def _series(self) -> _Series:
        """Times [n] and values [n] per entity and metric. Raises SourceError."""
        with self._lock:
            try:
                paths = _tables(self.connection.path)
                state = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
                if self._read[0] != state:
                    self._read = (state, _load(paths, only=self.connection.path.is_file()))
            except OSError as error:
                self.counters.query("unavailable")
                raise SourceUnavailableError(f"{self.connection.path}: cannot be read: {error}") from error
            return self._read[1]


def _tables(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
    if not found:
        raise SourceRejectedError(f"{path}: expected tables ({', '.join(_SUFFIXES)}), found none")
    return found


def _load(paths: list[Path], only: bool) -> _Series:
    import pandas as pd  # noqa: PLC0415  an extra, and 77 MB that other sources do without

    frames = [frame for path in paths if (frame := _frame(path, only)) is not None]
    if not frames:
        raise SourceAnswerError(f"none of {[p.name for p in paths]} has the columns {_COLUMNS}")
    table = pd.concat(frames, ignore_index=True)
    times, values = table["timestamp"].to_numpy(np.int64), table["value"].to_numpy(np.float64)
    entity_codes, entities = pd.factorize(table["entity"])
    metric_codes, metrics = pd.factorize(table["metric"])
    order = np.lexsort((times, metric_codes, entity_codes))
    times, values, codes = times[order], values[order], (entity_codes * len(metrics) + metric_codes)[order]
    if twice := np.flatnonzero((codes[1:] == codes[:-1]) & (times[1:] == times[:-1])).tolist():
        entity, metric = divmod(int(codes[twice[0]]), len(metrics))
        raise SourceAnswerError(f"{entities[entity]}, {metrics[metric]}: two samples at {times[twice[0]]}")
    bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    series: _Series = {}
    for first, last in pairwise(bounds) if len(codes) else ():
        entity, metric = divmod(int(codes[first]), len(metrics))
        series[str(entities[entity]), str(metrics[metric])] = (times[first:last], values[first:last])
    LOG.info("%d series with %d samples in %d tables", len(series), len(table), len(frames))
    return series


def _frame(path: Path, only: bool) -> pd.DataFrame | None:
    """The table at ``path``, checked; None for a table of something else that lies in the folder."""
    import pandas as pd  # noqa: PLC0415

    try:
        frame = (
            pd.read_parquet(path)
            if path.suffix == ".parquet"
            else pd.read_csv(path, dtype={"entity": str, "metric": str})
        )
    except OSError:
        raise
    except Exception as error:  # whatever the readers' libraries raise for a malformed file
        raise SourceAnswerError(f"{path}: cannot be read as a table: {error}") from error
    missing = [column for column in _COLUMNS if column not in frame.columns]
    if missing and not only and not {"timestamp", "value"} & set(frame.columns):
        return None
    if missing:
        raise SourceAnswerError(f"{path}: expected the columns {_COLUMNS}, missing are {missing}")
    frame = frame[list(_COLUMNS)]
    if frame[["timestamp", "entity", "metric"]].isna().any(axis=None):
        raise SourceAnswerError(f"{path}: timestamp, entity and metric must not be empty")
    for column in ("timestamp", "value"):
        if not pd.api.types.is_numeric_dtype(frame[column]) or pd.api.types.is_bool_dtype(frame[column]):
            raise SourceAnswerError(f"{path}: {column} must be numbers, received {frame[column].dtype}")
    whole = frame["timestamp"].to_numpy(np.float64)
    if not np.isfinite(whole).all() or (whole < 0).any() or (whole != np.floor(whole)).any():
        raise SourceAnswerError(f"{path}: timestamps must be whole UTC seconds since 1970")
    return frame.assign(
        timestamp=frame["timestamp"].astype(np.int64),
        entity=frame["entity"].astype(str),
        metric=frame["metric"].astype(str),
    )
