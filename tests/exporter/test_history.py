"""History is read once: what was appended comes back bit for bit, the rest is a hole, whatever breaks in between."""

from __future__ import annotations

import csv
import errno
import logging
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_exporter.blobs import DirectoryBlobs, StoreFullError
from anomaly_exporter.config import Query, Target
from anomaly_exporter.history import History, TableError, data_digest, export_csv, load_csv
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Block, EntityKey, Span, grid

DAY = 86_400
STEP = 3600
DAY0 = 100 * DAY


def target(**more: object) -> Target:
    base: dict[str, object] = {"name": "t", "metric": "cpu", "labels": ("namespace", "container"), "step": STEP}
    queries = (Query(name="cpu", expr="cpu"), Query(name="mem", expr="mem"))
    return Target.model_validate({**base, "queries": queries, **more})


def entity(container: str) -> EntityKey:
    return EntityKey.of("t", {"namespace": "a", "container": container})


ENTITIES = tuple(entity(f"c{i}") for i in range(3))


def truth(times: np.ndarray) -> np.ndarray:
    """What the source would answer at ``times``: float32 [T, 3, 2], a function of time and series."""
    series = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    return ((times[:, None, None] // STEP) * 10 + series).astype(np.float32) / np.float32(7)


def block(start: int, rows: int, missing: float = 0.0) -> Block:
    times = grid(Span(start, start + rows * STEP), STEP)
    values = truth(times)
    if missing:
        values[np.random.default_rng(start % 997).random(values.shape) < missing] = np.nan
    return Block(int(times[0]), STEP, ENTITIES, ("cpu", "mem"), values)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(DirectoryBlobs(tmp_path / "store"))


def names(history: History) -> list[str]:
    return [name.split("/", 3)[3] for name in history.blobs.list("history/")]


def test_what_was_appended_is_read_bit_for_bit_and_the_rest_is_missing(history: History) -> None:
    history.append(target(), block(DAY0 + 20 * STEP, 10))
    read = history.read(target(), Span(DAY0, DAY0 + 2 * DAY))
    assert read.entities == ENTITIES
    assert read.times.tolist() == grid(Span(DAY0, DAY0 + 2 * DAY), STEP).tolist()
    np.testing.assert_array_equal(read.values[20:30], block(DAY0 + 20 * STEP, 10).values)
    assert np.isnan(np.delete(read.values, np.s_[20:30], axis=0)).all()


def test_an_empty_history_is_one_hole_and_an_empty_block(history: History) -> None:
    span = Span(DAY0, DAY0 + DAY)
    assert history.holes(target(), span) == [span]
    assert history.read(target(), span).values.shape == (24, 0, 2)
    assert history.entities(target(), span) == ()


def test_holes_lie_on_the_grid_and_between_what_was_read(history: History) -> None:
    history.append(target(), block(DAY0 + 3 * STEP, 2))
    history.append(target(), block(DAY0 + 7 * STEP, 1))
    at = [DAY0 + h * STEP for h in range(24)]
    assert history.holes(target(), Span(at[1] - 7, at[9] + 1)) == [
        Span(at[1], at[3]),
        Span(at[5], at[7]),
        Span(at[8], at[10]),
    ]
    assert history.holes(target(), Span(at[3], at[5])) == []
    assert history.holes(target(), Span(at[3] + 1, at[4])) == []


def test_reading_the_same_span_again_changes_nothing(history: History) -> None:
    assert history.append(target(), block(DAY0, 30)) == 30
    before = {name: history.blobs.fetch(name).read_bytes() for name in history.blobs.list("")}
    other = block(DAY0, 30)
    other.values[:] = 0
    assert history.append(target(), other) == 0
    assert {name: history.blobs.fetch(name).read_bytes() for name in history.blobs.list("")} == before


def test_an_overlapping_append_adds_only_the_new_rows(history: History) -> None:
    history.append(target(), block(DAY0, 10))
    assert history.append(target(), block(DAY0 + 5 * STEP, 10)) == 5
    span = Span(DAY0, DAY0 + 15 * STEP)
    np.testing.assert_array_equal(history.read(target(), span).values, block(DAY0, 15).values)


def test_an_answer_without_any_sample_is_not_believed(history: History) -> None:
    """Right after a restart Prometheus answers 200 with nothing: that must not become a hole for good."""
    span = Span(DAY0, DAY0 + DAY)
    assert history.append(target(), Block.empty(span, STEP, ENTITIES, ("cpu", "mem"))) == 0
    assert history.holes(target(), span) == [span]


def test_leading_emptiness_of_an_answer_with_samples_is_believed(history: History) -> None:
    """Ten days of retention, thirty asked for: the twenty empty ones are not asked for again."""
    answer = block(DAY0, 30 * 24)
    answer.values[: 20 * 24] = np.nan
    history.append(target(), answer)
    assert history.holes(target(), answer.span) == []
    np.testing.assert_array_equal(history.read(target(), answer.span).values, answer.values)


def test_a_finished_day_becomes_one_blob_and_the_newest_stays_in_pieces(history: History) -> None:
    for start in range(0, 36, 4):
        history.append(target(), block(DAY0 + start * STEP, 4))
    day, next_day = "1970-04-11", "1970-04-12"
    at = [DAY0 + h * STEP for h in range(49)]
    assert names(history) == [
        f"{day}/{at[0]}-{at[24]}.block",
        *(f"{next_day}/{at[h]}-{at[h + 4]}.block" for h in (24, 28, 32)),
    ]
    span = Span(DAY0, DAY0 + 36 * STEP)
    np.testing.assert_array_equal(history.read(target(), span).values, block(DAY0, 36).values)


def test_a_hole_inside_a_finished_day_stays_a_hole_after_merging(history: History) -> None:
    for start in (0, 4, 12, 16, 24):
        history.append(target(), block(DAY0 + start * STEP, 4))
    assert len(names(history)) == 3
    assert history.holes(target(), Span(DAY0, DAY0 + DAY)) == [
        Span(DAY0 + 8 * STEP, DAY0 + 12 * STEP),
        Span(DAY0 + 20 * STEP, DAY0 + 24 * STEP),
    ]


def test_single_rows_of_a_live_day_are_merged_before_they_are_many(history: History) -> None:
    small = target(step=60)
    for i in range(70):
        values = np.full((1, 1, 2), i, np.float32)
        history.append(small, Block(DAY0 + i * 60, 60, ENTITIES[:1], ("cpu", "mem"), values))
    assert len(names(history)) < 35
    read = history.read(small, Span(DAY0, DAY0 + 70 * 60))
    assert read.values[:, 0, 0].tolist() == list(range(70))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 80), st.integers(1, 40)), min_size=1, max_size=8))
