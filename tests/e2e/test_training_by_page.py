"""A training started with other parameters on the page, watched in the queries of the training dashboard, stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anomaly_exporter.demo.stack import PrometheusServer, Scrape
from support.browser import chromium
from support.control import TOKENS
from support.control_process import Running
from support.dashboard_files import asked, boards, filled
from support.prometheus import need_programs
from support.waiting import wait_for

pytestmark = pytest.mark.e2e

OFTEN = 0.25


class Watched:
    """The exporter and a Prometheus that scrapes both of its pages."""

    def __init__(self, exporter: Running, prometheus: PrometheusServer) -> None:
        self.exporter, self.prometheus = exporter, prometheus
        board = next(board for board in boards() if board["uid"] == "anomaly-training")
        self.queries = {query.where: query.expr for query in asked(board)}

    def labels(self, panel: str, label: str) -> set[str]:
        """Values of ``label`` in what the first query of ``panel`` answers now."""
        found = self.prometheus.query(filled(self.queries[f"{panel} A"], {}), time.time())
        return {str(sample["metric"].get(label, "")) for sample in found}

    def number(self, panel: str) -> float:
        found = self.prometheus.query(filled(self.queries[f"{panel} A"], {}), time.time())
        return float(found[0]["value"][1]) if found else -1


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    need_programs()
    exporter = Running(tmp_path)
    address = exporter.metrics_url.removeprefix("http://")
    scrapes = [
        Scrape("anomaly-exporter", address, OFTEN, honor_labels=True),
        Scrape("anomaly-exporter-detail", address, OFTEN, "/metrics/detail", honor_labels=True),
    ]
    try:
        # Compressed time: a series is gone when two scrapes of it are.
        with PrometheusServer(tmp_path / "prometheus", scrapes, evaluation=1, lookback=4 * OFTEN) as prometheus:
            yield Watched(exporter, prometheus)
    finally:
        exporter.process.kill()
        exporter.process.wait()


def test_a_training_by_the_page_is_seen_running_and_stopped(watched: Watched, tmp_path: Path) -> None:
    states = lambda: watched.labels("Newest training of every series", "state")  # noqa: E731
    wait_for(lambda: states() == {"succeeded"}, 120, "the first training to be seen", 0.3)
    with chromium(tmp_path / "chromium") as browser:
        browser.open(f"http://{watched.exporter.control}/train?metric=cpu")
        browser.write("#token", TOKENS["operator"])
        browser.go("main button")
        # One that takes long enough to be stopped.
        browser.run("document.getElementById('p.recipe').value = 'fc'")
        browser.write("[name='p.epochs']", "500")
        browser.write("[name='t.history']", "11h")
        browser.go("main .acts button")
        wait_for(lambda: watched.number("Training now") == 1, 30, "the training on the dashboard", 0.05)
        browser.open(f"http://{watched.exporter.control}/stop?target=cpu")
        browser.go("main td button")
        assert "The training was stopped." in browser.text
    wait_for(lambda: watched.number("Training now") == 0, 20, "its end on the dashboard", 0.1)
    wait_for(lambda: states() == {"stopped"}, 30, "stopped in the table of the dashboard", 0.2)
    log = watched.exporter.log.read_text()
    assert '{\\"parameters\\":{\\"recipe\\":\\"fc\\",\\"epochs\\":500},\\"training\\":{\\"history\\":\\"11h\\"}}' in log
