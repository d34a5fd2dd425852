"""History as a CSV table and back: one row per instant and entity, ``timestamp``, its labels, a column per feature.

An empty cell is a missing sample. Values are written with as many digits as their float32 needs, so that loading gives
the very same bits.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from anomaly_exporter.config import Target
from anomaly_models.frame import Block, EntityKey, Span

from .store import DAY, History

_TIME = "timestamp"


class TableError(Exception):
    """A CSV table does not fit the target; names file, line and what was expected."""


def export_csv(history: History, target: Target, path: Path, span: Span) -> int:
    """Write what is kept of ``span`` to ``path``; how many rows. The file appears when it is complete."""
    labels = sorted(target.labels)
    rows = 0
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([_TIME, *labels, *target.features])
            for part in _days(span):
                for line in _lines(history.read(target, part), labels):
                    writer.writerow(line)
                    rows += 1
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


def load_csv(history: History, target: Target, path: Path) -> int:
    """Append the table at ``path`` to the history; how many grid rows were new. Raises TableError.

    The whole interval between the first and the last timestamp then counts as read.
    """
    labels = sorted(target.labels)
    cells: dict[tuple[int, EntityKey], tuple[float, ...]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file, strict=True)
        expected = [_TIME, *labels, *target.features]
        try:
            header = next(reader, [])
            if header != expected:
                raise TableError(f"{path}:1: expected the columns {expected}, received {header}")
            for row in reader:
                where = f"{path}:{reader.line_num}"
                at, entity, values = _parse(row, where, target, labels)
                if (at, entity) in cells:
                    raise TableError(f"{where}: {entity} has a second row at {at}")
                cells[at, entity] = values
        except (csv.Error, UnicodeDecodeError) as error:
            raise TableError(f"{path}: not a CSV table: {error}") from error
    if not cells:
        return 0
    entities = sorted({entity for _, entity in cells})
    where_is = {entity: i for i, entity in enumerate(entities)}
    span = Span(min(at for at, _ in cells), max(at for at, _ in cells) + target.step)
    block = Block.empty(span, target.step, entities, target.features)
    for (at, entity), values in cells.items():
        block.values[(at - block.start) // block.step, where_is[entity]] = values
    return history.append(target, block)


def _parse(row: list[str], where: str, target: Target, labels: list[str]) -> tuple[int, EntityKey, tuple[float, ...]]:
    width = 1 + len(labels) + len(target.features)
    if len(row) != width:
        raise TableError(f"{where}: expected {width} cells, received {len(row)}")
    try:
        at = int(row[0])
        values = tuple(float(cell) if cell else math.nan for cell in row[1 + len(labels) :])
    except ValueError as error:
        raise TableError(f"{where}: {error}") from error
    if at < 0 or at % target.step:
        raise TableError(f"{where}: expected a timestamp that is a multiple of {target.step} s, received {at}")
    if any(math.isinf(value) for value in values):
        raise TableError(f"{where}: expected finite values, received {row[1 + len(labels) :]}")
    return at, EntityKey.of(target.name, dict(zip(labels, row[1 : 1 + len(labels)], strict=True))), values


def _days(span: Span) -> Iterator[Span]:
    for start in range(span.start // DAY * DAY, span.end, DAY):
        if part := span.intersect(Span(start, start + DAY)):
            yield part


def _lines(block: Block, labels: list[str]) -> Iterator[list[str]]:
    keys = [[entity.get(label) for label in labels] for entity in block.entities]
    for t, n in np.argwhere(np.isfinite(block.values).any(axis=2)):
        cells = ("" if np.isnan(value) else str(value) for value in block.values[t, n])
        yield [str(block.start + int(t) * block.step), *keys[n], *cells]