def test_any_order_of_appends_gives_the_truth_where_something_was_appended_and_holes_elsewhere(
    appends: list[tuple[int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        history = History(DirectoryBlobs(Path(folder)))
        covered = np.zeros(120, np.bool_)
        for start, rows in appends:
            new = np.count_nonzero(~covered[start : start + rows])
            assert history.append(target(), block(DAY0 + start * STEP, rows)) == new
            covered[start : start + rows] = True
        span = Span(DAY0, DAY0 + 120 * STEP)
        holes = np.zeros(120, np.bool_)
        for hole in history.holes(target(), span):
            holes[(hole.start - DAY0) // STEP : (hole.end - DAY0) // STEP] = True
        np.testing.assert_array_equal(holes, ~covered)
        read = history.read(target(), span, entities=ENTITIES).values
        np.testing.assert_array_equal(read[covered], truth(grid(span, STEP))[covered])
        assert np.isnan(read[~covered]).all()


def test_some_entities_are_read_in_the_order_asked_for(history: History) -> None:
    history.append(target(), block(DAY0, 5))
    read = history.read(target(), Span(DAY0, DAY0 + 5 * STEP), entities=[ENTITIES[2], entity("new"), ENTITIES[0]])
    assert read.entities == (ENTITIES[2], entity("new"), ENTITIES[0])
    np.testing.assert_array_equal(read.values[:, [0, 2]], block(DAY0, 5).values[:, [2, 0]])
    assert np.isnan(read.values[:, 1]).all()


def test_entities_come_and_go_from_day_to_day(history: History) -> None:
    first = Block(DAY0, STEP, ENTITIES[:2], ("cpu", "mem"), block(DAY0, 24).values[:, :2])
    second = Block(DAY0 + DAY, STEP, ENTITIES[1:], ("cpu", "mem"), block(DAY0 + DAY, 24).values[:, 1:])
    history.append(target(), first)
    history.append(target(), second)
    read = history.read(target(), Span(DAY0, DAY0 + 2 * DAY))
    assert read.entities == ENTITIES
    assert np.isnan(read.values[24:, 0]).all()
    assert np.isnan(read.values[:24, 2]).all()
    assert history.entities(target(), Span(DAY0, DAY0 + STEP)) == ENTITIES[:2]


def test_labels_of_any_text_survive(history: History) -> None:
    odd = EntityKey.of("t", {"namespace": 'a"b\\c\n', "container": "✓ ../x"})
    history.append(target(), Block(DAY0, STEP, (odd,), ("cpu", "mem"), np.ones((1, 1, 2), np.float32)))
    assert history.read(target(), Span(DAY0, DAY0 + STEP)).entities == (odd,)


def test_another_meaning_of_the_samples_is_another_history(history: History) -> None:
    history.append(target(), block(DAY0, 5))
    changed = target(aggregation="max")
    assert history.holes(changed, Span(DAY0, DAY0 + STEP)) == [Span(DAY0, DAY0 + STEP)]
    old = history.read(changed, Span(DAY0, DAY0 + STEP), digest=data_digest(target()))
    np.testing.assert_array_equal(old.values, block(DAY0, 1).values)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"labels": ("container", "namespace")}, True),
        ({"delay": 120}, True),
        ({"models": ("fc",)}, True),
        ({"tag": "team"}, True),
        ({"step": 60}, False),
        ({"aggregation": "sum"}, False),
        ({"rename": {"exported_namespace": "namespace"}}, False),
        ({"labels": ("namespace",)}, False),
        ({"zero_gap": 2}, False),
        ({"queries": (Query(name="cpu", expr="cpu2"), Query(name="mem", expr="mem"))}, False),
        ({"queries": (Query(name="cpu", expr="cpu", fallback="x"), Query(name="mem", expr="mem"))}, False),
        ({"queries": (Query(name="cpu", expr="cpu", freshness="x"), Query(name="mem", expr="mem"))}, True),
    ],
)
def test_the_digest_changes_exactly_with_the_meaning_of_the_samples(change: dict[str, object], same: bool) -> None:
    assert (data_digest(target(**change)) == data_digest(target())) is same


