"""Recorded faults of a real cluster reach the mailbox of the right team, through real Prometheus and Alertmanager."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from anomaly_exporter.demo import replay
from anomaly_exporter.demo.recording import load
from support.shared_data import shared_data

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.keras,
    pytest.mark.usefixtures("servers"),
]


def test_a_fault_injected_into_a_real_cluster_is_mailed_to_the_team_of_its_service(tmp_path: Path) -> None:
    """Trained on the day before (a 12-hour hole lies between); one contention, one burn live, 60 times faster."""
    recording = load(shared_data() / "series", "nezha_ob")
    faults = recording.events[2:4]
    assert [(e.entity, e.kind) for e in faults] == [
        ("cartservice", "cpu_contention"),
        ("checkoutservice", "cpu_consumed"),
    ]
    stretch = replay.around(recording, faults, recipe="auto")
    with ExitStack() as on:
        running = replay.start(on, tmp_path, recording, stretch)
        replay.wait_for_models(running)
        replay.play(running, stretch.end)
        mailed = replay.findings(recording, stretch, replay.mail_notices(running))
        mailbox = running.mailbox
    assert mailbox is not None
    assert set(faults) <= {e for e, _ in mailed.found}, replay.report("mailed", mailed)
    assert not mailed.false, replay.report("mailed", mailed)
    mail = next(m for m in mailbox.mails if m.recipients == ("cartservice-team@demo.example",))
    assert "cartservice" in mail.subject
    assert "tag=cartservice" in mail.body("plain")
