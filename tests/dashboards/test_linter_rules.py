"""The 17 rules of Grafana's dashboard-linter, and why what it would report is right as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import promql_parser
import pytest

from anomaly_exporter import metrics
from support.dashboard_files import Asked, Board, asked, boards, filled, metric_names, panels, selectors

Findings = Iterator[str]
RATES = ("rate", "irate", "increase")
PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}


def _variable(board: Board, name: str) -> Board | None:
    return next((v for v in board["templating"]["list"] if v["name"] == name), None)


def _targets(board: Board) -> list[Asked]:
    return [query for query in asked(board) if query.panel]


def template_datasource(board: Board) -> Findings:
    variable = _variable(board, "datasource")
    if not variable or (variable["type"], variable["query"], variable["label"]) != (
        "datasource",
        "prometheus",
        "Data source",
    ):
        yield "expected a variable datasource of type prometheus called Data source"


def template_job(board: Board) -> Findings:
    if not _variable(board, "job"):
        yield "no variable job"


def template_instance(board: Board) -> Findings:
    if not _variable(board, "instance"):
        yield "no variable instance"


def template_label_promql(board: Board) -> Findings:
    for query in asked(board):
        if query.kind == "values" and not selectors(query.expr):
            yield f"{query.where} selects nothing"


def template_on_time_change_reload(board: Board) -> Findings:
    for variable in board["templating"]["list"]:
        if variable["type"] == "query" and variable["refresh"] != 2:
            yield f"{variable['name']} is not asked again when the time range changes"


def panel_datasource(board: Board) -> Findings:
    for panel in panels(board):
        if any(item["datasource"] != PROMETHEUS for item in (panel, *panel["targets"])):
            yield f"{panel['title']} does not use the variable datasource"


def panel_title_description(board: Board) -> Findings:
    for panel in panels(board):
        if not panel.get("title") or not panel.get("description"):
            yield f"panel {panel['id']} lacks title or description"


def panel_units(board: Board) -> Findings:
    for panel in panels(board):
        if not panel["fieldConfig"]["defaults"].get("unit"):
            yield f"{panel['title']} has no unit"


def panel_no_targets(board: Board) -> Findings:
    for panel in panels(board):
        if not panel.get("targets"):
            yield f"{panel['title']} asks nothing"


def target_logql(board: Board) -> Findings:
    for panel in panels(board):
        if any(target["datasource"]["type"] != "prometheus" for target in panel["targets"]):
            yield f"{panel['title']} asks for logs"


def target_logql_auto(board: Board) -> Findings:
    for query in _targets(board):
        if "$__auto" in query.expr:
            yield f"{query.where} uses $__auto, which is LogQL"


def target_promql(board: Board) -> Findings:
    for query in _targets(board):
        try:
            promql_parser.parse(filled(query.expr))
        except ValueError as error:
            yield f"{query.where}: {error}"


def target_rate_interval(board: Board) -> Findings:
    for query in _targets(board):
        for function in RATES:
            for window in re.findall(rf"\b{function}\([^()]*\[([^\]]+)\]", query.expr):
                if window != "$__rate_interval":
                    yield f"{query.where}: {function} over {window}"


def _matchers(board: Board, label: str) -> Findings:
    for query in _targets(board):
        for selector, _ in selectors(query.expr):
            if not any(m.name == label for m in selector.matchers.matchers):
                yield f"{query.where}: {selector.prettify()}"


def target_job(board: Board) -> Findings:
    yield from _matchers(board, "job")


def target_instance(board: Board) -> Findings:
    yield from _matchers(board, "instance")


def target_counter_agg(board: Board) -> Findings:
    for query in _targets(board):
        for selector, above in selectors(query.expr):
            counters = {m.name for m in metrics.ALL if m.kind == "counter"} & metric_names(selector)
            functions = {node.func.name for node in above if isinstance(node, promql_parser.Call)}
            if counters and not functions & set(RATES):
                yield f"{query.where}: {counters} without rate or increase"


def uneditable_dashboard(board: Board) -> Findings:
    if board["editable"]:
        yield "people would lose what they change at the next provisioning"


RULES: dict[str, Callable[[Board], Findings]] = {
    "template-datasource-rule": template_datasource,
    "template-job-rule": template_job,
    "template-instance-rule": template_instance,
    "template-label-promql-rule": template_label_promql,
    "template-on-time-change-reload-rule": template_on_time_change_reload,
    "panel-datasource-rule": panel_datasource,
    "panel-title-description-rule": panel_title_description,
    "panel-units-rule": panel_units,
    "panel-no-targets-rule": panel_no_targets,
    "target-logql-rule": target_logql,
    "target-logql-auto-rule": target_logql_auto,
    "target-promql-rule": target_promql,
    "target-rate-interval-rule": target_rate_interval,
    "target-job-rule": target_job,
    "target-instance-rule": target_instance,
    "target-counter-agg-rule": target_counter_agg,
    "uneditable-dashboard": uneditable_dashboard,
}
OURS = "series are chosen by what they are about; which job or pod of the exporter exposes them must not matter"
EXCUSED = {
    "template-job-rule": (r"no variable job", OURS),
    "template-instance-rule": (r"no variable instance", OURS),
    "target-job-rule": (r".*", OURS),
    "target-instance-rule": (r".*", OURS),
    "target-rate-interval-rule": (r".*: increase over \$__range", "a total over exactly the time range on the screen"),
}
"""Rule -> (findings that are right as they are, why)."""


def test_there_are_17_rules() -> None:
    assert len(RULES) == 17
    assert set(EXCUSED) <= set(RULES)


@pytest.mark.parametrize("board", boards(), ids=lambda board: board["uid"])
@pytest.mark.parametrize("rule", RULES)
def test_a_dashboard_keeps_the_rule_or_has_an_excuse(rule: str, board: Board) -> None:
    pattern, _ = EXCUSED.get(rule, ("(?!)", ""))
    assert [finding for finding in RULES[rule](board) if not re.fullmatch(pattern, finding, re.DOTALL)] == []


@pytest.mark.parametrize("rule", EXCUSED)
def test_no_excuse_is_left_over(rule: str) -> None:
    assert any(list(RULES[rule](board)) for board in boards()), f"{rule} is kept everywhere: delete the excuse"


def test_a_broken_dashboard_breaks_every_rule() -> None:
    """The checks find what they are for."""
    board = next(board for board in boards() if board["uid"] == "anomaly-home")
    board["editable"] = True
    board["templating"]["list"] = [v for v in board["templating"]["list"] if v["type"] == "query"]
    env = board["templating"]["list"][0]
    env["refresh"] = 1
    env["query"]["query"] = "label_values(1, env)"
    first, second, third = panels(board)[:3]
    first["description"] = ""
    first["fieldConfig"]["defaults"]["unit"] = ""
    first["datasource"] = {"type": "prometheus", "uid": "P1"}
    first["targets"][0]["expr"] = "anomaly_points_total + rate(x[5m])"
    second["targets"] = []
    third["targets"][0]["datasource"] = {"type": "loki", "uid": "x"}
    third["targets"][0]["expr"] = 'label_replace(x, "a", "$__auto", "", "")'
    broken = {rule for rule, findings in RULES.items() if list(findings(board))}
    assert set(RULES) - broken == {"target-promql-rule"}
    third["targets"][0]["expr"] = "rate(x["
    assert list(target_promql(board))
