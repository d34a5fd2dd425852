"""What a search found, as a JSON document, as a table and as an entry of `models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import yaml

from anomaly_models.tuning import Trial

Document = dict[str, Any]


def document(  # noqa: PLR0917  what was asked for, then what was found
    target: str,
    model: str,
    key: str,
    entry: Mapping[str, Any],
    untuned: Trial,
    trials: Sequence[Trial],
    best: Trial,
) -> Document:
    """The whole search; ``tuned`` is the winner, equal to ``untuned`` where nothing was better."""
    ranked = sorted(trials, key=lambda trial: -trial.objective(untuned))
    return {
        "target": target,
        "model": model,
        "name": key,
        "better": best is not untuned,
        "untuned": _trial(untuned, untuned),
        "tuned": _trial(best, untuned),
        "trials": [_trial(trial, untuned) for trial in ranked],
        "spec": dict(entry),
    }


def _trial(trial: Trial, untuned: Trial) -> Document:
    objective = trial.objective(untuned)
    return {**asdict(trial), "objective": objective if trial.recall is not None else None}


def text(found: Document) -> str:
    """A table of the settings, best first, with the untuned model; then the entry to paste."""
    names = sorted({name for trial in found["trials"] for name in trial["settings"]})
    table = [["", "OBJECTIVE", "RECALL", "TEST RECALL", "ERROR", "SECONDS", *(name.upper() for name in names)]]
    rows = [("untuned", found["untuned"]), *((str(i), t) for i, t in enumerate(found["trials"], 1))]
    for label, trial in rows:
        mark = "*" if trial["settings"] == found["tuned"]["settings"] else ""
        figures = [_number(trial[k], f) for k, f in (("objective", ".3f"), ("recall", ".0%"), ("test_recall", ".0%"))]
        figures += [_number(trial["mae"], ".3f"), _number(trial["seconds"], ".2f")]
        table.append([f"{label}{mark}", *figures, *(str(trial["settings"].get(name, "")) for name in names)])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table]
    verdict = (
        f"\n{found['target']}: {found['model']} on {found['entities']} series. Chosen by recall of injected anomalies"
        " at the alert\nbudget and by error, both on the validation part; TEST RECALL is of data that no choice saw.\n"
    )
    if not found["better"]:
        return "\n".join(lines) + "\n" + verdict + "Nothing was better than the untuned model.\n"
    return "\n".join(lines) + "\n" + verdict + "\n" + yaml_text(found["name"], found["spec"])


def yaml_text(key: str, entry: Mapping[str, Any]) -> str:
    """The section `models` with one entry, ready to paste."""
    return yaml.safe_dump({"models": {key: dict(entry)}}, sort_keys=False)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
