"""What the demo tells: its incident, its configuration, its lines, its verdict on mails."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.clock import Clock
from anomaly_exporter.demo import page, stand
from anomaly_exporter.demo.incident import NoRoomError, below_history, plan
from anomaly_exporter.demo.judging import SLACK, Notice, judge
from anomaly_exporter.demo.mailbox import Mail
from anomaly_exporter.demo.processes import StackError
from anomaly_exporter.demo.recording import Event, load
from anomaly_exporter.demo.replay import around, document, report
from anomaly_exporter.demo.scenario import Scenario
from anomaly_exporter.demo.terminal import mail_text, score_line
from anomaly_exporter.workload import SERVICES, Cluster
from support.shared_data import shared_data

ENDS = stand.Ends("http://127.0.0.1:9", 2525, "http://127.0.0.1:10")


# --- the incident


def test_the_incident_stays_below_what_the_service_has_shown_before_and_leaves_its_band() -> None:
    """Proved on every sample of its hour, noise included; the night-time load is raised to that of the day."""
    s = Scenario()
    start = s.start + 2 * 3600 + 1800
    raised = plan(Cluster(s.seed), s.service, (s.birth, s.start), (start, start + s.incident), upper=1.4)
    assert 1.4 < raised.lowest <= raised.highest < raised.quantile < raised.maximum
    assert raised.lowest > 2 * raised.before


@given(
    day=st.floats(2, 100),
    night=st.floats(0.1, 1),
    upper=st.floats(0.1, 100),
)
def test_a_raise_is_either_outside_the_band_and_below_the_past_or_refused(
    day: float, night: float, upper: float
) -> None:
    history = np.concatenate([np.full(500, night), np.full(500, day)])
    coming = np.full(30, night)
    try:
        add = below_history(history, coming, upper)
    except NoRoomError as error:
        assert "inject at a time of day when the load is lower" in str(error)  # noqa: PT017
    else:
        assert upper < night + add * (1 - 0.11)
        assert night + add * (1 + 0.11) < day


def test_at_noon_there_is_no_room_for_an_incident() -> None:
    s = Scenario()
    noon = s.start - 5 * 3600
    with pytest.raises(NoRoomError):
        plan(Cluster(s.seed), s.service, (s.birth, s.start), (noon, noon + s.incident), upper=2.6)


# --- the configuration


def test_the_demo_watches_every_service_and_mails_every_team(tmp_path: Path) -> None:
    s = Scenario()
    config, path = stand.configuration(tmp_path, s.document(ENDS), Clock(s.speed, 1000.0, s.start))
    assert {route.tag for route in config.routing.routes} == {service.namespace for service in SERVICES}
    assert [t.metric for t in config.targets] == ["cpu", "memory"]
    assert Clock.of(config.timing) == Clock(120.0, 1000.0, s.start)
    assert config.store.path == tmp_path / "store"
    assert path.read_text().startswith("prometheus:")
    assert config.control.enabled
    assert config.control.external_url == f"http://{config.control.listen}"


def test_the_embedded_demo_reads_the_simulator(tmp_path: Path) -> None:
    config, _ = stand.configuration(tmp_path, Scenario().embedded(tmp_path / "incident.json"), Clock())
    assert config.prometheus is None
    assert config.simulator is not None
    assert config.simulator.origin == Scenario().birth


def test_the_clock_starts_on_a_whole_second_and_reaches_the_story_after_the_lead() -> None:
    clock = stand.clock_from(1000.25, 7200, 120.0, 10.0)
    assert clock == Clock(120.0, 1011.0, 7200.0)


# --- lines for people

PAGE = """\
# TYPE anomaly_score gauge
anomaly_score{namespace="crab",container="crabserver",metric="cpu"} 1.25
anomaly_score{namespace="das",container="das-server",metric="cpu"} 0.5
# TYPE anomaly_reconstruction_error gauge
anomaly_reconstruction_error{namespace="crab",container="crabserver",metric="cpu"} 2.5
# TYPE anomaly_threshold gauge
anomaly_threshold{namespace="crab",container="crabserver",metric="cpu"} 2
# TYPE anomaly_observed_value gauge
anomaly_observed_value{namespace="crab",container="crabserver",metric="cpu",feature="cpu"} 2.034
# TYPE anomaly_expected_lower gauge
anomaly_expected_lower{namespace="crab",container="crabserver",metric="cpu",feature="cpu"} 0.1
# TYPE anomaly_expected_upper gauge
anomaly_expected_upper{namespace="crab",container="crabserver",metric="cpu",feature="cpu"} 1.37
# TYPE anomaly_detected gauge
anomaly_detected{namespace="crab",container="crabserver",metric="cpu"} 1
"""
CRAB = {"namespace": "crab", "container": "crabserver", "metric": "cpu"}


def test_a_cycle_is_one_line_with_all_that_made_the_score() -> None:
    assert score_line(1_772_740_800, page.parse(PAGE), CRAB) == (
        "  Thu 20:00  crab/crabserver cpu  observed 2.03  expected 0.1..1.37  "
        "error 2.5  threshold 2  score 1.25  ANOMALY"
    )
    assert score_line(1_772_740_800, page.parse(""), CRAB) == "  Thu 20:00  crab/crabserver cpu  not scored"


def test_a_page_gives_values_by_labels() -> None:
    read = page.parse(PAGE)
    assert read.value("anomaly_score", namespace="das") == 0.5
    assert read.total("anomaly_score") == 1.75
    assert read.value("anomaly_score", namespace="none") is None
    assert page.fetch("http://127.0.0.1:9/metrics", timeout=0.2) is None


def test_a_mail_is_shown_with_its_headers_and_its_text() -> None:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Anomaly", "a@x.test", "b@x.test"
    message.set_content("first\n\nlast")
    mail = Mail(0.0, "a@x.test", ("b@x.test",), message)
    assert mail_text(mail) == (
        "  | From: a@x.test\n  | To: b@x.test\n  | Subject: Anomaly\n  |\n  | first\n  |\n  | last"
    )


# --- judging a replay

FAULT = Event("cart", 1000, 1300, "cpu_contention")
OTHER = Event("front", 1000, 1300, "side effect")


@pytest.mark.parametrize(("at", "found"), [(999, False), (1000, True), (1300 + SLACK, True), (1301 + SLACK, False)])
def test_a_mail_counts_from_the_start_of_a_fault_to_a_while_after_its_end(at: int, found: bool) -> None:
    findings = judge([FAULT], [], [Notice("cart", at)])
    assert bool(findings.found) is found
    assert bool(findings.missed) is not found
    assert bool(findings.false) is not found


def test_mails_of_other_teams_find_nothing_and_are_false_unless_forgiven() -> None:
    assert judge([FAULT], [], [Notice("front", 1100)]).false == (Notice("front", 1100),)
    assert judge([FAULT], [OTHER], [Notice("front", 1100)]).false == ()
    assert judge([FAULT], [OTHER], [Notice("front", 1100)]).found == ()


def test_a_mail_that_only_repeats_an_alert_is_judged_by_when_that_began() -> None:
    much_later = 1300 + SLACK + 1
    assert judge([FAULT], [], [Notice("cart", much_later, since=1200)]).false == ()
    assert judge([FAULT], [], [Notice("cart", much_later, since=1200)]).found == ()
    assert len(judge([FAULT], [], [Notice("cart", much_later, since=much_later)]).false) == 1


def test_the_first_of_several_mails_tells_the_delay() -> None:
    findings = judge([FAULT], [], [Notice("cart", 1500), Notice("cart", 1200)])
    assert findings.found == ((FAULT, Notice("cart", 1200)),)


def test_a_report_names_what_was_found_missed_and_false() -> None:
    late = Event("cart", 9000, 9300, "cpu_consumed")
    findings = judge([FAULT, late], [], [Notice("cart", 1180), Notice("ad", 4000)])
    assert report("mailed", findings) == (
        "mailed: 1 of 2 events, 1 false\n"
        "  found   Thu 00:16  cart cpu_contention, after 3.0 min\n"
        "  missed  Thu 02:30  cart cpu_consumed\n"
        "  false   Thu 01:06  ad"
    )


# --- recorded series


def test_nezha_is_replayed_with_its_fifteen_events_and_its_twelve_hour_hole(tmp_path: Path) -> None:
    recording = load(shared_data() / "series", "nezha_ob")
    assert len(recording.entities) == 10
    assert len(recording.events) == 15
    assert {e.kind for e in recording.events} == {"cpu_contention", "cpu_consumed"}
    assert recording.block.values.shape[1] == 20
    assert np.diff(recording.block.times).max() == recording.test[0] - recording.train[1] == 12 * 3600
    stretch = around(recording, recording.events[2:3])
    assert recording.test[0] < stretch.start < recording.events[2].start < stretch.end <= recording.test[1]
    config, _ = stand.configuration(tmp_path, document(recording, stretch, ENDS), Clock(60.0))
    assert {route.tag for route in config.routing.routes} == set(recording.entities)


def test_a_machine_of_smd_is_one_target_of_thirty_eight_features() -> None:
    recording = load(shared_data() / "series", "smd", ("machine-1-6",))
    assert [len(w.features) for w in recording.watches] == [38]
    assert recording.watches[0].metric == "resources"


def test_a_folder_without_the_data_set_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="does not hold the data set nezha_ob"):
        load(tmp_path, "nezha_ob")
    with pytest.raises(StackError, match=r"knows the data sets \['nezha_ob', 'smd'\], received 'other'"):
        load(tmp_path, "other")
