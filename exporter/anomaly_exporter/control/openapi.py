"""The description of the API (OpenAPI 3.1), made of the operations and the documents themselves."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from anomaly_exporter import __version__
from anomaly_exporter.config import Model
from anomaly_exporter.config.overrides import PARAMETERS, TRAINING
from anomaly_exporter.config.training import Training

from . import documents
from .operations import OPERATIONS, PREFIX, SEGMENTS, Operation
from .problems import PROBLEM_JSON

PATH: Final = f"{PREFIX}/openapi.json"
COMMON: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
WITH_BODY: Final = (
    HTTPStatus.LENGTH_REQUIRED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
BY_LISTENER: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.LENGTH_REQUIRED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
PARTS: Final = {"target": "Name of a target.", "id": "Id of the feedback."}


def description() -> dict[str, Any]:
    """The OpenAPI document."""
    schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "anomaly-exporter",
            "version": __version__,
            "description": "Start and stop trainings, put generations in force, read scores, give feedback.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of control.tokens_file; or no token, behind the proxy of control.proxy.",
                }
            },
        },
    }


def text() -> str:
    """The document as it is served and committed."""
    return json.dumps(description(), indent=2, ensure_ascii=True) + "\n"


def _operation(operation: Operation) -> dict[str, Any]:
    out: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Needs the role {operation.role}.",
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
    }
    if operation.body:
        out["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(operation.body)}}}
    problems = {*COMMON, *operation.problems, *(WITH_BODY if operation.body else ())}
    if operation.query is not documents.Nothing:
        problems.add(HTTPStatus.UNPROCESSABLE_ENTITY)
    out["responses"] = {
        str(int(operation.status)): {
            "description": operation.status.phrase,
            "content": {"application/json": {"schema": _ref(operation.answer)}},
        },
        **{str(int(status)): _problem(status) for status in sorted(problems)},
    }
    return out


def _problem(status: HTTPStatus) -> dict[str, Any]:
    """An answer that says what is wrong; what the listener itself refuses, before the API sees it, is plain text."""
    content: dict[str, Any] = {PROBLEM_JSON: {"schema": _ref(documents.Problem)}}
    if status in BY_LISTENER:
        content["text/plain"] = {"schema": {"type": "string"}}
    return {"description": status.phrase, "content": content}


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PARTS[name],
            "schema": {"type": "string", "pattern": pattern},
        }
        for name, pattern in SEGMENTS.items()
        if f"{{{name}}}" in operation.path
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    properties = operation.query.model_json_schema().get("properties", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.get("description", ""),
            "schema": _plain({k: v for k, v in schema.items() if k not in ("title", "description")}),
        }
        for name, schema in properties.items()
    ]


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without null: a parameter that is not there is left out."""
    if "anyOf" not in schema:
        return schema
    (only,) = (one for one in schema["anyOf"] if one.get("type") != "null")
    return dict(only)


def _ref(model: type[documents.Sent] | type[documents.Received]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _schemas() -> dict[str, Any]:
    received = [(o.body, "validation") for o in OPERATIONS if o.body]
    sent = [(o.answer, "serialization") for o in OPERATIONS]
    wanted: Any = dict.fromkeys([*received, *sent, (documents.Problem, "serialization")])
    _, document = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = document["$defs"]
    start = schemas["StartTrainings"]["properties"]
    start["parameters"] |= _keys(Model.model_json_schema(), PARAMETERS)
    start["training"] |= _keys(Training.model_json_schema(), TRAINING)
    return dict(sorted(schemas.items()))


def _keys(schema: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The keys of a section that may be given, without its defaults: what is left out stays as it is configured."""
    properties = {name: dict(schema["properties"][name]) for name in names}
    for one in properties.values():
        one.pop("default", None)
    return {"additionalProperties": False, "properties": properties}
