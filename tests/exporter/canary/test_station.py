"""What is said of spikes and alerts: injected when an alert is expected, received when it is the newest one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from anomaly_exporter.canary import Station, read, value_at
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Canary
from anomaly_exporter.self_metrics import SelfMetrics
from support.notifications import notification

CANARY = Canary(enabled=True)
HOUR = 500_000 * 3600
INJECTED, RECEIVED = "canary_injected_timestamp_seconds", "canary_received_timestamp_seconds"


@dataclass(frozen=True)
class Hands(Clock):
    """A clock whose wall time tests set."""

    hands: list[float] = field(default_factory=lambda: [HOUR + 1800.0])

    def wall(self) -> float:
        return self.hands[0]


class Bench:
    """A station that began at half past an hour."""

    def __init__(self, canary: Canary = CANARY, speed: float = 1.0) -> None:
        self.clock = Hands(speed, HOUR, HOUR)
        self.metrics = SelfMetrics()
        self.station = Station(self.clock, self.metrics)
        self.station.configure(canary)

    def at(self, wall: float) -> Bench:
        self.clock.hands[0] = wall
        self.station.refresh()
        return self

    def get(self, name: str, canary: str = "canary") -> float | None:
        return self.metrics.value(name, canary=canary)

    def post(self, starts_at: float, **more: Any) -> bool | None:
        return self.station.receive(read(json.dumps(notification(starts_at, **more)).encode()))


def test_the_value_is_that_of_data_time() -> None:
    assert Bench().at(HOUR + 7200 + 900).get("canary_value") == pytest.approx(110)
    assert Bench().at(HOUR + 7200 + 60).get("canary_value") == pytest.approx(value_at(CANARY, HOUR + 60))
    assert Bench(speed=10).at(HOUR + 90).get("canary_value") == pytest.approx(110)


def test_without_a_canary_nothing_is_said_and_nothing_received() -> None:
    bench = Bench(Canary()).at(HOUR + 3600)
    assert bench.post(HOUR + 3600) is None
    assert b"anomaly_exporter_canary" not in bench.metrics.render()


def test_a_spike_is_expected_to_be_found_when_it_began_after_the_first_score() -> None:
    bench = Bench().at(HOUR + 3599)
    bench.station.scored()
    assert bench.at(HOUR + 3599).get(INJECTED) is None, "the spike before was nobody's to find"
    assert bench.at(HOUR + 3600).get(INJECTED) == HOUR + 3600
    bench.station.scored()
    assert bench.at(HOUR + 7199).get(INJECTED) == HOUR + 3600
    assert bench.at(HOUR + 7200).get(INJECTED) == HOUR + 7200


def test_a_canary_that_never_gets_a_model_is_expected_after_four_periods() -> None:
    bench = Bench()
    assert bench.at(HOUR + 5 * 3600 - 1).get(INJECTED) is None
    assert bench.at(HOUR + 5 * 3600).get(INJECTED) == HOUR + 5 * 3600


def test_timestamps_are_wall_time() -> None:
    bench = Bench(speed=10)
    bench.station.scored()
    assert bench.at(HOUR + 2160).get(INJECTED) == HOUR + 2160


def test_the_newest_alert_sets_the_time_of_its_arrival() -> None:
    bench = Bench().at(HOUR + 7500)
    assert bench.get(RECEIVED) is None
    assert bench.post(HOUR + 7400) is True
    assert bench.get(RECEIVED) == HOUR + 7500


@pytest.mark.parametrize(
    ("starts_at", "arrives"),
    [
        (HOUR + 7200 - 61, False),  # stands since the spike before
        (HOUR + 7200 - 60, True),  # Prometheus' clock may be behind
        (HOUR + 7500 + 60, True),
        (HOUR + 7500 + 61, False),  # comes from the future
        (0, False),
    ],
)
def test_an_alert_that_did_not_begin_with_the_newest_spike_proves_nothing(starts_at: float, arrives: bool) -> None:
    bench = Bench().at(HOUR + 7500)
    assert bench.post(starts_at) is arrives
    assert bench.get(RECEIVED) == (HOUR + 7500 if arrives else None)


@pytest.mark.parametrize(
    "more", [{"status": "resolved"}, {"alertname": "AnomalyDetected"}, {"tag": "crab"}, {"canary": "other"}]
)
def test_other_alerts_and_resolved_ones_prove_nothing(more: dict[str, str]) -> None:
    bench = Bench().at(HOUR + 7500)
    assert bench.post(HOUR + 7400, **more) is False
    assert bench.get(RECEIVED) is None


def test_a_changed_section_starts_afresh_and_an_equal_one_changes_nothing() -> None:
    bench = Bench().at(HOUR + 7500)
    bench.station.scored()
    bench.at(HOUR + 10_900)
    assert bench.post(HOUR + 10_850) is True
    bench.station.configure(Canary(enabled=True))
    assert bench.get(RECEIVED) == HOUR + 10_900
    assert bench.get(INJECTED) == HOUR + 10_800
    bench.station.configure(Canary(enabled=True, name="second"))
    bench.station.refresh()
    assert (bench.get(RECEIVED), bench.get(INJECTED), bench.get("canary_value")) == (None, None, None)
    assert bench.get("canary_value", "second") is not None
    bench.station.configure(Canary())
    bench.station.refresh()
    assert b"anomaly_exporter_canary" not in bench.metrics.render()
