"""The trade-off of regimes, simulated: ``python -m bench.quality.regime`` prints both tables in about two minutes.

Series with a daily cycle and noise are learned by the member ``seasonal`` over a week, as training does it; then either
a new normal begins (a step that stays) or an incident that lasts. The first table tells, for every setting, how long a
new normal alerts and which incidents lose their alert while they last. The second one trains again two hours after a
step, on history as it is, moved to the new level, or without what was before, and counts the next day's false alerts
and the spikes that are still found.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from anomaly_models import cleaning, level_change, stillness, windows
from anomaly_models.alerting import AlertSpec
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.detector import detect
from anomaly_models.frame import F32, Block, EntityKey
from anomaly_models.model_spec import ModelSpec
from anomaly_models.regime import RegimeSpec
from anomaly_models.signs import Signs
from anomaly_models.thresholds import ThresholdSpec, ThresholdStack
from anomaly_models.training import Plan, TrainedBatch, train

RESULTS = Path(__file__).resolve().parents[1] / "results" / "regime.json"
STEP, DAY, WEEK = 60, 1440, 7 * 1440
LASTS = 360
"""Minutes that a new normal or an incident is looked at."""
PLAN = Plan(ModelSpec("seasonal", window=2), CleaningSpec(), ThresholdSpec())
ALERT = AlertSpec(persistence=3)

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def steady(factor: float) -> Change:
    """The level is ``factor`` times what it was, from one minute to the next."""
    return lambda x, rng: x * factor


def plateau(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A resource at its limit: high, and hardly any noise left."""
    return np.full(x.size, 1.6 * x.max()) * (1 + 0.002 * rng.normal(size=x.size))


