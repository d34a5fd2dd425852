"""Recorded, labelled series as a feed: the layout of segments.csv, labels.csv and Parquet tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .feeds import RawBlock, RawSeries
from .processes import StackError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Watch:
    """One target of a replay: the value of its label ``metric`` and the recorded metrics that are its features."""

    metric: str
    features: tuple[str, ...]
    unit: str = ""


@dataclass(frozen=True)
class Event:
    """A labelled interval of one entity, data time, both ends included."""

    entity: str
    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Recording:
    """One data set: every recorded metric of every entity on one grid.

    ``events`` of the test part are to be found; inside ``forgiven`` an alert of the entity is neither right nor wrong.
    """

    dataset: str
    step: int
    train: tuple[int, int]
    test: tuple[int, int]
    block: RawBlock
    entities: tuple[str, ...]
    watches: tuple[Watch, ...]
    events: tuple[Event, ...]
    forgiven: tuple[Event, ...]


WATCHES = {
    # What the customer watches of a container: CPU and memory.
    "nezha_ob": (Watch("cpu", ("pod_cpu_millicores",)), Watch("memory", ("pod_memory_mib",))),
    # Metric names are withheld: all of them are features of one target.
    "smd": (),
}


def load(folder: Path, dataset: str, entities: tuple[str, ...] = ()) -> Recording:
    """The recording of ``dataset`` below ``folder``; only ``entities`` when given.

    Raises:
        StackError: pandas is missing, or the folder does not hold the data set.
    """
    try:
        import pandas as pd  # noqa: PLC0415  an optional extra
    except ImportError as error:
        raise StackError("a replay needs pandas and pyarrow: pip install 'anomaly-exporter[data]'") from error
    if dataset not in WATCHES:
        raise StackError(f"a replay knows the data sets {sorted(WATCHES)}, received {dataset!r}")
    try:
        segments = pd.read_csv(folder / "segments.csv").query("dataset == @dataset")
        labels = pd.read_csv(folder / "labels.csv").query("dataset == @dataset and metric == '*'")
        table = _table(folder, dataset, entities)
    except (OSError, ValueError) as error:
        raise StackError(f"{folder} does not hold the data set {dataset}: {error}") from error
    if entities:
        segments, labels = (x[x["entity"].isin(entities)] for x in (segments, labels))
    if segments.empty or table.empty:
        raise StackError(f"{folder} holds no series of {dataset} {', '.join(entities)}".rstrip())
    train = int(segments["train_start"].min()), int(segments["train_end"].max())
    test = int(segments["test_start"].min()), int(segments["test_end"].max())
    metrics = tuple(sorted(str(m) for m in table["metric"].unique()))
    watches = WATCHES[dataset] or (Watch("resources", metrics),)
    used = {feature for watch in watches for feature in watch.features}
    known = sorted(str(e) for e in table["entity"].unique())
    columns = (labels[name].tolist() for name in ("entity", "start", "end", "kind"))
    rows = [Event(str(e), int(start), int(end), str(kind)) for e, start, end, kind in zip(*columns, strict=True)]
    judged = [event for event, role in zip(rows, labels["role"], strict=True) if role == "anomaly"]
    return Recording(
        dataset,
        int(segments["step_s"].iloc[0]),
        train,
        test,
        _block(table[table["metric"].isin(used) & (table["timestamp"] >= train[0])], dataset),
        tuple(known),
        watches,
        tuple(sorted((e for e in judged if e.start >= test[0]), key=lambda e: e.start)),
        tuple(event for event, role in zip(rows, labels["role"], strict=True) if role in {"ignore", "ambiguous"}),
    )


def metric_name(feature: str) -> str:
    """The recorded metric ``feature`` as a Prometheus metric name."""
    return "recorded_" + "".join(c if c.isalnum() else "_" for c in feature)


def _table(folder: Path, dataset: str, entities: tuple[str, ...]) -> pd.DataFrame:
    """timestamp, entity, metric, value of the data set: one file, or a folder with a file per entity."""
    import pandas as pd  # noqa: PLC0415  an optional extra

    one = folder / f"{dataset}.parquet"
    paths = [one] if one.exists() else sorted((folder / dataset).glob("*.parquet"))
    if not one.exists() and entities:
        paths = [p for p in paths if p.stem in entities]
    if not paths:
        raise FileNotFoundError(f"neither {one.name} nor {dataset}/*.parquet is there")
    table = pd.concat([pd.read_parquet(p) for p in paths])
    return table[table["entity"].isin(entities)] if entities else table


def _block(table: pd.DataFrame, dataset: str) -> RawBlock:
    """The long table as series; a container named after its entity, in a namespace named after the data set."""
    wide = table.astype({"entity": str, "metric": str}).pivot_table(
        index="timestamp", columns=["metric", "entity"], values="value", aggfunc="last"
    )
    series = tuple(
        RawSeries.of(
            metric_name(str(metric)), {"namespace": dataset, "container": str(entity), "pod": f"{entity}-recorded"}
        )
        for metric, entity in zip(*(wide.columns.get_level_values(level) for level in (0, 1)), strict=True)
    )
    return RawBlock(wide.index.to_numpy(np.int64), series, wide.to_numpy(np.float64))
