"""Configurations from which tests render rules and routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from anomaly_exporter.config import Config, load, parse

ROOT = Path(__file__).resolve().parents[2]

HOSTILE = (
    'quote " and \\ backslash',
    "comma, brace } and {{ .Labels }}",
    "line\nbreak",
    "=~.*",
    ".*",
    " blanks ",
    "\u202eright to left",
    "<script>alert(1)</script>",
    "tab\tand ünïcode 漢字",
    "default",
    "'single'",
    "\\n",
    "#hash: [yaml]",
)
"""Values of a label that somebody who wants to do harm, or merely a careless one, may choose."""


def default_config() -> Config:
    """The configuration that the files in rules/ are rendered from."""
    return load(ROOT / "rules" / "config.yaml").config


def config(**sections: Any) -> Config:
    """A small configuration of one target, with ``sections`` put over it."""
    document: dict[str, Any] = {
        "prometheus": {"url": "http://prometheus:9090"},
        "targets": [{"name": "cpu", "metric": "cpu", "unit": "cores", "queries": [{"name": "cpu", "expr": "x"}]}],
    }
    return parse(yaml.safe_dump({**document, **sections}))