def swinging(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Load that comes and goes every ten minutes: restarts, retries, garbage collection."""
    return x * np.where(np.arange(x.size) // 5 % 2, 2.0, 1.0)


def leaking(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Doubles in six hours."""
    return x * np.linspace(1, 2, x.size)


NORMAL: dict[str, Change] = {
    "step to 1.3 x": steady(1.3),
    "step to 1.6 x": steady(1.6),
    "step to 0.6 x": steady(0.6),
    "step to 2 x": steady(2),
}
INCIDENTS: dict[str, Change] = {
    "zero": lambda x, rng: np.zeros(x.size),
    "flat line": lambda x, rng: np.full(x.size, 1.5 * x[0]),
    "leak": leaking,
    "swings": swinging,
    "at its known limit": plateau,
    "at an unknown limit": plateau,
    "runaway, 4 x": steady(4),
    "runaway, 20 x": steady(20),
}
SETTINGS: dict[str, RegimeSpec | None] = {
    "off": None,
    "after 15m": RegimeSpec(15),
    "after 30m": RegimeSpec(30),
    "after 45m (default)": RegimeSpec(),
    "after 90m": RegimeSpec(90),
    "45m, extreme 4": RegimeSpec(45, 4),
    "45m, extreme 16": RegimeSpec(45, 16),
}


def normal_life(series: int, minutes: int, rng: np.random.Generator) -> np.ndarray:
    """Series [minutes, series] of 5 to 30 % daily cycle and 1 to 5 % noise."""
    t = np.arange(minutes)[:, None]
    cycle = rng.uniform(0.05, 0.3, series) * np.sin(2 * np.pi * (t / DAY + rng.uniform(0, 1, series)))
    noise = rng.uniform(0.01, 0.05, series) * rng.normal(size=(minutes, series))
    return rng.lognormal(2, 1, series) * (1 + cycle) * (1 + noise)


def block(values: np.ndarray) -> Block:
    entities = tuple(EntityKey.of("t", {"container": f"{i:03d}"}) for i in range(values.shape[1]))
    return Block(0, STEP, entities, ("value",), values.astype(np.float32)[:, :, None])


def fit(history: np.ndarray) -> TrainedBatch:
    found = train(block(history), PLAN)
    if found.failed:
        raise RuntimeError(f"nothing may fail here, received {found.failed}")
    return found


def judged(
    models: TrainedBatch, history: np.ndarray, after: np.ndarray, regime: RegimeSpec | None, limit: F32 | None
) -> np.ndarray:
    """Whether an alert is on at every minute of ``after`` [minutes, series], which follows on ``history``."""
    lead = max(stillness.MOST, 90)
    whole = block(np.concatenate([history[-lead:], after]))
    x, valid = cleaning.clean(whole.values, PLAN.cleaning)
    w = windows.make(x, valid, WEEK * STEP, STEP, 2)
    steps = w.end.shape[1]
    past = block(history).values
    limits = stillness.learn(past, np.isfinite(past), 0, STEP)
    still = stillness.still(x, valid, limits, steps)
    no = np.zeros((len(whole.entities), steps), np.bool_)
    bounded = no if limit is None else (x[1:, :, 0] >= 0.9 * limit).T
    assert models.scorer is not None
    stack = ThresholdStack.of([row.threshold for row in models.rows])
    spec = replace(ALERT, regime=regime)
    said = detect(models.scorer, w, stack, PLAN.threshold, spec, signs=Signs(still, bounded, no))
    return said.detected[:, -len(after) :].T


def told(on: np.ndarray) -> tuple[float, float, float]:
    """Median minutes until an alert is over for good (``LASTS`` if never), mean minutes with an alert, and the share of
    series that were detected and whose alert was over before the end. ``on`` [minutes, series]."""
    seen = on.any(axis=0)
    last = np.where(seen, len(on) - on[::-1].argmax(axis=0), 0)
    minutes = last[seen] if seen.any() else np.zeros(1)
    quiet = seen & (last < len(on) - 5)
    return float(np.median(minutes)), float(on.sum(axis=0).mean()), float(quiet.sum() / max(seen.sum(), 1))


def trade_off(series: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """What every setting makes of every change."""
    rng = np.random.default_rng(seed)
    life = normal_life(series, WEEK + LASTS, rng)
    history, usual = life[:WEEK], life[WEEK:]
    models = fit(history)
    out: dict[str, dict[str, dict[str, float]]] = {name: {} for name in SETTINGS}
    for name, change in (NORMAL | INCIDENTS).items():
        after = np.stack([change(x, rng) for x in usual.T], axis=1)
        limit = after.max(axis=0).astype(np.float32) if name == "at its known limit" else None
        for setting, spec in SETTINGS.items():
            on = judged(models, history, after, spec, limit)
            middle, mean, quiet = told(on)
            out[setting][name] = {
                "detected": float(on.any(axis=0).mean()), "minutes": middle, "on": mean, "silenced": quiet,
            }  # fmt: skip
    return out


def next_day(series: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """What the day after a step is like, trained two hours after it."""
    rng = np.random.default_rng(seed)
    life = normal_life(series, WEEK + 120 + DAY, rng)
    out: dict[str, dict[str, dict[str, float]]] = {"as it is": {}, "moved": {}, "left out": {}}
    for name, change in {"none": steady(1), **NORMAL}.items():
        x = life.copy()
        x[WEEK:] = np.stack([change(column, rng) for column in x[WEEK:].T], axis=1)
        past, future = x[: WEEK + 120], x[WEEK + 120 :].copy()
        spikes = rng.integers(60, DAY - 60, series)
        spiked = future.copy()
        for i, at in enumerate(spikes):
            spiked[at : at + 5, i] *= 1.4
        seen = past.astype(np.float32)[:, :, None]
        found = level_change.newest(seen, 0, STEP, RegimeSpec())
        for way, alone_after in (("as it is", None), ("moved", DAY), ("left out", 1)):
            learned = seen if alone_after is None else level_change.apply(seen, found, alone_after)
            models = fit(learned[:, :, 0])
            spec = RegimeSpec()
            calm = judged(models, past, future, spec, None)
            shaken = judged(models, past, spiked, spec, None)
            hit = np.array([shaken[at : at + 8, i].any() for i, at in enumerate(spikes)])
            out[way][name] = {
                "false": float((np.diff(calm.astype(np.int8), axis=0, prepend=0) == 1).sum(axis=0).mean()),
                "on": float(calm.mean()),
                "spikes": float(hit.mean()),
                "changes": float((found.row > 0).mean()),
            }
    return out


def tables(first: dict[str, dict[str, dict[str, float]]], second: dict[str, dict[str, dict[str, float]]]) -> str:
    """Both results as Markdown."""
    lines = ["| setting | " + " | ".join(f"{n}: minutes" for n in NORMAL) + " | incidents silenced |"]
    lines.append("| --- |" + " ---: |" * len(NORMAL) + " --- |")
    for setting, found in first.items():
        normal = [f"{found[n]['minutes']:.0f} ({found[n]['on']:.0f})" for n in NORMAL]
        lost = [f"{n} {found[n]['silenced']:.0%}" for n in INCIDENTS if found[n]["silenced"] > 0]
        lines.append(f"| {setting} | {' | '.join(normal)} | {', '.join(lost) or 'none'} |")
    lines += ["", "| history before the step | " + " | ".join(["none", *NORMAL]) + " |"]
    lines.append("| --- |" + " ---: |" * (len(NORMAL) + 1))
    for way, found in second.items():
        cells = [f"{found[n]['false']:.2f} / {found[n]['spikes']:.0%}" for n in ("none", *NORMAL)]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.quality.regime", description=__doc__)
    parser.add_argument("--series", type=int, default=64, help="series of every kind, at most 64")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    first, second = trade_off(given.series, given.seed), next_day(given.series, given.seed)
    print(tables(first, second))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"series": given.series, "trade_off": first, "next_day": second}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
