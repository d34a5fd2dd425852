"""Every query of every panel, variable and annotation parses, reads what exists, and answers in the right shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from anomaly_exporter import metrics
from anomaly_exporter.demo.stack import PrometheusServer
from dashboards import files
from dashboards.promql import REPLICA, Labels
from support import dashboard_story as story
from support.dashboard_files import Asked, Board, asked, boards, filled, metric_names, nodes, selectors
from support.prometheus import need_programs

QUERIES = [query for board in boards() for query in asked(board)]
EXTERNAL = {
    "ALERTS": "Prometheus itself",
    "ALERTS_FOR_STATE": "Prometheus itself",
    "kube_deployment_status_observed_generation": "kube-state-metrics, where it is scraped",
    "kube_statefulset_status_observed_generation": "kube-state-metrics, where it is scraped",
    "kube_pod_container_status_restarts_total": "kube-state-metrics, where it is scraped",
}
"""Metrics of others that the dashboards may read, and whose they are."""
PER_PROCESS = {"Time of a cycle A", "Memory A", "Open connections A"}
"""Panels about single processes of the exporter: the only ones that tell replicas apart."""
MOMENT = story.NOW


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A real Prometheus that has scraped two replicas of the exporter for half an hour."""
    need_programs()
    made = PrometheusServer(tmp_path_factory.mktemp("kps") / "prometheus")
    story.fill(made.data)
    with made:
        yield made


def _answer(server: PrometheusServer, query: Asked, **chosen: str) -> list[dict[str, Any]]:
    expr = filled(query.expr, chosen)
    if query.kind in ("range", "annotation"):
        return server.query_range(expr, story.START, MOMENT, 60)
    return server.query(expr, MOMENT)


def test_the_tests_see_every_query() -> None:
    assert len(QUERIES) > 150
    assert {query.board for query in QUERIES} == {board["uid"] for board in boards()}


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_every_query_parses_and_reads_only_metrics_that_exist(query: Asked) -> None:
    names = {name for selector, _ in selectors(query.expr) for name in metric_names(selector)}
    assert names
    assert names <= {*metrics.BY_NAME, *EXTERNAL}


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_labels_in_a_query_are_labels_of_its_metrics(query: Asked) -> None:
    for selector, _ in selectors(query.expr):
        for name in metric_names(selector) & set(metrics.BY_NAME):
            spec = metrics.BY_NAME[name]
            entity = {*Labels().by_variable, "tag"} if spec.place != "self" else set()
            assert {m.name for m in selector.matchers.matchers} <= {*spec.labels, *entity, "__name__"}


@pytest.mark.parametrize("query", [q for q in QUERIES if q.kind != "values"], ids=str)
def test_no_query_tells_replicas_apart(query: Asked) -> None:
    """Each selector of our metrics is below an aggregation that drops the labels of pods."""
    if query.where in PER_PROCESS:
        return
    for selector, above in selectors(query.expr):
        if metric_names(selector) <= set(metrics.BY_NAME):
            assert any(_drops_replicas(node) for node in above), selector.prettify()


def _drops_replicas(node: promql_parser.Expr) -> bool:
    if not isinstance(node, promql_parser.AggregateExpr) or str(node.op) in ("topk", "bottomk"):
        return False
    if node.modifier is None:
        return True
    without = node.modifier.type == promql_parser.AggModifierType.Without
    return (set(REPLICA) <= set(node.modifier.labels)) if without else not set(REPLICA) & set(node.modifier.labels)


def test_a_query_that_tells_replicas_apart_would_be_found() -> None:
    for expr in (
        "anomaly_score",
        "topk(3, anomaly_score)",
        "sum by (pod) (anomaly_score)",
        "max without (pod) (anomaly_up)",
    ):
        assert not any(_drops_replicas(node) for node, _ in nodes(promql_parser.parse(expr)))


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_every_query_answers_with_data_of_the_right_shape(query: Asked, server: PrometheusServer) -> None:
    answer = _answer(server, query)
    assert answer, f"no data for {filled(query.expr)}"
    names = set().union(*(series["metric"] for series in answer))
    if query.where not in PER_PROCESS and query.kind not in ("values", "annotation"):
        assert not names & set(REPLICA)
    for label in re.findall(r"{{(\w+)}}", query.legend):
        assert label in names | {"workload", "node", "statefulset", "deployment"}, f"the legend names {label}"
    if query.panel and query.panel["type"] == "stat" and query.legend == "__auto":
        assert len(answer) == 1, "a tile shows one number"
    if query.kind == "rows":
        assert query.panel
        _check_columns(query.panel, names)


