"""The gate before real trainings: blind models, first ones, broken gates, poisoned and slowly rising data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from anomaly_exporter.generations import Entry
from anomaly_exporter.generations.verdicts import settle
from anomaly_exporter.train import gating
from anomaly_models import injection, proving
from anomaly_models.alerting import AlertSpec
from anomaly_models.frame import Block, EntityKey, Scorer, Span
from anomaly_models.gate import GateSpec
from anomaly_models.model_spec import ModelSpec
from anomaly_models.proving import Contender, Ground, Rules
from anomaly_models.thresholds import Method, ThresholdSpec
from anomaly_models.training import Plan, Previous, train

STEP, DAY = 300, 86_400
START = 20_000 * DAY
HISTORY = 10 * DAY
SPEC = GateSpec(replay=DAY)


class World:
    """Series that are trained on, day after day, and the models in force."""

    def __init__(
        self, values: np.ndarray, recipe: str = "seasonal", spec: GateSpec = SPEC, base: Method = "mean_std"
    ) -> None:
        names = tuple(EntityKey.of("cpu", {"e": str(i)}) for i in range(values.shape[1]))
        self.block = Block(START, STEP, names, ("value",), values[:, :, None].astype(np.float32))
        self.plan = Plan(
            ModelSpec(recipe, window=2),
            threshold=ThresholdSpec(base=base),
            split=(0.7, 0.15, 0.15),
            persistence=3,
        )
        self.spec = spec
        self.entries: dict[Any, Entry] = {}
        self.stacks: dict[str, Scorer] = {}
        self.verdicts: list[str] = []

    def train(self, end: int, k: float = 5.0) -> list[Entry]:
        """Train on the ten days before ``end`` and let the gate judge; the entries as judged."""
        plan = replace(self.plan, threshold=replace(self.plan.threshold, k=k))
        block = self.block.slice(Span(START + end - HISTORY, START + end))
        known = {entity: entry for (entity, _), entry in self.entries.items()}
        before = Previous(
            {e: self.stacks[x.pack].take([x.row]) for e, x in known.items()},
            {e: x.threshold for e, x in known.items()},
            {e: x.training["test_start"] for e, x in known.items()},
        )
        batch = train(block, plan, before)
        assert batch.scorer is not None
        pack = f"{len(self.stacks):064x}"
        self.stacks[pack] = batch.scorer
        new = [
            Entry(row.entity, "m", pack, row.row, row.threshold, "d", float(end), row.data_end, float(end))
            for row in batch.rows
        ]
        new = [
            replace(entry, figures=row.figures, training={"test_start": row.test_start})
            for entry, row in zip(new, batch.rows, strict=True)
        ]
        rules = Rules(plan.threshold, AlertSpec(persistence=3))
        in_force = gating.InForce(self.entries, self.stacks.get, "d")
        judged = gating.judge(batch, new, block, plan, rules, self.spec, in_force)
        assert judged.promoted + judged.rejected == len(judged.entries)
        for entry in judged.entries:
            settled = settle(entry, self.entries.get(entry.key))
            if settled is not None:
                self.entries[entry.key] = settled
            self.verdicts.append(entry.gate.get("reason", "") if entry.verdict == "rejected" else "")
        return judged.entries

    def recall(self) -> float:
        """Recall of what is in force on two days of clean samples that nobody has seen, mean over the series."""
        clean = days(3, len(self.entries), seed=99)[:, :, None].astype(np.float32)
        size = injection.variation(clean)
        ground = Ground(clean, np.ones(clean.shape, np.bool_), START + 30 * DAY, STEP, DAY // STEP, size)
        rules = Rules(self.plan.threshold, AlertSpec(persistence=3))
        out = []
        for column, entry in enumerate(self.entries.values()):
            own = ground.take([column])
            contender = Contender(self.stacks[entry.pack].take([entry.row]), [entry.threshold])
            replay = own.replay(contender, rules)
            trials = own.trials(np.isfinite(replay), injection.cases(STEP), ground.lead)
            caught = proving.prove(own, contender, rules, replay, trials)
            out.append(proving.recall(caught.caught(), caught.counted)[0])
        return float(np.mean(out))


def days(count: int, series: int = 2, seed: int = 0) -> np.ndarray:
    """Daily waves around 10 with 2 % of noise, [T, N]."""
    times = np.arange(count * DAY // STEP) * STEP
    wave = 10 + 2 * np.sin(2 * np.pi * times / DAY)
    return wave[:, None] * (1 + 0.02 * np.random.default_rng(seed).normal(size=(times.size, series)))


def test_a_first_model_and_its_equal_successor_are_promoted_and_say_what_they_catch() -> None:
    world = World(days(11))
    first = world.train(10 * DAY)
    assert {e.gate["reason"] for e in first} == {"first"}
    second = world.train(11 * DAY)
    assert {e.gate["reason"] for e in second} == {"bounds"}
    for entry in second:
        injected = entry.figures["injected"]
        assert 0.5 < injected["recall"] <= 1
        assert injected["baseline"] == "zscore"
        assert injected["beats_baseline"]
        assert sum(number for _, number, _ in injected["shapes"].values()) == 21
        assert [point[0] for point in entry.gate["course"]] == [START + d * DAY - STEP for d in (10, 11)]
        assert entry.gate["shift"]["current"] == pytest.approx(1, abs=0.4)


def test_a_distance_from_the_mean_is_beaten_by_a_daily_profile_and_marked_so() -> None:
    entry = World(days(10), "zscore").train(10 * DAY)[0]
    injected = entry.figures["injected"]
    assert (injected["baseline"], injected["beats_baseline"]) == ("seasonal", False)


def test_a_blind_model_is_rejected_and_kept_beside_the_one_in_force() -> None:
    world = World(days(11))
    world.train(10 * DAY)
    before = dict(world.entries)
    refused = world.train(11 * DAY, k=80)
    assert {e.gate["reason"] for e in refused} == {"recall"}
    for key, entry in world.entries.items():
        assert entry.place == before[key].place
        assert entry.rejected is not None
        assert entry.gate["rejections"] == 1
        assert entry.figures["injected"]["recall"] > entry.rejected.figures["injected"]["recall"] + 0.15


def test_only_after_patience_ran_out_a_series_waits_for_a_model() -> None:
    world = World(days(11), spec=replace(SPEC, patience=2))
    world.train(10 * DAY)
    stuck = []
    for _ in range(2):
        world.train(11 * DAY, k=80)
        stuck.append({e.gate.get("stuck", False) for e in world.entries.values()})
    assert stuck == [{False}, {True}], "still blind, so patience does not help it"
    world.train(11 * DAY)
    assert not any(e.gate.get("stuck") for e in world.entries.values())


def test_a_series_that_moved_to_a_new_level_gets_its_new_model() -> None:
    """The old one alerts all the time; whether within bounds or by patience, the gate does not freeze it."""
    values = days(14)
    values[11 * DAY // STEP :] += 30
    world = World(values, spec=replace(SPEC, patience=2))
    for day in (10, 13, 14):
        world.train(day * DAY)
    assert all(e.trained_at >= 12 * DAY for e in world.entries.values())


def test_a_series_is_judged_as_if_it_were_alone() -> None:
    values = days(11, series=3)
    together, alone = World(values), World(values[:, :1])
    for world in (together, alone):
        world.train(10 * DAY)
        world.train(11 * DAY)
    key = next(iter(alone.entries))
    assert alone.entries[key].figures["injected"] == together.entries[key].figures["injected"]


def test_without_a_gate_every_model_is_promoted() -> None:
    world = World(days(11), spec=replace(SPEC, enabled=False))
    world.train(10 * DAY)
    assert {e.verdict for e in world.train(11 * DAY, k=80)} == {"promoted"}


def test_a_gate_that_breaks_freezes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    world = World(days(11))
    world.train(10 * DAY)
    with mock.patch("anomaly_models.proving.prove", side_effect=RuntimeError("out of luck")):
        assert {e.verdict for e in world.train(11 * DAY, k=80)} == {"promoted"}
    assert "the promotion gate failed, models are promoted unseen" in caplog.text


def test_a_pack_that_cannot_be_read_counts_as_no_model_before() -> None:
    world = World(days(11))
    world.train(10 * DAY)
    with mock.patch.dict(world.stacks, clear=True):
        in_force = gating.InForce(world.entries, lambda pack: None, "d")
        assert gating._by_pack(list(world.entries.values()), in_force) == []


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_bursts_in_the_training_data_do_not_blind_it(share: float) -> None:
    """From day 10 on, half-hour bursts of 10 to 30 times the noise fill a share of the time."""
    values = days(14)
    rng = np.random.default_rng(1)
    for column in range(values.shape[1]):
        for at in rng.integers(10 * DAY // STEP, len(values) - 6, int(share * 4 * DAY / 1800)):
            values[at : at + 6, column] += rng.choice([-1, 1]) * rng.uniform(2, 6)
    world = World(values)
    world.train(10 * DAY)
    clean = world.recall()
    for day in range(11, 15):
        world.train(day * DAY)
    assert world.recall() >= clean - 0.02


def test_a_slow_rise_does_not_blind_it() -> None:
    """+2 % a day for twelve days after ten clean ones; what is in force at the end is asked about the clean level."""
    values = days(22)
    rise = np.maximum(np.arange(len(values)) * STEP / DAY - 10, 0)
    values *= (1.02**rise)[:, None]
    world = World(values)
    world.train(10 * DAY)
    widest = []
    for day in range(11, 23):
        world.train(day * DAY)
        widest += [e.gate["shift"].get("week", 1) for e in world.entries.values()]
    told = set(world.verdicts) & {"recall", "erosion", "threshold"}
    assert max(widest) < 1.5 or told, "what grows wider within a week is rejected"
