"""The committed dashboards and everything in them that is asked of Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import promql_parser

from dashboards import FOLDER

Board = dict[str, Any]
Kind = Literal["range", "now", "rows", "values", "annotation"]
ALL = ".*"
SELECTOR = re.compile(r"label_values\((.*), ?(\w+)\)$")


@dataclass(frozen=True)
class Asked:
    """One query: ``where`` says whose it is, ``legend`` which labels it shows."""

    board: str
    where: str
    expr: str
    kind: Kind
    legend: str = ""
    panel: Board | None = None

    def __str__(self) -> str:
        return f"{self.board}: {self.where}"


def boards() -> list[Board]:
    """Every committed dashboard."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]


def panels(board: Board, rows: bool = False) -> list[Board]:
    """All panels, those of folded rows included; the rows themselves only if asked for."""
    found = []
    for panel in board["panels"]:
        if panel["type"] != "row" or rows:
            found.append(panel)
        found += panel.get("panels") or []
    return found


def asked(board: Board) -> Iterator[Asked]:
    """Every query of every panel, variable and annotation."""
    uid = board["uid"]
    for panel in panels(board):
        for target in panel.get("targets", ()):
            kind: Kind = "rows" if target["format"] == "table" else "now" if target["instant"] else "range"
            where = f"{panel['title']} {target['refId']}"
            yield Asked(uid, where, target["expr"], kind, target["legendFormat"], panel)
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            match = SELECTOR.fullmatch(variable["query"]["query"])
            assert match, f"{uid}: the variable {variable['name']} asks in a way the tests do not know"
            yield Asked(uid, f"variable {variable['name']}", match[1], "values", f"{{{{{match[2]}}}}}")
    for annotation in board["annotations"]["list"]:
        yield Asked(uid, f"annotation {annotation['name']}", annotation["expr"], "annotation", annotation["textFormat"])


def filled(expr: str, chosen: Mapping[str, str] | None = None) -> str:
    """``expr`` as Grafana would send it: All for every variable that is not ``chosen``, and half an hour on screen."""
    values = {"__range": "30m", "__rate_interval": "5m", "split": "test", **(chosen or {})}
    known = {"env", "namespace", "workload", "container", "node", "metric", "model", *values}
    return re.sub(r"\$(\w+)", lambda m: values.get(m[1], ALL) if m[1] in known else m[0], expr)


def nodes(expr: promql_parser.Expr) -> Iterator[tuple[promql_parser.Expr, tuple[promql_parser.Expr, ...]]]:
    """Every node of a parsed expression with its ancestors, outermost first."""

    def walk(node: Any, above: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        yield node, above
        for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
            child = getattr(node, name, None)
            if child is not None and not isinstance(child, str | int | float):
                yield from walk(child, (*above, node))
        for child in getattr(node, "args", None) or ():
            yield from walk(child, (*above, node))

    yield from walk(expr, ())


def selectors(expr: str) -> list[tuple[promql_parser.VectorSelector, tuple[promql_parser.Expr, ...]]]:
    """Vector selectors of ``expr``, variables filled in, with their ancestors."""
    parsed = promql_parser.parse(filled(expr))
    return [(node, above) for node, above in nodes(parsed) if isinstance(node, promql_parser.VectorSelector)]


def metric_names(selector: promql_parser.VectorSelector) -> set[str]:
    """Names that a selector may match; several by ``__name__=~"a|b"``."""
    if selector.name:
        return {selector.name}
    return {name for m in selector.matchers.matchers if m.name == "__name__" for name in m.value.split("|")}