def test_a_block_of_another_step_or_other_features_is_refused(history: History) -> None:
    with pytest.raises(InvalidShapeError, match=r"needs step 3600 and features \('cpu', 'mem'\), received 60"):
        history.append(target(), Block(0, 60, (), ("cpu", "mem"), np.empty((0, 0, 2), np.float32)))
    with pytest.raises(InvalidShapeError, match=r"received 3600 and \('cpu',\)"):
        history.append(target(), Block(0, STEP, (), ("cpu",), np.empty((0, 0, 1), np.float32)))


def test_retention_removes_what_ends_before_it_and_nothing_else(history: History) -> None:
    history.append(target(), block(DAY0, 3 * 24))
    history.append(target(aggregation="sum"), block(DAY0, 24))
    assert history.retain(target(), DAY0 + DAY) == 2
    assert history.retain(target(), DAY0 + DAY + 1) == 0
    assert history.holes(target(), Span(DAY0, DAY0 + 3 * DAY)) == [Span(DAY0, DAY0 + DAY)]


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[:-5]
    elif how == "longer":
        data += b"x"
    elif how == "empty":
        data = bytearray()
    elif how == "magic":
        data[0] ^= 255
    elif how == "header":
        data[40] ^= 1
    elif how == "sample":
        data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["truncated", "longer", "empty", "magic", "header", "sample"])
