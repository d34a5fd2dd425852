"""A folder of labelled series under construction, for tests of `evaluate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

DAY = 86_400
YEAR_2022 = 1_640_995_200


def wave(times: np.ndarray, level: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=times.size)
    return level + np.sin(2 * np.pi * times / DAY) + 0.05 * noise


class Folder:
    """A folder of labelled series under construction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.segments: list[dict[str, object]] = []
        self.labels: list[dict[str, object]] = []
        self.tables: dict[str, list[pd.DataFrame]] = {}

    def add(
        self,
        entity: str,
        *,
        dataset: str = "one",
        start: int = YEAR_2022,
        step: int = 300,
        train: float = 3 * DAY,
        test: float = DAY,
        metrics: int = 1,
        seed: int = 0,
        jitter: int = 0,
    ) -> Folder:
        """An entity with ``train`` and ``test`` seconds of data; the last hour of the test part is 9 higher."""
        times = np.arange(start, int(start + train + test), step)
        moved = times + np.random.default_rng(seed).integers(-jitter, jitter + 1, times.size)
        for m in range(metrics):
            values = wave(times, 10 + m, seed + m)
            values[times >= start + train + test - 3600] += 9
            table = pd.DataFrame({"timestamp": moved, "entity": entity, "metric": f"m{m:02}", "value": values})
            self.tables.setdefault(dataset, []).append(table)
        split = int(np.searchsorted(times, start + train))
        self.segments.append(
            {
                "dataset": dataset,
                "entity": entity,
                "step_s": step,
                "train_start": moved[0],
                "train_end": moved[split - 1],
                "test_start": moved[split],
                "test_end": moved[-1],
            }
        )
        about = {"dataset": dataset, "entity": entity, "metric": "*"}
        last = int(start + train + test)
        self.labels.append({**about, "start": last - 3600, "end": last - step, "kind": "level", "role": "anomaly"})
        return self

    def label(self) -> Path:
        """Write ``labels.csv``: the last hour of every entity."""
        pd.DataFrame(self.labels).to_csv(self.path / "labels.csv", index=False)
        return self.path

    def write(self, per_entity: bool = False) -> Path:
        pd.DataFrame(self.segments).to_csv(self.path / "segments.csv", index=False)
        for dataset, tables in self.tables.items():
            whole = pd.concat(tables)
            if per_entity:
                (self.path / dataset).mkdir()
                for entity, table in whole.groupby("entity"):
                    table.to_parquet(self.path / dataset / f"{entity}.parquet")
            else:
                whole.to_parquet(self.path / f"{dataset}.parquet")
        return self.path
