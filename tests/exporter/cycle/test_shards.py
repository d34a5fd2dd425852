"""Shards share out the series: each is scored by exactly one, and a series that moves keeps its alert."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.generations.sharding import Shard, ShardError, parse_shard, shard_of
from anomaly_exporter.snapshot import Snapshot
from anomaly_models.frame import EntityKey
from support.snapshots import config_of
from support.watched import World, between, entity, view_of

NAMES = [f"c{i}" for i in range(12)]
MODELS = {"zscore": {"recipe": "zscore", "window": 6}}
SICK = "c1"
LABELS = st.dictionaries(st.sampled_from(["namespace", "container", "pod_name"]), st.text(max_size=6), max_size=3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    world(tmp_path, Shard()).train("cpu")
    return tmp_path


def world(root: Path, shard: Shard) -> World:
    """One shard over the store at ``root``; one of its series is sick from step 2 to 30."""
    made = World(root, config_of({"name": "cpu"}, models=MODELS), {"cpu": NAMES})
    made.restart(shard)
    made.source.changes.append(between(SICK, 2, 30, 40.0))
    return made


def said(snapshot: Snapshot) -> dict[str, tuple[float, bool]]:
    """Score and alert of every series that is shown."""
    view = view_of(snapshot, "cpu")
    return {
        str(e.entity.get("container")): (float(s.score[i]), bool(s.detected[i]))
        for s in view.scores
        for i, e in enumerate(s.entries)
        if s.shown[i]
    }


@given(labels=LABELS, total=st.integers(1, 50))
def test_every_entity_belongs_to_exactly_one_shard_whatever_its_target(labels: dict[str, str], total: int) -> None:
    one, other = EntityKey.of("a", labels), EntityKey.of("b", dict(reversed(labels.items())))
    owners = [i for i in range(total) if Shard(i, total).owns(one)]
    assert owners == [shard_of(one, total)] == [shard_of(other, total)]


def test_ten_thousand_entities_are_shared_out_evenly() -> None:
    sizes = [0] * 8
    for i in range(10_000):
        sizes[shard_of(EntityKey.of("cpu", {"namespace": f"ns{i % 40}", "container": f"c{i}"}), 8)] += 1
    assert max(sizes) < 1.1 * 10_000 / 8


@pytest.mark.parametrize("total", [2, 3, 5])
def test_shards_together_say_what_one_exporter_says_and_nothing_twice(root: Path, total: int) -> None:
    whole = said(world(root, Shard()).until(8))
    parts = [said(world(root, Shard(i, total)).until(8)) for i in range(total)]
    assert sum(len(part) for part in parts) == len(NAMES)
    assert {name: value for part in parts for name, value in part.items()} == whole
    assert whole[SICK][1], "an alert stands"


def test_resharding_moves_series_and_their_standing_alerts_come_along(root: Path) -> None:
    """Two shards become three in mid-incident: at the next cycle every series is said once, and the alert stands."""
    before = [world(root, Shard(i, 2)) for i in range(2)]
    assert {n for w in before for n, (_, detected) in said(w.until(8)).items() if detected} == {SICK}
    moved = [name for name in NAMES if shard_of(entity("cpu", name), 2) != shard_of(entity("cpu", name), 3)]
    assert SICK in moved, "the sick series must be one that moves"
    steady = world(root, Shard()).until(9)
    after = [said(world(root, Shard(i, 3)).at(9)) for i in range(3)]
    assert {name: value for part in after for name, value in part.items()} == said(steady)
    assert [part[SICK] for part in after if SICK in part] == [said(steady)[SICK]]


def test_counts_of_a_shard_are_of_its_own_series(root: Path) -> None:
    views = [view_of(world(root, Shard(i, 3)).at(0), "cpu") for i in range(3)]
    assert sum(v.expected for v in views) == sum(v.scored for v in views) == len(NAMES)
    assert sum(v.models["loaded"] for v in views) == len(NAMES)
    assert all(not v.unscored for v in views)


def test_a_shard_without_any_series_is_well_and_has_nothing_to_train(tmp_path: Path) -> None:
    made = World(tmp_path, config_of({"name": "cpu"}, models=MODELS), {"cpu": ["only"]})
    owner = shard_of(entity("cpu", "only"), 2)
    made.restart(Shard(1 - owner, 2))
    view = view_of(made.at(0), "cpu")
    assert (view.error, view.untrained, view.expected) == (None, False, 0)
    made.restart(Shard(owner, 2))
    assert view_of(made.at(0), "cpu").untrained


def test_a_shard_whose_last_series_ends_is_well_but_an_empty_answer_is_not(tmp_path: Path) -> None:
    made = World(tmp_path, config_of({"name": "cpu"}, models=MODELS), {"cpu": NAMES})
    made.train("cpu")
    shard = Shard(shard_of(entity("cpu", SICK), 12), 12)
    mine = [name for name in NAMES if shard.owns(entity("cpu", name))]
    made.restart(shard)
    made.at(0)
    made.source.changes += [between(name, 1, 99, float("nan")) for name in mine]
    assert view_of(made.at(1), "cpu").error is None
    made.source.changes += [between(name, 2, 99, float("nan")) for name in NAMES]
    assert "without a single sample" in (view_of(made.at(2), "cpu").error or "")


def test_two_series_of_one_name_meet_in_one_shard_where_the_first_target_wins(tmp_path: Path) -> None:
    targets = ({"name": "first", "metric": "m"}, {"name": "second", "metric": "m"})
    made = World(tmp_path, config_of(*targets, models=MODELS), {"first": NAMES, "second": NAMES})
    made.train("first")
    made.train("second")
    shown = []
    for i in range(3):
        made.restart(Shard(i, 3))
        snapshot = made.at(0)
        assert view_of(snapshot, "second").scored == 0
        shown.append(view_of(snapshot, "first").scored)
    assert sum(shown) == len(NAMES)


@pytest.mark.parametrize(
    ("text", "places", "shard"),
    [
        ("0/1", {}, (0, 1)),
        ("3/4", {}, (3, 4)),
        ("auto/3", {"index": "2"}, (2, 3)),
        ("auto/3", {"index": None, "host name": "anomaly-exporter-1"}, (1, 3)),
        ("auto/12", {"host name": "ae-10"}, (10, 12)),
    ],
)
def test_a_shard_is_given_or_found(text: str, places: dict[str, str | None], shard: tuple[int, int]) -> None:
    assert parse_shard(text, places) == shard


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("4/4", {}),
        ("-1/4", {}),
        ("1", {}),
        ("auto", {"index": "1"}),
        ("1/0", {}),
        ("0/20000", {}),
        ("auto/2", {"index": "2"}),
        ("auto/2", {}),
        ("auto/2", {"host name": "laptop"}),
        ("auto/2", {"host name": "pod1"}),
    ],
)
def test_a_shard_that_cannot_be_is_refused_with_what_was_expected(text: str, places: dict[str, str | None]) -> None:
    with pytest.raises(ShardError, match=r"--shard: (expected i/n|auto needs)"):
        parse_shard(text, places)
