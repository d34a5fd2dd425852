"""Ask the promotion gate about a batch of newly trained models, beside those in force and beside simple baselines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from anomaly_exporter.generations import Entry
from anomaly_exporter.generations.verdicts import against
from anomaly_models import cleaning, gate, injection, proving, scorers, windows
from anomaly_models.frame import F32, Block, Bool, EntityKey, Scorer
from anomaly_models.gate import GateSpec, Measures, Point, Verdict
from anomaly_models.model_spec import ModelSpec
from anomaly_models.proving import Contender, Ground, Proof, Rules, Trial
from anomaly_models.thresholds import Recent, ThresholdInputs
from anomaly_models.training import Plan, TrainedBatch

log = logging.getLogger(__name__)

I64 = npt.NDArray[np.int64]
BASELINES: Final = ("seasonal", "zscore")
"""Members that any other model must beat at an equal number of notifications."""
BASELINE_WINDOW: Final = 2
ITSELF: Final = "itself"
"""The new model among the baselines."""


@dataclass(frozen=True)
class InForce:
    """What a run found in force: ``entries`` by entity and model, and ``stack``, the models of a pack (None: broken).

    Only entries of the data digest ``digest`` can be compared with new ones.
    """

    entries: Mapping[tuple[EntityKey, str], Entry]
    stack: Callable[[str], Scorer | None]
    digest: str


@dataclass(frozen=True)
class Judged:
    """A batch after the gate: ``entries`` with their verdicts, ``promoted`` and ``rejected`` among them."""

    entries: list[Entry]
    promoted: int
    rejected: int


@dataclass(frozen=True)
class _Fought:
    """Models on the ground: their untouched scores, their proof and what was measured, entity by entity."""

    replay: F32
    proof: Proof
    measures: list[Measures]


def judge(  # noqa: PLR0917  what was trained, from what, by which rules
    batch: TrainedBatch,
    entries: Sequence[Entry],
    block: Block,
    plan: Plan,
    rules: Rules,
    spec: GateSpec,
    in_force: InForce,
) -> Judged:
    """The ``entries`` of ``batch``, trained from ``block``, each with the gate's verdict and what it measured.

    ``rules``: one row of budgets per entry. A gate that fails is no reason to freeze models: the batch is then promoted
    as it is, and the log says so.
    """
    known = [in_force.entries.get(e.key) for e in entries]
    beside = [replace(e, gate={**e.gate, "against": against(k)}) for e, k in zip(entries, known, strict=True)]
    if not spec.enabled or batch.scorer is None or not entries:
        return Judged(beside, len(beside), 0)
    try:
        out = _judged(batch, batch.scorer, beside, known, block, plan, rules, spec, in_force)
    except Exception:
        log.exception("the promotion gate failed, models are promoted unseen", extra={"model": entries[0].model})
        return Judged(beside, len(beside), 0)
    promoted = sum(e.verdict == "promoted" for e in out)
    return Judged(out, promoted, len(out) - promoted)


def _judged(  # noqa: PLR0917
    batch: TrainedBatch,
    scorer: Scorer,
    entries: Sequence[Entry],
    known: Sequence[Entry | None],
    block: Block,
    plan: Plan,
    rules: Rules,
    spec: GateSpec,
    in_force: InForce,
) -> list[Entry]:
    order = {entity: i for i, entity in enumerate(block.entities)}
    block = block.take([order[e.entity] for e in entries])
    candidate = Contender(scorer.take([r.row for r in batch.rows]), [r.threshold for r in batch.rows])
    packs = _by_pack(known, in_force)
    windows_ = [candidate.scorer.window, BASELINE_WINDOW, *(s.window for s, _ in packs)]
    lead = max(windows_) - 1 + rules.alert.persistence - 1
    begin = np.array(
        [_begin(block, r.test_start, k, spec.replay) for r, k in zip(batch.rows, known, strict=True)], np.int64
    )
    ground = Ground.of(block, plan.cleaning, begin, lead)
    cases = injection.cases(block.step, spec.amplitudes, least=rules.alert.persistence + 1, seed=plan.model.seed)
    replay = ground.replay(candidate, rules)
    with np.errstate(invalid="ignore"):
        trials = ground.trials(np.isfinite(replay) & ~(replay >= 1), cases, lead)
    new = _fight(ground, candidate, rules, replay, trials)
    old = _beside(ground, packs, known, rules, trials)
    baselines = _baselines(ground, block, plan, begin, new, trials, rules)
    at = ground.start + ground.step * (len(ground.x) - 1)
    out = []
    for i, fresh in enumerate(entries):
        remembered = known[i].gate if known[i] is not None and old[i] is not None else {}  # type: ignore[union-attr]
        course = [p for p in map(Point.from_json, remembered.get("course", ())) if p is not None]
        rejections = int(remembered.get("rejections", 0))
        verdict = gate.decide(spec, new.measures[i], old[i], at, course, rejections)
        _report(fresh, verdict)
        entry = _with(fresh, verdict, {name: float(found[i]) for name, found in baselines.items()})
        stuck = verdict.rejections >= spec.patience
        out.append(replace(entry, gate={**entry.gate, "stuck": True}) if stuck else entry)
    return out


def _by_pack(known: Sequence[Entry | None], in_force: InForce) -> list[tuple[Scorer, list[int]]]:
    """Models in force that can be compared with, a stack per pack, and which entities they are of."""
    packs: dict[str, list[int]] = {}
    for i, entry in enumerate(known):
        if entry is not None and entry.data_digest == in_force.digest:
            packs.setdefault(entry.pack, []).append(i)
    out = []
    for pack, rows in packs.items():
        stack = in_force.stack(pack)
        at = [known[i].row for i in rows]  # type: ignore[union-attr]
        if stack is not None and max(at) < stack.scale.shape[0]:
            out.append((stack.take(at), rows))
    return out


def _begin(block: Block, test_start: int, known: Entry | None, replay: int) -> int:
    """Data time from which neither model has seen anything, at most ``replay`` seconds before the end of the block."""
    seen = int(known.training.get("test_start", 0)) if known is not None else 0
    return max(block.end - replay, test_start, min(seen, block.end - block.step))


def _fight(ground: Ground, contender: Contender, rules: Rules, replay: F32, trials: Sequence[Trial]) -> _Fought:
    proof = proving.prove(ground, contender, rules, replay, trials)
    return _Fought(
        replay, proof, gate.measure(ground, contender, rules, replay, proof, [trial.case for trial in trials])
    )


def _beside(
    ground: Ground,
    packs: Sequence[tuple[Scorer, list[int]]],
    known: Sequence[Entry | None],
    rules: Rules,
    trials: Sequence[Trial],
) -> list[Measures | None]:
    """What the models in force do on the same ground; None for an entity without one that can be compared."""
    out: list[Measures | None] = [None] * len(known)
    for scorer, rows in packs:
        if scorer.scale.shape[1] != ground.x.shape[2]:
            continue
        contender = Contender(scorer, [known[i].threshold for i in rows])  # type: ignore[union-attr]
        part, own = ground.take(rows), rules.take(rows)
        replay = part.replay(contender, own)
        fought = _fight(part, contender, own, replay, [trial.take(rows) for trial in trials])
        for i, measures in zip(rows, fought.measures, strict=True):
            out[i] = measures
    return out


def _baselines(  # noqa: PLR0917
    ground: Ground,
    block: Block,
    plan: Plan,
    begin: I64,
    new: _Fought,
    trials: Sequence[Trial],
    rules: Rules,
) -> dict[str, npt.NDArray[np.float64]]:
    """Injected recall of simple members and of the new models at as many notifications as these send, [S] by name."""
    names = [name for name in BASELINES if name != plan.model.recipe]
    rows = (int(begin.max()) - block.start) // block.step
    x, valid = cleaning.clean(block.values[:rows], plan.cleaning)
    learned = np.arange(rows)[:, None] < (begin - block.start)[None, :] // block.step
    taught: Bool = valid & learned[:, :, None]
    made = windows.make(x, taught, block.start, block.step, BASELINE_WINDOW)
    allowed = np.array([m.alerts for m in new.measures], np.int64)
    one = [ThresholdInputs(Recent(0, 1.0, 0.0))] * len(allowed)
    # A level chosen afterwards is kinder than a threshold set before, so the model is given the same.
    out = {ITSELF: gate.recall_within(ground, new.replay, new.proof, allowed)}
    for name in names:
        spec = ModelSpec(
            name,
            window=BASELINE_WINDOW,
            scaler=plan.model.scaler,
            minimum_scale=plan.model.minimum_scale,
            minimum_relative_scale=plan.model.minimum_relative_scale,
            min_features=plan.model.min_features,
        )
        contender = Contender(scorers.simple_learner(spec).fit(made, made, None, None, 0), one)
        replay = ground.replay(contender, rules)
        proof = proving.prove(ground, contender, rules, replay, trials)
        out[name] = gate.recall_within(ground, replay, proof, allowed)
    return out


def _with(entry: Entry, verdict: Verdict, baselines: Mapping[str, float]) -> Entry:
    """``entry`` with the verdict and what was measured of the new model and of the baselines."""
    known = {name: recall for name, recall in baselines.items() if np.isfinite(recall)}
    own = known.pop(ITSELF, None)
    injected: dict[str, Any] = verdict.candidate.to_json()
    if known and own is not None:
        best = max(known, key=lambda name: known[name])
        injected |= {"baseline": best, "baseline_recall": known[best], "recall_beside_baseline": own}
        injected["beats_baseline"] = own >= known[best]
    said: dict[str, Any] = {
        **entry.gate,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "rejections": verdict.rejections,
        "shift": {name: round(ratio, 4) for name, ratio in verdict.shift.items()},
        "course": [point.to_json() for point in verdict.course],
    }
    if verdict.current is not None and verdict.decision == "rejected":
        said["current"] = verdict.current.to_json()
    return replace(entry, verdict=verdict.decision, figures={**entry.figures, "injected": injected}, gate=said)


def _report(entry: Entry, verdict: Verdict) -> None:
    about = {"target": entry.entity.target, "model": entry.model, "entity": str(entry.entity)}
    if verdict.decision == "rejected":
        log.warning(
            "a new model was rejected",
            extra={**about, "reason": verdict.reason, "detail": verdict.detail, "in_a_row": verdict.rejections},
        )
    elif verdict.reason == "stuck":
        log.warning("a rejected model comes into force after all", extra={**about, "detail": verdict.detail})
