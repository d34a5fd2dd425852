"""The demo's machinery: feeds, live page, child processes, mailbox, real Prometheus and Alertmanager."""

from __future__ import annotations

import math
import signal
import smtplib
import subprocess
import sys
import time
from email.message import EmailMessage
from pathlib import Path

import numpy as np
import pytest
import requests

from anomaly_exporter.clock import Clock
from anomaly_exporter.demo.feeds import ClusterFeed, RawBlock, RawSeries, RecordedFeed, openmetrics, text_page
from anomaly_exporter.demo.live import LivePage
from anomaly_exporter.demo.mailbox import Mailbox
from anomaly_exporter.demo.processes import Child, StackError, free_port, wait_until
from anomaly_exporter.demo.stack import AlertmanagerServer, PrometheusServer, Scrape
from anomaly_exporter.workload import CPU_METRIC, Cluster
from support.waiting import wait_for

NOON = 1_772_712_000
STEP = 120


def block(values: list[list[float]], start: int = 120) -> RawBlock:
    series = (RawSeries.of("up", {"pod": 'a"b\\c\nd'}), RawSeries.of("load", {"pod": "a", "zone": "z"}))
    return RawBlock(np.arange(start, start + 60 * len(values), 60), series, np.array(values, float))


def test_backfill_text_is_openmetrics_stamped_with_wall_time_and_leaves_missing_samples_out() -> None:
    text = "".join(openmetrics(block([[1, 0.5], [math.nan, 2e9]]), Clock(60.0, wall_origin=1000.0, data_origin=120.0)))
    assert text == (
        "# TYPE load gauge\n"
        'load{pod="a",zone="z"} 0.5 1000.000\n'
        'load{pod="a",zone="z"} 2000000000.0 1001.000\n'
        "# TYPE up gauge\n"
        'up{pod="a\\"b\\\\c\\nd"} 1.0 1000.000\n'
        "# EOF\n"
    )


def test_a_page_shows_the_last_instant_and_leaves_missing_samples_out() -> None:
    assert text_page(block([[1, 0.5], [math.nan, 2]])) == '# TYPE load gauge\nload{pod="a",zone="z"} 2.0\n'


def test_a_recorded_feed_has_no_samples_outside_its_recording() -> None:
    feed = RecordedFeed(block([[1, 0.5], [2, 0.75]]))
    read = feed.read(np.array([60, 120, 150, 180, 240]))
    np.testing.assert_array_equal(read.values[:, 1], [math.nan, 0.5, math.nan, 0.75, math.nan])


def test_the_live_page_shows_the_instant_that_comes_next() -> None:
    clock = Clock(120.0, wall_origin=1.79e9, data_origin=NOON)
    page = LivePage(ClusterFeed(Cluster()), clock, STEP)
    for n in range(500):
        assert page.instant(1.79e9 + n) == NOON + n * STEP
        assert page.instant(1.79e9 + n + 0.001) == NOON + (n + 1) * STEP
        assert page.instant(1.79e9 + n - 0.001) == NOON + n * STEP


def test_the_live_page_is_served_over_http_and_nothing_else_is() -> None:
    with LivePage(ClusterFeed(Cluster()), Clock(), STEP) as page:
        answer = requests.get(page.url, timeout=5)
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert f"# TYPE {CPU_METRIC} gauge" in answer.text
        assert requests.get(page.url.replace("/metrics", "/other"), timeout=5).status_code == 404


def test_stopping_a_child_stops_what_it_started(tmp_path: Path) -> None:
    """A shell that ignores SIGTERM and has a child of its own."""
    with Child("shell", ["sh", "-c", "trap '' TERM; sleep 1000 & echo $!; wait"], tmp_path / "log") as child:
        grandchild = int(wait_for(lambda: child.log.read_text().strip(), 10, "the shell's child"))
        child.stop(patience=0.2)
        assert not child.running
        wait_for(lambda: not alive(grandchild), 10, "the end of the grandchild")
        child.stop()


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from anomaly_exporter.demo.processes import Child\n"
        "c = Child('sleeper', ['sleep', '1000'], Path(sys.argv[1])).start(); print(c.process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()[:6], 10, "the child to run")
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not alive(pid), 10, "the end of the child")


