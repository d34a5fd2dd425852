"""What becomes of a newly trained model beside the one in force when it is committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from .documents import Entry

PROMOTED: Final = "promoted"
REJECTED: Final = "rejected"
OVERTAKEN: Final = "overtaken"
"""Reason of a rejection: meanwhile another model came into force than the one that the new one was judged beside."""


def against(in_force: Entry | None) -> list[Any] | None:
    """What the gate writes down about the model it judges beside, None where there is none."""
    return None if in_force is None else list(in_force.place)


def settle(new: Entry, in_force: Entry | None) -> Entry | None:
    """The entry that holds after the gate's verdict on ``new``; None leaves an entity without a model.

    A promoted model replaces the one it was judged beside. If another one came into force meanwhile (a rollback, or
    another trainer), nobody compared these two: the new model is kept as rejected, and what is in force stays. A model
    that stays was judged on the newest data, so it is not stale; what was measured of it is brought up to date.
    """
    promoted = new.verdict == PROMOTED
    if in_force is None:
        return new if promoted else None
    judged_beside = new.gate.get("against") == against(in_force)
    if promoted and judged_beside:
        return new
    said = dict(new.gate)
    measured = said.pop("current", None) if judged_beside else None
    if promoted:
        said |= {"reason": OVERTAKEN, "detail": "another model came into force while this one was trained"}
    refused = replace(new, verdict=REJECTED, gate=said, rejected=None)
    figures = {**in_force.figures, **_habits(new, in_force), **({"injected": measured} if measured else {})}
    # Where something else came into force, its own count goes on.
    count: dict[str, Any] = {n: said[n] for n in ("rejections", "stuck") if n in said} if judged_beside else {}
    return replace(
        in_force,
        rejected=refused,
        evaluated_at=max(in_force.evaluated_at, new.evaluated_at),
        figures=figures,
        gate={**in_force.gate, **count},
    )


def _habits(new: Entry, in_force: Entry) -> dict[str, Any]:
    """Habits are the series', not the model's: the newest count. Only the regime is the one that the model learned."""
    habits, before = new.figures.get("habits"), in_force.figures.get("habits")
    if not isinstance(habits, Mapping):
        return {}
    known = {"regime": before["regime"]} if isinstance(before, Mapping) and "regime" in before else {}
    return {"habits": {name: value for name, value in habits.items() if name != "regime"} | known}
