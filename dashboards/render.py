"""From boards to the text of their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as sdk

from . import evaluation, health, home, series, training
from .promql import Labels

FOLDER: Final = Path(__file__).resolve().parent
"""Where the committed JSON files lie."""


def boards(labels: Labels) -> list[sdk.Dashboard]:
    """All dashboards for one label profile, the home page first."""
    return [module.dashboard(labels) for module in (home, series, training, evaluation, health)]


def files(labels: Labels) -> dict[str, str]:
    """File name -> JSON text of every dashboard; the name is the dashboard's uid."""
    return {f"{board.uid}.json": text(board) for board in boards(labels)}


def text(board: sdk.Dashboard) -> str:
    """Indented JSON with a newline at its end.

    The SDK writes ``placement: inControlsMenu`` into every link and annotation, whether asked for or not; Grafana 12
    would hide them in a menu, so it is taken out.
    """
    document = json.loads(json.dumps(board, cls=JSONEncoder))
    for item in (*document["links"], *document["annotations"]["list"]):
        item.pop("placement", None)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
