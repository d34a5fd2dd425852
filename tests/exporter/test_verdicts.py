"""What becomes of judged models in the store: kept beside, promoted by hand, rolled back one by one, never lost."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.generations import Entry, Generation, GenerationMissingError, Generations
from anomaly_exporter.generations.documents import from_bytes, to_bytes
from anomaly_exporter.generations.verdicts import against, settle
from support.generation_writer import TARGET, a_pack, an_entity, an_entry

DAY = 86_400


class Wall:
    """A wall clock that moves two hours per look."""

    def __init__(self) -> None:
        self.now = 2_000_000_000.0

    def __call__(self) -> float:
        self.now += 7200
        return self.now


@pytest.fixture(name="generations")
def _generations(tmp_path: Path) -> Generations:
    return Generations(DirectoryBlobs(tmp_path), Wall())


def model(name: str, number: int, **fields: Any) -> Entry:
    """The ``number``-th model of a series, each in a pack of its own."""
    entry = an_entry(name, pack=f"{number:064x}", at=1_000_000 + number * 7200)
    return replace(entry, trained_at=1_700_000_000.0 + number, evaluated_at=1_700_000_000.0 + number, **fields)


def judged(name: str, number: int, beside: Entry | None, verdict: str = "promoted", **gate: Any) -> Entry:
    return model(name, number, verdict=verdict, gate={"against": against(beside), **gate})


def place(generation: Generation, name: str = "a") -> int:
    return int(generation.entries[an_entity(name), "fc"].pack, 16)


def test_a_promoted_model_replaces_the_one_it_was_judged_beside() -> None:
    old = model("a", 1)
    new = judged("a", 2, old)
    assert settle(new, old) is new
    assert settle(judged("a", 1, None), None) is not None


def test_a_rejected_model_stays_beside_the_one_in_force_which_counts_as_judged() -> None:
    old = model("a", 1, gate={"reason": "bounds", "course": [[1, 2.0, 0.5]]}, figures={"base": {"mad": 1.0}})
    new = judged("a", 2, old, "rejected", reason="recall", rejections=3, stuck=True, current={"recall": 0.9})
    kept = settle(new, old)
    assert kept is not None
    assert kept.place == old.place
    assert kept.verdict == "promoted"
    assert kept.evaluated_at == new.evaluated_at
    assert kept.gate == {"reason": "bounds", "course": [[1, 2.0, 0.5]], "rejections": 3, "stuck": True}
    assert kept.figures == {"base": {"mad": 1.0}, "injected": {"recall": 0.9}}
    assert kept.rejected is not None
    assert (kept.rejected.place, kept.rejected.verdict) == (new.place, "rejected")
    assert kept.rejected.gate == {"against": against(old), "reason": "recall", "rejections": 3, "stuck": True}


def test_habits_of_the_series_are_renewed_but_not_the_regime_that_the_model_knows() -> None:
    old = model("a", 1, figures={"habits": {"zeros": 1, "regime": 5.0}})
    new = judged("a", 2, old, "rejected")
    kept = settle(replace(new, figures={"habits": {"zeros": 2, "regime": 9.0}}), old)
    assert kept is not None
    assert kept.figures["habits"] == {"zeros": 2, "regime": 5.0}
    plain = settle(replace(new, figures={"habits": {"zeros": 2, "regime": 9.0}}), model("a", 1))
    assert plain is not None
    assert plain.figures["habits"] == {"zeros": 2}


def test_a_rejected_first_model_leaves_its_series_without_one() -> None:
    assert settle(judged("a", 1, None, "rejected", reason="insane"), None) is None


def test_a_model_judged_beside_another_one_than_is_in_force_is_not_promoted() -> None:
    """Whoever changed what is in force meanwhile, a person or another trainer, is not overruled."""
    old, rolled_back = model("a", 2), model("a", 1, gate={"rejections": 1})
    kept = settle(judged("a", 3, old, rejections=0), rolled_back)
    assert kept is not None
    assert kept.place == rolled_back.place
    assert kept.gate["rejections"] == 1
    assert kept.rejected is not None
    assert kept.rejected.gate["reason"] == "overtaken"


def test_a_rollback_while_a_training_runs_is_not_undone_by_its_commit(generations: Generations) -> None:
    for number in (1, 2):
        generations.commit(TARGET, [model("a", number), model("b", number)])
    seen = generations.current(TARGET)
    assert seen is not None
    began_beside = {name: seen.entries[an_entity(name), "fc"] for name in "ab"}
    generations.restore(TARGET, [(an_entity("a"), "fc")])
    late = [judged(name, 3, began_beside[name]) for name in "ab"]
    after = generations.commit(TARGET, late, settle=settle)
    assert (place(after, "a"), place(after, "b")) == (1, 3)
    kept = after.entries[an_entity("a"), "fc"]
    assert kept.verdict == "rolled_back"
    assert kept.rejected is not None


def test_one_series_goes_back_alone_and_a_second_time_further(generations: Generations) -> None:
    for number in (1, 2, 3):
        generations.commit(TARGET, [model("a", number), model("b", number)])
    key = an_entity("a"), "fc"
    first = generations.restore(TARGET, [key])
    assert (place(first, "a"), place(first, "b"), first.previous) == (2, 3, 3)
    second = generations.restore(TARGET, [key])
    assert (place(second, "a"), place(second, "b")) == (1, 3)
    with pytest.raises(GenerationMissingError, match=r"no earlier model of cpu\{container='a'\} \(fc\)"):
        generations.restore(TARGET, [key])
    assert generations.current(TARGET) == second


def test_what_does_not_exist_can_be_neither_restored_nor_promoted(generations: Generations) -> None:
    key = an_entity("a"), "fc"
    for change in (generations.restore, generations.promote):
        with pytest.raises(GenerationMissingError, match="train first"):
            change(TARGET, [key])
    generations.commit(TARGET, [model("a", 1)])
    for change in (generations.restore, generations.promote):
        with pytest.raises(GenerationMissingError, match="no model of cpu"):
            change(TARGET, [(an_entity("b"), "fc")])
    with pytest.raises(GenerationMissingError, match="no rejected model of cpu"):
        generations.promote(TARGET, [key])


def test_a_rejected_model_can_be_put_in_force_by_hand(generations: Generations) -> None:
    old = model("a", 1)
    generations.commit(TARGET, [old, model("b", 1)])
    refused = generations.commit(TARGET, [judged("a", 2, old, "rejected", reason="alerts")], settle=settle)
    assert place(refused) == 1
    after = generations.promote(TARGET, [(an_entity("a"), "fc")])
    entry = after.entries[an_entity("a"), "fc"]
    assert (place(after), entry.verdict, entry.rejected) == (2, "by_hand", None)
    assert place(generations.restore(TARGET, [(an_entity("a"), "fc")])) == 1


def test_the_pack_of_a_rejected_model_is_kept_as_long_as_it_may_be_promoted(tmp_path: Path) -> None:
    generations = Generations(DirectoryBlobs(tmp_path))
    packs = [a_pack(seed) for seed in (1, 2)]
    for pack in packs:
        generations.put_pack(pack)
    old = an_entry("a", pack=packs[0].digest)
    new = replace(an_entry("a", pack=packs[1].digest), verdict="rejected", gate={"against": against(old)})
    generations.commit(TARGET, [old])
    generations.commit(TARGET, [new], settle=settle)
    assert generations.prune(TARGET, keep=1, grace=-1).packs == 0
    generations.open_pack(packs[1].digest)
    generations.commit(TARGET, [old])
    assert generations.prune(TARGET, keep=1, grace=-1).packs == 1


def test_a_kept_model_is_not_forgotten_while_new_data_is_judged(generations: Generations) -> None:
    old = replace(model("a", 1), trained_data_end=100)
    new = replace(judged("a", 2, old, "rejected"), trained_data_end=900)
    generations.commit(TARGET, [old])
    assert generations.commit(TARGET, [new], settle=settle, forget_before=500).entries
    gone = generations.commit(TARGET, [model("b", 1)], settle=settle, forget_before=1000)
    assert [entity.get("container") for entity, _ in gone.entries] == ["b"]


def test_what_the_gate_said_comes_back_to_the_last_digit(generations: Generations) -> None:
    old = model("a", 1)
    generations.commit(TARGET, [old])
    new = judged("a", 2, old, "rejected", reason="recall", course=[[5, 0.1, None]], current={"recall": 0.25})
    committed = generations.commit(TARGET, [new], settle=settle)
    assert generations.current(TARGET) == committed


def test_documents_of_before_the_gate_can_be_read() -> None:
    generation = Generation(3, TARGET, 2.0, 1.0, 2, {e.key: e for e in [model("a", 1)]})
    document = json.loads(to_bytes(generation))
    for entry in document["entries"]:
        del entry["gate"], entry["rejected"]
    data = json.dumps(document).encode() + b"\n"
    assert from_bytes(data, hashlib.sha256(data).hexdigest(), TARGET) == generation


def test_operators_and_trainers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Eight trainers commit their own series while one series is rolled back and promoted again and again."""
    generations = Generations(DirectoryBlobs(tmp_path))
    first, second = model("x", 1), model("x", 2)
    generations.commit(TARGET, [first])
    generations.commit(TARGET, [second])
    key = an_entity("x"), "fc"

    def train(worker: int) -> None:
        before: Entry | None = None
        for number in range(5):
            new = judged(f"t{worker}", number, before)
            generations.commit(TARGET, [new], settle=settle)
            before = new

    def operate() -> None:
        for _ in range(5):
            generations.restore(TARGET, [key])
            late = judged("x", 2, second)
            generations.commit(TARGET, [late], settle=settle)
            generations.promote(TARGET, [key])

    threads = [threading.Thread(target=train, args=(w,)) for w in range(8)] + [threading.Thread(target=operate)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    current = generations.current(TARGET)
    assert current is not None
    assert {entity.get("container"): int(e.pack, 16) for (entity, _), e in current.entries.items()} == {
        **{f"t{w}": 4 for w in range(8)},
        "x": 2,
    }
