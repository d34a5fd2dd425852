"""The dashboards are what the code makes, are whole, and lead into each other."""

from __future__ import annotations

import json
import re
from itertools import combinations, pairwise
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as sdk

from anomaly_exporter import metrics
from anomaly_exporter.config import CANARY_TAG
from anomaly_exporter.rendering import links
from dashboards import FOLDER, files
from dashboards.__main__ import main
from dashboards.board import Layout, LayoutError
from dashboards.fields import SERIES_UID
from dashboards.home import watched
from dashboards.promql import Labels
from support.dashboard_files import Board, asked, boards, metric_names, panels, selectors
from support.rule_configs import default_config

BOARDS = boards()
UIDS = [board["uid"] for board in BOARDS]
CORE_PANELS = {"stat", "timeseries", "table", "state-timeline", "bargauge", "histogram", "heatmap"}
LARGEST = 262_144
"""Bytes of the annotation in which a client-side apply keeps the whole object."""

each_board = pytest.mark.parametrize("board", BOARDS, ids=UIDS)
each_panel = pytest.mark.parametrize(
    "panel",
    [p for b in BOARDS for p in panels(b)],
    ids=[f"{b['uid']}: {p['title']}" for b in BOARDS for p in panels(b)],
)


def test_the_committed_files_are_what_the_code_makes() -> None:
    made = files(Labels())
    assert {path.name for path in FOLDER.glob("*.json")} == set(made)
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name} is stale: run `make dashboards`"


def test_the_command_writes_what_is_stale_and_names_it_on_check(tmp_path: Any, capsys: Any) -> None:
    assert main(["--out", str(tmp_path), "--check"]) == 1
    assert not list(tmp_path.iterdir())
    assert main(["--out", str(tmp_path), "--profile", "openshift"]) == 0
    assert "target_container" in (tmp_path / "anomaly-home.json").read_text(encoding="utf-8")
    assert main(["--out", str(tmp_path), "--profile", "openshift", "--check"]) == 0
    assert main(["--out", str(tmp_path), "--check"]) == 1
    assert "stale" in capsys.readouterr().out


def test_the_five_dashboards_have_fixed_uids() -> None:
    assert sorted(UIDS) == [
        "anomaly-evaluation",
        "anomaly-exporter-health",
        "anomaly-home",
        "anomaly-monitoring",
        "anomaly-training",
    ]
    assert links.DASHBOARD_UID == SERIES_UID


@each_board
def test_a_dashboard_is_classic_json_of_a_size_that_every_tool_takes(board: Board) -> None:
    assert board["schemaVersion"] <= 42
    assert "id" not in board, "Grafana gives ids"
    assert len(json.dumps(board)) < LARGEST / 2
    assert board["refresh"]
    assert board["description"]


@each_board
def test_a_dashboard_survives_the_types_of_the_sdk(board: Board) -> None:
    register_default_plugins()
    document = json.loads(json.dumps(sdk.Dashboard.from_json(board), cls=JSONEncoder))
    for item in (*document["links"], *document["annotations"]["list"]):
        assert item.pop("placement") == "inControlsMenu", "the SDK always adds it, render.text takes it out"
    assert document == board


@each_board
def test_panels_neither_overlap_nor_leave_holes_in_a_line(board: Board) -> None:
    boxes = [panel["gridPos"] for panel in panels(board, rows=True)]
    for one, other in combinations(boxes, 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart or above
    for top in {box["y"] for box in boxes}:
        assert sum(box["w"] for box in boxes if box["y"] == top) == 24


@each_board
def test_ids_and_titles_are_unique_and_in_the_order_of_reading(board: Board) -> None:
    ids = [panel["id"] for panel in panels(board, rows=True)]
    assert ids == list(range(1, len(ids) + 1))
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)


@each_panel
def test_a_panel_says_how_to_read_it_and_what_it_means_when_it_is_empty(panel: Board) -> None:
    assert panel["type"] in CORE_PANELS, "works without plugins"
    assert len(panel["description"].split()) >= 8
    assert panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert defaults["noValue"]
    assert not {"alert", "datasourceErrors"} & set(panel)


@each_panel
def test_a_tile_without_a_value_says_so_briefly_and_never_looks_healthy(panel: Board) -> None:
    if panel["type"] == "stat":
        defaults = panel["fieldConfig"]["defaults"]
        assert len(defaults["noValue"]) <= 20
        lowest = defaults["thresholds"]["steps"][0]
        assert lowest.get("value") is None
        assert lowest["color"] in ("text", "transparent", "red")


@each_panel
def test_a_time_series_never_rounds_its_axis(panel: Board) -> None:
    """Grafana writes the text for no value beside ticks that rounding removes."""
    if panel["type"] == "timeseries":
        assert "decimals" not in panel["fieldConfig"]["defaults"]


