"""From a YAML file to a :class:`Config`, with errors an operator can act on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .canary import Canary, canary_target
from .root import Config

MAX_BYTES = 4 * 2**20
INHERITED = ("training", "threshold", "season", "alerting", "regime", "gate")


class ConfigError(Exception):
    """The configuration cannot be used; the message names path, value and what was expected, a line per problem."""


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration and the SHA-256 of the text it came from."""

    config: Config
    digest: str
    path: Path | None


def load(path: Path) -> LoadedConfig:
    """Read and validate the file at ``path``. Raises ConfigError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return LoadedConfig(parse(raw), hashlib.sha256(raw).hexdigest(), path)
    except ConfigError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from error


def parse(text: bytes | str) -> Config:
    """Validate YAML ``text``: presets expanded, section defaults laid under every target. Raises ConfigError."""
    if len(text) > MAX_BYTES:
        raise ConfigError(f"a configuration has at most {MAX_BYTES} bytes, received {len(text)}")
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"expected a mapping of sections, received {type(document).__name__}")
    try:
        return Config.model_validate(_with_canary(_inherit(_expand(document))))
    except ValidationError as error:
        raise ConfigError("\n".join(describe(error))) from error
    except RecursionError as error:
        raise ConfigError("nested too deeply") from error


def describe(error: ValidationError, within: str = "") -> list[str]:
    """The problems of ``error``, a line each, with paths that begin with ``within``."""
    return [_line({**e, "loc": (*filter(None, (within,)), *e["loc"])}) for e in error.errors(include_url=False)]


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    folder = resources.files(__package__) / "presets"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def preset(name: str) -> dict[str, Any]:
    """The document of a preset. Raises ConfigError for an unknown name."""
    if name not in preset_names():
        raise ConfigError(f"presets: {name!r} is unknown, expected one of {preset_names()}")
    text = (resources.files(__package__) / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def json_schema() -> dict[str, Any]:
    """JSON Schema of the file, from the models themselves."""
    return Config.model_json_schema(mode="validation")


def _expand(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its presets' targets and models put in; what the user wrote under the same name wins."""
    out = dict(document)
    names = out.get("presets") or []
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        return out
    targets = list(out.get("targets") or []) if isinstance(out.get("targets"), list | None) else None
    models = dict(out.get("models") or {}) if isinstance(out.get("models"), dict | None) else None
    if targets is None or models is None:
        return out
    written = {t.get("name") for t in targets if isinstance(t, dict)}
    for name in names:
        document_of_preset = preset(name)
        targets += [t for t in document_of_preset.get("targets", []) if t["name"] not in written]
        models = {**document_of_preset.get("models", {}), **models}
    return {**out, "targets": targets, "models": models}


def _inherit(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the sections of INHERITED laid under every target's own."""
    targets = document.get("targets")
    if not isinstance(targets, list):
        return document
    sections = {s: document[s] for s in INHERITED if isinstance(document.get(s), dict)}
    laid = []
    for target in targets:
        if isinstance(target, dict):
            own = {s: {**sections.get(s, {}), **v} for s in INHERITED if isinstance(v := target.get(s, {}), dict)}
            laid.append({**target, **{s: v for s, v in own.items() if v}})
        else:
            laid.append(target)
    return {**document, "targets": laid}


def _with_canary(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the canary's target behind all others, where it is switched on and something is watched.

    It inherits nothing: what suits other series may hide its spikes.
    """
    targets = document.get("targets")
    try:
        canary = Canary.model_validate(document.get("canary", {}))
    except ValidationError:
        # Told with all other problems of the file.
        return document
    if not canary.enabled or not isinstance(targets, list) or not targets:
        return document
    return {**document, "targets": [*targets, canary_target(canary)]}


def _line(error: Any) -> str:
    """One problem on one line: where, what was expected, what was received (never a secret: those live in files)."""
    where = ".".join(str(p) for p in error["loc"]) or "configuration"
    what = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key; see docs/configuration.md for the keys of this section"
    if error["type"] == "missing":
        return f"{where}: required, but not given"
    received = error.get("input")
    if isinstance(received, dict | list) or "received" in what:
        return f"{where}: {what}"
    return f"{where}: {what}, received {json.dumps(received, default=str)[:120]}"