def test_a_damaged_block_is_logged_counted_and_becomes_a_hole_that_can_be_filled(
    history: History, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    other = target(name="other")
    history.append(target(), block(DAY0, 3 * 24))
    history.append(other, block(DAY0, 3 * 24))
    path = history.blobs.fetch(history.blobs.list("history/t/")[1])
    damage(path, how)
    with caplog.at_level(logging.ERROR):
        read = history.read(target(), Span(DAY0, DAY0 + 3 * DAY), entities=ENTITIES)
    assert np.isnan(read.values[24:48]).all()
    np.testing.assert_array_equal(read.values[:24], block(DAY0, 24).values)
    np.testing.assert_array_equal(read.values[48:], block(DAY0 + 2 * DAY, 24).values)
    assert [
        record.message for record in caplog.records if path.name in record.message and "never read" in record.message
    ]
    assert history.failures == {"damaged": 1}
    assert history.holes(target(), Span(DAY0, DAY0 + 3 * DAY)) == [Span(DAY0 + DAY, DAY0 + 2 * DAY)]
    assert history.append(target(), block(DAY0, 3 * 24)) == 24
    np.testing.assert_array_equal(history.read(target(), Span(DAY0, DAY0 + 3 * DAY)).values, block(DAY0, 3 * 24).values)
    assert history.holes(other, Span(DAY0, DAY0 + 3 * DAY)) == []


def test_a_block_under_a_name_that_claims_more_than_it_holds_is_damaged(history: History) -> None:
    history.append(target(), block(DAY0, 5))
    path = history.blobs.fetch(history.blobs.list("history/")[0])
    path.rename(path.with_name(f"{DAY0}-{DAY0 + DAY}.block"))
    assert history.holes(target(), Span(DAY0, DAY0 + DAY)) == [Span(DAY0, DAY0 + DAY)]
    assert history.failures == {"damaged": 1}


def test_an_unreadable_block_is_a_hole_but_is_not_thrown_away(
    history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An I/O error may pass: the bytes may still be good."""
    history.append(target(), block(DAY0, 5))
    span = Span(DAY0, DAY0 + 5 * STEP)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("anomaly_exporter.history.store.open_block", fail)
        assert history.holes(target(), span) == [span]
    assert "Input/output error" in caplog.text
    assert history.failures == {"unreadable": 1}
    assert history.holes(target(), span) == []


WRITER = """
import sys
from pathlib import Path
import numpy as np
from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.config import Query, Target
from anomaly_exporter.history import History
from anomaly_models.frame import Block, EntityKey
target = Target(name="t", metric="cpu", labels=("c",), tag="x", step=60, queries=(Query(expr="cpu"),))
history = History(DirectoryBlobs(Path(sys.argv[1])))
entities = tuple(EntityKey.of("t", {"c": f"{i:03}"}) for i in range(200))
row = 0
while True:
    values = np.broadcast_to(np.arange(row, row + 120, dtype=np.float32)[:, None, None], (120, 200, 1))
    history.append(target, Block(row * 60, 60, entities, ("value",), values.copy()))
    row += 120
    print(row, flush=True)
"""


def test_a_killed_process_never_leaves_a_span_that_claims_to_be_read_but_is_not(tmp_path: Path) -> None:
    """kill -9 while appending and merging: every row outside the holes holds its samples."""
    small = Target(name="t", metric="cpu", labels=("c",), tag="x", step=60, queries=(Query(expr="cpu"),))
    blobs = DirectoryBlobs(tmp_path)
    for attempt in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        promised = 0
        for _ in range(5 + 7 * attempt):
            promised = int(writer.stdout.readline())
        writer.kill()
        writer.wait()
        writer.stdout.close()
        history = History(blobs)
        span = Span(0, (promised + 120) * 60)
        read = history.read(small, span)
        whole = np.ones(len(read.times), np.bool_)
        for hole in history.holes(small, span):
            whole[hole.start // 60 : hole.end // 60] = False
        assert whole[:promised].all()
        expected = np.arange(whole.size, dtype=np.float32)[:, None]
        np.testing.assert_array_equal(read.values[whole, :, 0], np.broadcast_to(expected, (whole.size, 200))[whole])
        assert history.failures == {}


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from anomaly_exporter.blobs import DirectoryBlobs, StoreFullError
from anomaly_exporter.config import Query, Target
from anomaly_exporter.history import History
from anomaly_models.frame import Block, EntityKey, Span
target = Target(name="t", metric="cpu", labels=("c",), tag="x", step=60, queries=(Query(expr="cpu"),))
history = History(DirectoryBlobs(Path(sys.argv[1])))
entities = tuple(EntityKey.of("t", {"c": f"{i:03}"}) for i in range(200))
block = Block(0, 60, entities, ("value",), np.ones((1440, 200, 1), np.float32))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    history.append(target, block)
except StoreFullError as error:
    print(type(error).__name__, error)
print(history.holes(target, block.span), history.append(target, block.slice(Span(0, 3600))))
"""


def test_a_full_disk_is_a_store_full_error_and_the_span_stays_a_hole(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("StoreFullError history/t/")
    assert second == "[Span(start=0, end=86400)] 60"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [".lock", "0-3600.block"]


def test_merging_that_finds_no_room_is_logged_and_loses_nothing(
    history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for start in (0, 12):
        history.append(target(), block(DAY0 + start * STEP, 12 if start == 0 else 6))
    put = history.blobs.put

    def refuse_whole_days(name: str, data: bytes) -> None:
        if name.endswith(f"{DAY0}-{DAY0 + DAY}.block"):
            raise StoreFullError("no room")
        put(name, data)

    monkeypatch.setattr(history.blobs, "put", refuse_whole_days)
    history.append(target(), block(DAY0 + 18 * STEP, 10))
    assert "a day could not be merged: no room" in caplog.text
    assert history.failures == {"full": 1}
    np.testing.assert_array_equal(history.read(target(), Span(DAY0, DAY0 + 28 * STEP)).values, block(DAY0, 28).values)


def test_a_reader_sees_everything_while_another_thread_appends_and_merges(history: History) -> None:
    history.append(target(), block(DAY0, 24))
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            holes = history.holes(target(), Span(DAY0, DAY0 + DAY))
            values = history.read(target(), Span(DAY0, DAY0 + DAY)).values
            if holes or not np.array_equal(values, block(DAY0, 24).values):
                wrong.append((holes, values))

    reader = threading.Thread(target=read)
    reader.start()
    for start in range(24, 24 * 4, 2):
        history.append(target(), block(DAY0 + start * STEP, 2))
    stop.set()
    reader.join()
    assert wrong == []


def test_csv_carries_the_very_same_bits_to_another_store(history: History, tmp_path: Path) -> None:
    original = block(DAY0 + 5 * STEP, 60, missing=0.3)
    history.append(target(), original)
    table = tmp_path / "history.csv"
    rows = export_csv(history, target(), table, Span(DAY0, DAY0 + 4 * DAY))
    with table.open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["timestamp", "container", "namespace", "cpu", "mem"]
    assert len(lines) == rows + 1
    other = History(DirectoryBlobs(tmp_path / "other"))
    assert load_csv(other, target(), table) == 60
    np.testing.assert_array_equal(other.read(target(), original.span).values, original.values)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "other", "store"]


def test_an_exported_table_reads_like_this(history: History, tmp_path: Path) -> None:
    values = np.array([[[0.1, np.nan]], [[np.nan, np.nan]], [[1e9, -3]]], np.float32)
    history.append(target(), Block(DAY0, STEP, (entity('a"b,c'),), ("cpu", "mem"), values))
    table = tmp_path / "x.csv"
    export_csv(history, target(), table, Span(DAY0, DAY0 + DAY))
    assert table.read_text() == (
        "timestamp,container,namespace,cpu,mem\n"
        '8640000,"a""b,c",a,0.1,\n'
        '8647200,"a""b,c",a,1e+09,-3.0\n'
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,container,namespace,cpu,mem\n", r"x.csv:1: expected the columns \['timestamp', 'container'"),
        ("", r"x.csv:1: expected the columns .* received \[\]"),
        ("timestamp,container,namespace,cpu,mem\n3600,c,n,1\n", r"x.csv:2: expected 5 cells, received 4"),
        ("timestamp,container,namespace,cpu,mem\n3601,c,n,1,2\n", r"x.csv:2: expected a timestamp that is a multiple"),
        ("timestamp,container,namespace,cpu,mem\n-3600,c,n,1,2\n", r"x.csv:2: expected a timestamp"),
        ("timestamp,container,namespace,cpu,mem\nnow,c,n,1,2\n", r"x.csv:2: invalid literal"),
        ("timestamp,container,namespace,cpu,mem\n3600,c,n,one,2\n", r"x.csv:2: could not convert"),
        ("timestamp,container,namespace,cpu,mem\n3600,c,n,inf,2\n", r"x.csv:2: expected finite values"),
        ("timestamp,container,namespace,cpu,mem\n3600,c,n,1,2\n3600,c,n,1,2\n", r"x.csv:3: t\{.*\} has a second row"),
        ('timestamp,container,namespace,cpu,mem\n3600,"c,n,1,2\n', r"x.csv: not a CSV table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_file_and_line(
    history: History, tmp_path: Path, text: str, message: str
) -> None:
    table = tmp_path / "x.csv"
    table.write_text(text)
    with pytest.raises(TableError, match=message):
        load_csv(history, target(), table)
    assert history.blobs.list("") == []
