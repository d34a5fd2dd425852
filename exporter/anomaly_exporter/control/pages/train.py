"""The page that starts a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from anomaly_exporter.config import Model, Target, format_duration
from anomaly_exporter.config.overrides import PARAMETERS, TRAINING
from anomaly_exporter.config.training import Training
from anomaly_exporter.control import documents
from anomaly_exporter.control.desk import Desk

from . import html
from .html import Note, Viewer

Fields = Mapping[str, list[str]]
FIRST: Final = ("p.recipe", "p.epochs", "p.window", "p.learning_rate", "p.batch", "t.history")
"""Fields that are shown at once; the others lie behind "More parameters"."""
AS_CONFIGURED: Final = "as configured"


def show(desk: Desk, viewer: Viewer, fields: Fields, notes: list[Note]) -> bytes:
    """The page with ``fields`` filled in: target (several), model, p.<parameter>, t.<key of training>."""
    chosen = chosen_targets(desk, fields)
    targets = "".join(
        html.tick("target", t.name, t.name, checked=t.name in chosen, hint=f"{t.metric}, {', '.join(t.models)}")
        for t in desk.targets()
    )
    models = dict.fromkeys(model for t in desk.targets() for model in t.models)
    which = html.choose("model", "Models", {"": "all", **{name: name for name in models}}, _value(fields, "model"))
    allowed = viewer.identity.may("operator")
    configured = _configured(desk, chosen)
    made = {name: _input(name, schema, _value(fields, name), configured) for name, schema in inputs().items()}
    first = "".join(made[name] for name in FIRST)
    rest = "".join(field for name, field in made.items() if name not in FIRST)
    open_ = " open" if any(_value(fields, name) for name in made if name not in FIRST) else ""
    inside = (
        f"<fieldset><legend>Targets</legend>{targets}</fieldset>"
        '<fieldset><legend>This once</legend><span class="hint">Left empty, a value is as configured. The next training'
        " on schedule is again the configured one.</span></fieldset>"
        f'<div class="pair">{which}{first}</div>'
        f'<details{open_}><summary>More parameters</summary><div class="pair">{rest}</div></details>'
        f'<div class="acts">{html.button("Train", style="wide", allowed=allowed)}{html.link("./", "Cancel")}</div>'
    )
    if not allowed:
        notes = [*notes, *html.may_not(viewer, "operator")]
    body = f'<section class="card">{html.form("train", viewer, inside)}</section>\n'
    return html.page("Start a training", "/train", body, viewer, notes)


def wanted(fields: Fields) -> documents.StartTrainings | dict[str, Any]:
    """What the form asks for, as the document that the API takes; still to be validated."""
    schemas = inputs()
    given = {name: _typed(schemas[name], _value(fields, name)) for name in schemas if _value(fields, name)}
    return {
        "targets": fields.get("target", []),
        "model": _value(fields, "model") or None,
        "parameters": {name[2:]: value for name, value in given.items() if name.startswith("p.")},
        "training": {name[2:]: value for name, value in given.items() if name.startswith("t.")},
    }


def inputs() -> dict[str, dict[str, Any]]:
    """Name of every field and the JSON Schema of its value; lists are left to the API."""
    out: dict[str, dict[str, Any]] = {}
    for letter, model, keys in (("p", Model, PARAMETERS), ("t", Training, TRAINING)):
        properties = model.model_json_schema()["properties"]
        for key in keys:
            schema = dict(properties[key])
            options = [one for one in schema.pop("anyOf", [{}]) if one.get("type") != "null"]
            schema |= options[0] if len(options) == 1 else {"type": "string"}
            if schema.get("type") in ("integer", "number", "string"):
                out[f"{letter}.{key}"] = schema
    return out


def chosen_targets(desk: Desk, fields: Fields) -> list[str]:
    """Targets that the fields name, or whose metric they name, as links of dashboards do."""
    metrics = {value for name in ("metric", "label.metric") for value in fields.get(name, [])}
    named = fields.get("target", [])
    return [t.name for t in desk.targets() if t.name in named or (not named and t.metric in metrics)]


def _configured(desk: Desk, chosen: list[str]) -> dict[str, str]:
    """What the fields are where nothing is given, if that is the same for all chosen targets."""
    found: dict[str, set[str]] = {}
    config = desk.config()
    for target in (t for t in desk.targets() if t.name in chosen):
        for name in target.models:
            for key, value in config.model(name).model_dump().items():
                found.setdefault(f"p.{key}", set()).add("" if value is None else str(value))
        for key, value in _training(target).items():
            found.setdefault(f"t.{key}", set()).add(value)
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def _training(target: Target) -> dict[str, str]:
    dumped = target.training.model_dump()
    return {
        key: format_duration(value) if key in ("history", "min_history") else str(value)
        for key, value in dumped.items()
    }


def _input(name: str, schema: dict[str, Any], value: str, configured: Mapping[str, str]) -> str:
    words, usual = name[2:].replace("_", " "), configured.get(name, "")
    hint = " ".join(str(schema.get("description", "")).replace("`", "").split())
    if "enum" in schema:
        options = {"": f"{AS_CONFIGURED}{f' ({usual})' if usual else ''}", **{v: v for v in schema["enum"]}}
        return html.choose(name, words, options, value, hint=hint)
    more: dict[str, object] = {"placeholder": usual or AS_CONFIGURED, "autocomplete": "off"}
    if schema["type"] == "string":
        return html.field(name, words, value, hint=hint, more={**more, "maxlength": 20})
    limits = {"minimum": "min", "maximum": "max"}
    more |= {html_name: schema[key] for key, html_name in limits.items() if key in schema}
    more["step"] = 1 if schema["type"] == "integer" else "any"
    return html.field(name, words, value, kind="number", hint=hint, more=more)


def _typed(schema: dict[str, Any], text: str) -> object:
    """The value that a text stands for; what is no number stays a text, and validation says so."""
    kind = {"integer": int, "number": float}.get(schema["type"])
    try:
        return kind(text) if kind else text
    except ValueError:
        return text


def _value(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, [])), "").strip()
