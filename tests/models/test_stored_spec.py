"""Promises of stored settings: they come back as they were, and nothing else comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from anomaly_models.ensemble_spec import EnsembleSpec, UsualSpec
from anomaly_models.exceptions import PackRejectedError
from anomaly_models.stored_spec import from_json, to_json
from anomaly_models.time_of_day import Calendar


def stored(spec: EnsembleSpec) -> dict[str, Any]:
    return dict(json.loads(json.dumps(to_json(spec))))


def test_settings_come_back_from_json() -> None:
    usual = replace(UsualSpec(), calendar=Calendar("Europe/Berlin", ("2026-12-25",)))
    for spec in (EnsembleSpec(), EnsembleSpec(usual=usual, shape=("autoencoder",), shift=-1)):
        assert from_json(EnsembleSpec, stored(spec)) == spec


def _changed(path: str, value: object) -> dict[str, Any]:
    data = stored(EnsembleSpec())
    at = data
    *way, last = path.split(".")
    for name in way:
        at = at[name]
    at[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("period", "7200"),
        ("period", 7200.5),
        ("period", True),
        ("period", -1),
        ("power", float("nan")),
        ("power", float("inf")),
        ("power", 1e300),
        ("usual.calendar.timezone", "Mars/Olympus"),
        ("usual.calendar.timezone", "../../etc/passwd"),
        ("usual.calendar.excluded", ["Christmas"]),
        ("usual.calendar.excluded", ["2026-12-25"] * 1001),
        ("usual", 3),
        ("level", ["nobody"]),
        ("unknown", 1),
    ],
)
def test_what_does_not_fit_is_refused_by_name(path: str, value: object) -> None:
    with pytest.raises(PackRejectedError, match="settings"):
        from_json(EnsembleSpec, _changed(path, value))


def test_a_missing_field_is_refused() -> None:
    data = stored(EnsembleSpec())
    del data["guard"]
    with pytest.raises(PackRejectedError, match="guard"):
        from_json(EnsembleSpec, data)