def _check_columns(panel: Board, names: set[str]) -> None:
    organize = next(t for t in panel["transformations"] if t["id"] == "organize")["options"]
    letters = {"Value"} | {f"Value #{target['refId']}" for target in panel["targets"]}
    labels = {column for column in organize["indexByName"] if column not in letters}
    assert labels - names <= {"architecture", "scope", "state", "split", "of"}, "columns that no row has"


@pytest.mark.parametrize(
    "chosen",
    [
        {"env": "k8s-prod", "namespace": "crab", "container": "crabserver", "metric": "cpu", "model": "auto"},
        {"node": "node-1", "metric": "resources"},
    ],
    ids=["container", "node"],
)
def test_the_series_that_a_mail_opens_is_the_one_shown(chosen: dict[str, str], server: PrometheusServer) -> None:
    for query in QUERIES:
        if query.board != "anomaly-monitoring" or query.kind not in ("range", "rows") or query.panel is None:
            continue
        answer = _answer(server, query, **chosen)
        if not answer:
            several = {"Share of each feature in the error", "How far each feature is from its expectation"}
            expected = several if chosen["metric"] == "cpu" else {"Observed value and expected band: $metric"}
            assert query.panel["title"] in expected, f"{query} is empty"
        for series in answer:
            if "everywhere" not in query.where and "namespace" not in query.where:
                assert series["metric"].get("container", "crabserver") in ("crabserver", "$__all")
                assert series["metric"].get("metric", chosen["metric"]) == chosen["metric"]


def test_two_replicas_count_once(server: PrometheusServer) -> None:
    by_title = {(q.board, q.where): q for q in QUERIES}
    scored = _answer(server, by_title["anomaly-home", "Scored A"])
    assert float(scored[0]["values"][-1][1]) == 2 * len(story.SERVICES) + 2
    by_target = _answer(server, by_title["anomaly-exporter-health", "Scored series by target A"])
    assert {s["metric"]["target"]: float(s["values"][-1][1]) for s in by_target} == {"cpu": 4, "memory": 4, "node": 2}


def test_the_incident_is_where_the_home_page_says(server: PrometheusServer) -> None:
    by_title = {(q.board, q.where): q for q in QUERIES}
    now = _answer(server, by_title["anomaly-home", "Anomalous now A"])
    assert float(now[0]["values"][-1][1]) == 3
    assert float(now[0]["values"][0][1]) == 0
    crab = _answer(server, by_title["anomaly-home", "Anomalous now A"], namespace="das")
    assert float(crab[0]["values"][-1][1]) == 0
    since = _answer(server, by_title["anomaly-home", "Most anomalous series now C"])
    assert [float(s["value"][1]) for s in since] == 3 * [1000 * (story.START + story.INCIDENT * story.STEP)]


def test_links_to_a_series_leave_open_what_it_lacks(server: PrometheusServer) -> None:
    by_title = {(q.board, q.where): q for q in QUERIES}
    rows = _answer(server, by_title["anomaly-home", "Most anomalous series now A"])
    node = next(
        row["metric"] for row in rows if row["metric"]["metric"] == "resources" and "node-1" in row["metric"]["node"]
    )
    assert (node["namespace"], node["container"], node["node"]) == ("$__all", "$__all", "node-1")
    assert node["series"].split() == ["node-1"]


def test_the_openshift_profile_asks_for_its_own_labels(tmp_path: Path) -> None:
    need_programs()
    made = PrometheusServer(tmp_path / "prometheus")
    story.fill(made.data, "openshift")
    rendered = [json.loads(text) for text in files(Labels.of("openshift")).values()]
    assert [board["uid"] for board in rendered] == [board["uid"] for board in map(json.loads, files(Labels()).values())]
    with made:
        for board in rendered:
            for query in asked(board):
                assert _answer(made, query), str(query)
                chosen = _answer(made, query, namespace="nobody")
                if query.board != "anomaly-exporter-health" and '=~"$namespace"' in query.expr:
                    assert chosen != _answer(made, query), str(query)
