"""Generations by the API: what is in force, what waits for a promotion, and the way back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.control import Bench, control
from support.snapshots import NOW, entry_of

CART, SHOP = {"namespace": "shop", "container": "cart"}, {"namespace": "shop", "container": "front"}


def commit(bench: Bench, *labels: dict[str, str], at: float, **fields: Any) -> None:
    """One round of training at wall time ``at``."""
    entries = [entry_of("cpu", one, trained_at=at, pack=f"{int(at):064x}", **fields) for one in labels]
    bench.generations.commit("cpu", entries, began=None)


def listed(bench: Bench, path: str = "/generations/cpu") -> Any:
    return bench.api("GET", path, role="viewer").json["generations"]


def packs(bench: Bench) -> dict[str, int]:
    """Container -> when the model in force was trained."""
    current = bench.generations.current("cpu")
    assert current
    return {dict(entity.labels)["container"]: int(e.trained_at) for (entity, _), e in current.entries.items()}


def test_without_models_there_are_no_generations(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        assert listed(bench) == listed(bench, "/generations") == []
        assert bench.api("GET", "/generations/nothing").status == 404
        answer = bench.api("POST", "/generations/cpu/rollback", {}, role="admin")
        assert (answer.status, answer.json["detail"]) == (409, "cpu has no models in force that fit")


def test_generations_are_listed_the_one_in_force_first(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        commit(bench, CART, SHOP, at=NOW)
        commit(bench, CART, at=NOW + 1)
        found = listed(bench)
        assert [(g["number"], g["in_force"], g["previous"]) for g in found] == [(2, True, 1), (1, False, None)]
        assert found[0]["models"] == {"zscore": 2}
        assert found[0]["verdicts"] == {"promoted": 2}
        assert [g["number"] for g in listed(bench, "/generations")] == [2]


def test_a_rollback_returns_to_the_models_before(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        commit(bench, CART, SHOP, at=NOW)
        commit(bench, CART, SHOP, at=NOW + 1)
        answer = bench.api("POST", "/generations/cpu/rollback", {}, role="admin")
        assert (answer.status, answer.json) == (200, {"target": "cpu", "number": 3, "models": 2})
        assert packs(bench) == {"cart": NOW, "front": NOW}
        assert bench.api("POST", "/generations/cpu/rollback", {}, role="admin").status == 409
        assert packs(bench) == {"cart": NOW, "front": NOW}


def test_a_rollback_of_one_series_leaves_the_others(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        commit(bench, CART, SHOP, at=NOW)
        commit(bench, CART, SHOP, at=NOW + 1)
        answer = bench.api("POST", "/generations/cpu/rollback", {"labels": CART}, role="admin")
        assert answer.json["models"] == 1
        assert packs(bench) == {"cart": NOW, "front": NOW + 1}


def test_what_the_gate_kept_out_is_promoted_by_hand(tmp_path: Path) -> None:
    with control(tmp_path) as bench:
        champion = entry_of("cpu", CART, trained_at=NOW)
        candidate = replace(champion, trained_at=NOW + 9, pack="9" * 64, verdict="rejected")
        bench.generations.commit("cpu", [replace(champion, rejected=candidate), entry_of("cpu", SHOP, trained_at=NOW)])
        assert listed(bench)[0]["rejected"] == 1
        assert bench.api("POST", "/generations/cpu/promote", {"labels": SHOP}, role="admin").status == 409
        answer = bench.api("POST", "/generations/cpu/promote", {}, role="admin")
        assert (answer.status, answer.json["models"]) == (200, 1)
        assert packs(bench) == {"cart": NOW + 9, "front": NOW}
        assert listed(bench)[0]["verdicts"] == {"by_hand": 1, "promoted": 1}
        assert bench.counted("changes_total", action="promote", outcome="done") == 1


@pytest.mark.parametrize("body", [{"label": {}}, {"labels": {"a b": "c"}}, {"model": "A"}, []])
def test_a_choice_that_makes_no_sense_is_refused(tmp_path: Path, body: Any) -> None:
    with control(tmp_path) as bench:
        commit(bench, CART, at=NOW)
        assert bench.api("POST", "/generations/cpu/promote", body, role="admin").status == 422
