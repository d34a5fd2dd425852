"""Read a folder of labelled series and lay every entity on a grid.

``segments.csv`` has a line per entity: dataset, entity, step_s, train_start, train_end, test_start, test_end (UTC
seconds, inclusive). The samples are in ``<dataset>.parquet`` or ``<dataset>/<entity>.parquet`` with the columns
timestamp, entity, metric, value. Labels are never read.

Timestamps need not be multiples of the step: the most frequent remainder of the training part is the *phase* of an
entity, and a sample belongs to the grid instant nearest to it. Of several at one instant the first counts, so that no
score uses a later sample than its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anomaly_models.frame import F32, I64

if TYPE_CHECKING:
    import pandas as pd

SEGMENT_COLUMNS = ("dataset", "entity", "step_s", "train_start", "train_end", "test_start", "test_end")
SAMPLE_COLUMNS = ("timestamp", "entity", "metric", "value")


class DataError(Exception):
    """The folder does not hold what was expected; says what and where."""


@dataclass(frozen=True)
class Series:
    """One entity on its grid: ``values`` [T, F] from the first training sample on, row ``i`` is grid row ``first + i``.

    ``train`` is the half-open range of rows of ``values`` that may be learned from; ``test_times`` [n] are the test
    timestamps as they stand in the file and ``test_rows`` [n] the row of each.
    """

    dataset: str
    entity: str
    step: int
    features: tuple[str, ...]
    first: int
    values: F32
    train: tuple[int, int]
    test_times: I64
    test_rows: I64


def read(
    folder: Path, datasets: Collection[str] | None = None, entities: Collection[str] | None = None
) -> Iterator[list[Series]]:
    """The entities of ``folder``, a list per dataset; only those named, where names are given.

    Raises:
        DataError: a file or a column is missing, or a name that was asked for does not exist.
    """
    segments = _segments(folder)
    for name, wanted in (("dataset", datasets), ("entity", entities)):
        if wanted is not None:
            if unknown := sorted(set(wanted) - set(segments[name])):
                raise DataError(f"{name} {', '.join(unknown)} is not in {folder / 'segments.csv'}")
            segments = segments[segments[name].isin(list(wanted))]
    for dataset, rows in segments.groupby("dataset", sort=True):
        found: list[Series] = []
        needed = {str(row.entity): row for row in rows.itertuples()}
        for table in _tables(folder, str(dataset), needed):
            for entity, samples in table.groupby("entity", observed=True, sort=True):
                if str(entity) in needed:
                    found.append(_series(str(dataset), str(entity), needed.pop(str(entity)), samples))
        if needed:
            raise DataError(f"{dataset}: no samples of {', '.join(sorted(needed))}")
        yield found


def _segments(folder: Path) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415  an extra; the other commands do without

    path = folder / "segments.csv"
    try:
        segments = pd.read_csv(path, dtype={"dataset": str, "entity": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if missing := [c for c in SEGMENT_COLUMNS if c not in segments]:
        raise DataError(f"{path}: the columns {', '.join(missing)} are missing")
    return segments


def _tables(folder: Path, dataset: str, entities: Collection[str]) -> Iterator[pd.DataFrame]:
    """Tables that may hold the entities of a dataset."""
    import pandas as pd  # noqa: PLC0415

    one = folder / f"{dataset}.parquet"
    own = [folder / dataset / f"{entity}.parquet" for entity in sorted(entities)]
    for path in [one] if one.exists() else [p for p in own if p.exists()]:
        try:
            table = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        if missing := [c for c in SAMPLE_COLUMNS if c not in table]:
            raise DataError(f"{path}: the columns {', '.join(missing)} are missing")
        yield table


def _series(dataset: str, entity: str, segment: object, samples: pd.DataFrame) -> Series:
    import pandas as pd  # noqa: PLC0415

    step, start, last, test_start, test_end = (int(getattr(segment, c)) for c in SEGMENT_COLUMNS[2:])
    inside = samples[(samples.timestamp >= start) & (samples.timestamp <= test_end)].sort_values(
        "timestamp", kind="stable"
    )
    times = inside.timestamp.to_numpy(np.int64)
    codes, metrics = pd.factorize(inside.metric.astype(str), sort=True)
    numbers = inside.value.to_numpy(np.float64)
    phase = _phase(times[times <= last], step)
    rows = (times - phase + step // 2) // step
    first = int(rows.min()) if rows.size else 0
    values = np.full((int(rows.max()) - first + 1 if rows.size else 0, len(metrics)), np.nan, np.float32)
    finite = np.flatnonzero(np.isfinite(numbers))[::-1]  # backwards: the first of an instant is written last
    values[rows[finite] - first, codes[finite]] = numbers[finite]
    test_times = np.unique(times[times >= test_start])
    learned = rows[times <= last]
    # A test sample that lies in the last training instant must not be learned from, nor spoil that instant's own.
    train_end = int(learned.max()) - first + 1 if learned.size else 0
    return Series(
        dataset=dataset,
        entity=entity,
        step=step,
        features=tuple(str(m) for m in metrics),
        first=first,
        values=values,
        train=(0, train_end),
        test_times=test_times,
        test_rows=(test_times - phase + step // 2) // step - first,
    )


def _phase(times: I64, step: int) -> int:
    """The most frequent remainder of ``times`` by ``step``."""
    remainders, counts = np.unique(times % step, return_counts=True)
    return int(remainders[counts.argmax()]) if remainders.size else 0
