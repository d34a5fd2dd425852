"""The labels of a folder of series, for judging only: nothing that is fitted or scored ever sees them.

``labels.csv`` has a line per interval: dataset, entity, metric, start, end (UTC seconds, inclusive), role. Only those
of the metric ``*``, the entity as a whole, are read. The role ``anomaly`` is to be found; inside ``ignore`` and
``ambiguous`` an alert is neither right nor wrong; other roles are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_models.judging import Interval, Truth

from .data import DataError, Series

if TYPE_CHECKING:
    import pandas as pd

LABEL_COLUMNS = ("dataset", "entity", "metric", "start", "end", "role")
WHOLE = "*"


@dataclass(frozen=True)
class Labels:
    """All labelled intervals of a folder."""

    table: pd.DataFrame

    def truth(self, series: Series) -> Truth:
        """The labels of ``series`` on its test timestamps."""
        times, table = series.test_times, self.table
        if times.size == 0:
            return Truth.of(times, series.step, [])
        own = table[(table.dataset == series.dataset) & (table.entity == series.entity) & (table.metric == WHOLE)]
        own = own[(own.end >= times[0]) & (own.start <= times[-1])]
        events = _intervals(own[own.role == "anomaly"])
        return Truth.of(times, series.step, events, _intervals(own[own.role.isin(["ignore", "ambiguous"])]))


def read_labels(folder: Path) -> Labels | None:
    """The labels of ``folder``, None where it has none.

    Raises:
        DataError: the file is there but cannot be used.
    """
    import pandas as pd  # noqa: PLC0415  an extra; the other commands do without

    path = folder / "labels.csv"
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path, dtype={"dataset": str, "entity": str, "metric": str, "role": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if missing := [c for c in LABEL_COLUMNS if c not in table]:
        raise DataError(f"{path}: the columns {', '.join(missing)} are missing")
    return Labels(table)


def _intervals(rows: pd.DataFrame) -> list[Interval]:
    return [Interval(int(a), int(b)) for a, b in zip(rows.start.tolist(), rows.end.tolist(), strict=True)]
