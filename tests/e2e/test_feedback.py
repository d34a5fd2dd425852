"""A silence in a real Alertmanager teaches: the same event a week later is quiet, another one at its hour is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import requests

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config
from anomaly_exporter.demo.stack import AlertmanagerServer
from anomaly_exporter.feedback import Feedback, Shelf
from anomaly_exporter.feedback.sync import Listener
from anomaly_exporter.rendering import entity_alerts
from anomaly_exporter.train.fitting import Run
from anomaly_exporter.train.teaching import Teaching
from anomaly_models.frame import Span
from support.alertmanager import alertmanager
from support.waiting import wait_for
from support.watched import BORN, NOW, STEP, World, entity, row_of

pytestmark = pytest.mark.e2e

WEEK = 7 * 86_400 // STEP
BACKUP = (10, 40)
"""Steps after NOW in which the backup runs."""
TRAINED = 120
"""Step after NOW at which the second training ends."""
LABELS = {"alertname": "AnomalyDetected", "namespace": "ns", "container": "a", "metric": "cpu", "tag": "ns"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AlertmanagerServer]:
    config = "route: {receiver: none}\nreceivers: [{name: none}]\n"
    with alertmanager(tmp_path_factory.mktemp("am"), config) as running:
        yield running


class Story:
    """One series with a weekly backup, watched and trained; ``clock``: the silence is made when the backup ends."""

    def __init__(self, folder: Path, server: AlertmanagerServer) -> None:
        self.url = f"{server.url}/api/v2"
        self.config = Config.model_validate(
            {
                "files": {"path": "unused"},
                "feedback": {"alertmanager": {"url": server.url}},
                "targets": [
                    {
                        "name": "cpu",
                        "metric": "cpu",
                        "queries": [{"expr": "x"}],
                        "models": ["zscore"],
                        "training": {"history": 30 * 86_400, "min_history": 3600},
                        "threshold": {"base": "mean_std"},
                        "alerting": {"persistence": 3},
                    }
                ],
            }
        )
        self.target = self.config.target("cpu")
        self.clock = Clock(1.0, time.time(), NOW + BACKUP[1] * STEP)
        self.world = World(folder, self.config, {"cpu": ["a", "b"]})
        self.feedback = Feedback(self.world.blobs)

    def event(self, first: int, height: float) -> None:
        """Container ``a`` runs ``height`` above its noise for as long as a backup, from step ``first`` on."""

        def change(who: str, times: np.ndarray, values: np.ndarray) -> np.ndarray:
            since = (times - NOW) // STEP
            inside = (since >= first) & (since < first + BACKUP[1] - BACKUP[0])
            return np.where(inside & (who == "a"), values + height, values)

        self.world.source.changes.append(change)

    def silence(self, comment: str) -> None:
        """What a person does who got the mail: silences the alert, some time after it began."""
        began = self.clock.to_wall(NOW + BACKUP[0] * STEP)
        alert = {"labels": LABELS, "startsAt": instant(began), "endsAt": instant(time.time() + 3600)}
        requests.post(f"{self.url}/alerts", json=[alert], timeout=10).raise_for_status()
        now = time.time()
        matchers = [{"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in LABELS.items()]
        body = {"matchers": matchers, "startsAt": instant(now), "endsAt": instant(now + 60), "createdBy": "ada"}
        answer = requests.post(f"{self.url}/silences", json={**body, "comment": comment}, timeout=10)
        answer.raise_for_status()

        def muted() -> bool:
            alerts = requests.get(f"{self.url}/alerts", params={"active": "false"}, timeout=10).json()
            return any(a["status"]["silencedBy"] for a in alerts)

        wait_for(muted, 20, "the silence to mute the alert")

    def listen(self) -> None:
        listener = Listener(self.config, self.clock, self.feedback, entity_alerts(self.config))
        assert listener.sync("silence").error is None
        listener.close()

    def train(self, until: int) -> None:
        """What `anomaly-exporter train` does with a history that ends ``until`` steps after NOW."""
        world, span = self.world, Span(BORN, NOW + until * STEP)
        world.history.append(self.target, world.source.read(self.target, span))
        teaching = Teaching.of(self.config, self.target, self.feedback, Shelf(world.blobs))
        keys = [entity("cpu", "a"), entity("cpu", "b")]
        run = Run(
            self.config,
            self.target,
            self.clock,
            world.history,
            world.generations,
            span,
            time.time(),
            lambda _: None,
            teaching=teaching,
        )
        assert run.fit(("zscore",), keys)["zscore"].trained == 2

    def detected(self, first: int, last: int) -> bool:
        """Whether an alert on ``a`` is on at some step from ``first`` to ``last`` after NOW."""
        found = False
        for step in range(first, last + 1):
            scores, row = row_of(self.world.at(step), "cpu", "a")
            found |= bool(scores.detected[row])
        return found


def instant(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat()


@pytest.fixture
def story(tmp_path: Path, server: AlertmanagerServer) -> Story:
    story = Story(tmp_path, server)
    story.train(0)
    story.event(BACKUP[0], 20.0)
    assert story.detected(0, BACKUP[1])
    return story


def test_an_expected_backup_is_quiet_a_week_later_and_another_anomaly_at_its_hour_is_not(story: Story):
    story.silence("expected: the weekly backup")
    story.listen()
    story.train(TRAINED)
    story.event(BACKUP[0] + WEEK, 20.5)
    assert not story.detected(WEEK - 5, WEEK + BACKUP[1] + 60)
    story.event(BACKUP[0] + 2 * WEEK, 45.0)
    assert story.detected(2 * WEEK - 5, 2 * WEEK + BACKUP[1])
    story.event(BACKUP[0] + 3 * WEEK, -8.0)
    assert story.detected(3 * WEEK - 5, 3 * WEEK + BACKUP[1])
    story.event(BACKUP[0] + 4 * WEEK + 300, 20.0)
    assert story.detected(4 * WEEK + 295, 4 * WEEK + 300 + BACKUP[1])


def test_without_the_silence_the_same_backup_alerts_again(story: Story):
    story.train(TRAINED)
    story.event(BACKUP[0] + WEEK, 20.5)
    assert story.detected(WEEK - 5, WEEK + BACKUP[1])


def test_an_incident_is_not_learned_from(story: Story):
    """What is in force after training is what it would be, had the incident's samples been missing."""
    story.feedback.say(
        "incident",
        Span(NOW + BACKUP[0] * STEP, NOW + BACKUP[1] * STEP),
        author="ada",
        source="page",
        labels={"container": "a"},
    )
    story.train(TRAINED)
    taught = story.world.generations.current("cpu")
    assert taught is not None
    entry = taught.entries[entity("cpu", "a"), "zscore"]
    assert entry.figures["labelled"] == {"tp": 1, "fp": 0, "fn": 0, "tn": 0}
    assert "labelled" not in taught.entries[entity("cpu", "b"), "zscore"].figures
    assert Shelf(story.world.blobs).load("cpu") == {}
