"""The description of the API: what is served, what is committed, and that it holds together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from anomaly_exporter.config import Model
from anomaly_exporter.control import openapi
from anomaly_exporter.control.operations import OPERATIONS
from support.control import control

ROOT = Path(__file__).resolve().parents[3]


def test_the_committed_description_is_the_one_that_is_served(tmp_path: Path) -> None:
    committed = (ROOT / "docs" / "openapi.json").read_text()
    assert committed == openapi.text(), "make reference"
    with control(tmp_path) as bench:
        served = bench.ask("GET", "/api/v1/openapi.json", role=None)
        assert (served.status, served.text) == (200, committed)


def test_every_reference_of_the_description_leads_somewhere() -> None:
    text = openapi.text()
    schemas = json.loads(text)["components"]["schemas"]
    assert set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', text)) <= set(schemas)
    assert '"#/$defs' not in text


def test_every_operation_is_described_with_its_answers() -> None:
    paths: dict[str, Any] = openapi.description()["paths"]
    for operation in OPERATIONS:
        described = paths[f"/api/v1{operation.path}"][operation.method.lower()]
        assert described["operationId"] == operation.name
        assert {"401", "403", "429", str(int(operation.status))} <= set(described["responses"])
        assert bool(operation.body) == ("requestBody" in described)


def test_parameters_of_a_training_are_those_of_a_model_with_their_bounds() -> None:
    schema = openapi.description()["components"]["schemas"]["StartTrainings"]["properties"]["parameters"]
    assert set(schema["properties"]) == set(Model.model_fields)
    assert schema["additionalProperties"] is False
    assert (schema["properties"]["epochs"]["minimum"], schema["properties"]["epochs"]["maximum"]) == (1, 10_000)
    assert not [name for name, one in schema["properties"].items() if "default" in one]