def test_a_child_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with (
        Child("echo", ["sh", "-c", "echo broken; exit 3"], tmp_path / "log") as child,
        pytest.raises(StackError, match=r"echo ended with exit code 3[\s\S]*broken"),
    ):
        wait_until(lambda: False, 10, "nothing", child)


def test_waiting_in_vain_names_what_was_waited_for() -> None:
    with pytest.raises(StackError, match=r"waited 0.01 s in vain for the moon"):
        wait_until(lambda: False, 0.01, "the moon", every=0.001)


def test_the_mailbox_keeps_what_it_is_sent() -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Grüße", "a@x.test", "b@x.test"
    message.set_content("plain text")
    message.add_alternative("<p>rich</p>", subtype="html")
    with Mailbox() as box:
        assert box.wait(lambda _: True, 0.01) is None
        with smtplib.SMTP("127.0.0.1", box.port) as smtp:
            smtp.send_message(message)
        mail = box.wait(lambda m: "Grüße" in m.subject, 5)
        assert mail is not None
        assert mail.recipients == ("b@x.test",)
        assert mail.body("plain").strip() == "plain text"
        assert mail.body("html").strip() == "<p>rich</p>"
        assert len(box.mails) == 1


@pytest.mark.usefixtures("servers")
def test_backfilled_and_live_values_are_one_seamless_grid(tmp_path: Path) -> None:
    """Real Prometheus: at every instant the newest sample is exactly the feed's value, before and after going live."""
    origin = math.ceil(time.time())
    ahead = 8  # the backfill reaches this many instants, wall seconds, into the future
    clock = Clock(120.0, wall_origin=float(origin), data_origin=float(NOON))
    feed = ClusterFeed(Cluster(11))
    past = np.arange(NOON - 200 * STEP, NOON + (ahead + 1) * STEP, STEP)
    with LivePage(feed, clock, STEP) as page:
        server = PrometheusServer(tmp_path, [Scrape("workload", page.address, 0.5)], lookback=2.5)
        assert server.backfill(feed, past, clock) == np.isfinite(feed.read(past).values).sum()
        with server:
            wait_for(lambda: time.time() > origin + ahead + 4.2, 30, "four live instants")
            for n in (-200, -100, -1, 0, 1, *range(ahead - 1, ahead + 5)):
                at = NOON + n * STEP
                samples = feed.cluster.values([at])
                expected = {p.name: v[0] for p, v in zip(samples.pods, samples.values[0], strict=True)}
                got = server.query(f"last_over_time({CPU_METRIC}[999ms])", clock.to_wall(at))
                assert {s["metric"]["pod"]: float(s["value"][1]) for s in got} == expected, n


@pytest.mark.usefixtures("servers")
def test_alertmanager_starts_and_a_broken_configuration_is_reported(tmp_path: Path) -> None:
    good = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
    with AlertmanagerServer(tmp_path / "good", good) as server:
        assert requests.get(f"{server.url}/api/v2/alerts", timeout=5).json() == []
    with pytest.raises(StackError, match=r"alertmanager ended with exit code"):
        AlertmanagerServer(tmp_path / "bad", "route: {receiver: missing}\nreceivers: []\n").start()


@pytest.mark.usefixtures("servers")
def test_a_backfill_that_promtool_refuses_says_why(tmp_path: Path) -> None:
    bad = RawBlock(np.array([60]), (RawSeries("bad name", ()),), np.array([[1.0]]))
    with pytest.raises(StackError, match="promtool refused the backfill"):
        PrometheusServer(tmp_path).backfill(RecordedFeed(bad), bad.times, Clock())


def test_free_ports_are_free() -> None:
    assert len({free_port() for _ in range(5)}) > 1


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