@each_panel
def test_nothing_that_ended_is_drawn_on(panel: Board) -> None:
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    assert custom.get("spanNulls", False) is False
    assert custom.get("lineInterpolation", "linear") == "linear"


@each_panel
def test_exceptions_for_fields_name_fields_that_exist(panel: Board) -> None:
    shown = {target["legendFormat"] for target in panel["targets"]}
    for transformation in panel.get("transformations", ()):
        options = transformation["options"]
        shown |= set(options.get("renameByName", {}).values()) | set(options.get("indexByName", {}))
    templates = [re.sub(r"\\{\\{.*?\\}\\}", ".*", re.escape(name)) for name in shown]
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["id"] == "byName":
            name = override["matcher"]["options"]
            assert any(re.fullmatch(template, name) for template in templates), f"no field is called {name}"


@each_board
def test_variables_are_a_chain_in_which_each_one_narrows_the_next(board: Board) -> None:
    variables = {v["name"]: v for v in board["templating"]["list"] if v["type"] == "query"}
    variables = {name: v for name, v in variables.items() if name not in ("split", "control")}
    if board["uid"] == "anomaly-exporter-health":
        assert not variables
        return
    wanted = ["env", "namespace", "container", "metric", "model"]
    assert [name for name in variables if name in wanted] == wanted
    for earlier, later in pairwise(variables):
        queries = variables[earlier]["definition"], variables[later]["definition"]
        assert f'{Labels().by_variable[earlier]}=~"${earlier}"' in queries[1]
        assert set(re.findall(r"\$\w+", queries[0])) < set(re.findall(r"\$\w+", queries[1]))
    for variable in variables.values():
        assert variable["includeAll"]
        assert variable["allValue"] == ".*", "All matches series without the label, too"


@each_board
def test_every_dashboard_leads_to_the_others_with_choice_and_time(board: Board) -> None:
    link, *pages = board["links"]
    assert all(page["url"].startswith("${control:raw}/") and page["keepTime"] for page in pages)
    assert link["type"] == "dashboards"
    assert set(link["tags"]) <= set(board["tags"])
    assert link["includeVars"]
    assert link["keepTime"]
    assert "placement" not in link


def test_the_canary_is_nobodys_anomaly() -> None:
    """A series with spikes on a schedule, there to test the way to the mailbox, is not counted anywhere."""
    for board in BOARDS:
        for query in asked(board):
            for selector, _ in selectors(query.expr):
                specs = [metrics.BY_NAME[name] for name in metric_names(selector) & set(metrics.BY_NAME)]
                if any(spec.place != "self" for spec in specs):
                    assert f'tag!="{CANARY_TAG}"' in selector.prettify(), f"{query}: {selector.prettify()}"


def test_mails_set_only_variables_that_the_series_dashboard_has() -> None:
    series = next(board for board in BOARDS if board["uid"] == SERIES_UID)
    names = {variable["name"] for variable in series["templating"]["list"]}
    for url in (links.dashboard(default_config()), links.service_page(default_config())):
        assert f"/d/{SERIES_UID}?" in url
        found = set(re.findall(r"var-(\w+)=", url))
        assert found
        assert found <= names
    assert not any(variable.get("multi") for variable in series["templating"]["list"]), "one series at a time"


def test_links_of_tables_and_lines_carry_every_variable_and_the_time_range() -> None:
    found = 0
    for board in BOARDS:
        for panel in panels(board):
            for override in panel["fieldConfig"]["overrides"]:
                for made in override["properties"]:
                    if made["id"] == "links":
                        link, *pages = made["value"]
                        assert all(page["url"].startswith("${control:raw}/") for page in pages)
                        found += 1
                        assert link["url"].startswith(f"/d/{SERIES_UID}?${{datasource:queryparam}}&")
                        assert set(re.findall(r"var-(\w+)=", link["url"])) == set(Labels().by_variable)
                        assert link["url"].endswith("&${__url_time_range}")
    assert found >= 6


def test_alerts_rollouts_and_restarts_are_marked_on_the_series() -> None:
    series = next(board for board in BOARDS if board["uid"] == SERIES_UID)
    assert [a["name"] for a in series["annotations"]["list"]] == ["Firing alerts", "Rollouts", "Restarts"]
    for board in BOARDS:
        assert board["annotations"]["list"], "every dashboard marks the alerts that concern it"


def test_a_line_that_does_not_fill_the_grid_is_refused() -> None:
    layout = Layout()
    with pytest.raises(LayoutError, match=r"add up to 24, received Scored \(12\), Scored \(13\)"):
        layout.line(4, (12, watched("{}")), (13, watched("{}")))
    layout.line(4, (12, watched("{}")), (12, watched("{}")))
