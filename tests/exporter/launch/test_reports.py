"""What a training leaves behind for whoever follows it from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.launch.cron import next_time
from anomaly_exporter.launch.reports import Report, newest_round, read, summed, told, write

HOUR, DAY = 3600, 86_400
EVENTS = (
    {"event": "start", "target": "cpu", "entities": 3, "samples_read": 120},
    {"event": "stage", "stage": "fit", "rss_bytes": 300},
    {"event": "stage", "stage": "fit", "rss_bytes": 200},
    {"event": "progress", "done": 1, "total": 3},
    {"event": "trained", "entities": 2, "failed": {"too_short": 1}, "rejected": 1},
    {"event": "trained", "entities": 3, "failed": {"too_short": 1, "no_data": 2}},
)


def test_a_report_sums_up_the_events_of_a_training(tmp_path: Path) -> None:
    report = Report("cpu", "1/4", 5.0)
    for event in EVENTS:
        report = told(report, event)
    assert (report.samples_read, report.promoted, report.rejected) == (120, 5, 1)
    assert report.failed == {"too_short": 2, "no_data": 2}
    assert report.stage_memory == {"fit": 300}
    store = DirectoryBlobs(tmp_path)
    write(store, report)
    write(store, report)
    assert read(store, ["cpu", "memory"]) == [report]


def test_reports_of_another_number_of_shards_are_history() -> None:
    old = [Report("cpu", f"{i}/4", 1.0, samples_read=9) for i in range(4)]
    new = [Report("cpu", f"{i}/2", 2.0, samples_read=5) for i in range(2)]
    assert summed(newest_round([*old, *new]))["samples_read"] == 10
    assert newest_round([]) == []


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"target": "cpu"}', b"\xff"])
def test_a_damaged_report_is_left_out(tmp_path: Path, data: bytes) -> None:
    store = DirectoryBlobs(tmp_path)
    store.put("reports/cpu/0-of-1.json", data)
    assert read(store, ["cpu"]) == []
    write(store, Report("cpu", "0/1", 1.0))
    assert len(read(store, ["cpu"])) == 1


def test_a_store_that_cannot_be_written_ends_no_training(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file, not a folder")
    write(DirectoryBlobs(tmp_path), Report("cpu", "0/1", 1.0))


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        ("0 */2 * * *", None, 0.0, 2 * HOUR),
        ("0 */2 * * *", None, 2 * HOUR, 4 * HOUR),
        ("*/15 * * * *", "Etc/UTC", 901.0, 1800),
        ("30 3 * * *", "Europe/Berlin", 0.0, 2.5 * HOUR),
        ("0 0 * * 0", None, 0.0, 3 * DAY),
        ("0 0 * * 7", None, 0.0, 3 * DAY),
        ("0 0 * * SUN", None, 0.0, 3 * DAY),
        ("0 0 1,15 * *", None, 0.0, 14 * DAY),
        ("0 0 13 * 5", None, 0.0, DAY),
        ("0 0 29 2 *", None, 0.0, (365 * 2 + 31 + 28) * DAY),
        ("@hourly", None, 10.0, HOUR),
        ("5-10/5 1 * jan *", None, 0.0, HOUR + 300),
        ("0 0 30 2 *", None, 0.0, None),
        ("nonsense", None, 0.0, None),
        ("61 * * * *", None, 0.0, None),
        ("0 0 * * *", "Nowhere/Land", 0.0, None),
    ],
)
def test_the_next_start_of_a_cron_schedule(
    schedule: str, zone: str | None, after: float, expected: float | None
) -> None:
    assert next_time(schedule, zone, after) == expected
