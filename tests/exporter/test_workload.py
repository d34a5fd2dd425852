"""The simulated cluster: reproducible at every instant, shaped like real services."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_exporter.workload import DAY, MIB, SERVICES, Cluster, Incident, Service

NOON = 1_772_712_000  # 2026-03-05 12:00 UTC, a Thursday
STEP = 120


def instants(days: float, end: int = NOON) -> np.ndarray:
    return np.arange(end - int(days * DAY), end, STEP, dtype=np.int64)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    start=st.integers(0, 3_000_000_000),
    step=st.sampled_from([1, 60, 120, 300]),
    cut=st.integers(1, 39),
)
def test_an_instant_has_the_same_values_whatever_is_asked_beside_it(seed: int, start: int, step: int, cut: int) -> None:
    times = start + step * np.arange(40, dtype=np.int64)
    cluster = Cluster(seed)
    whole, part = cluster.values(times), cluster.values(times[cut:])
    columns = [whole.pods.index(pod) for pod in part.pods]
    np.testing.assert_array_equal(whole.values[cut:][:, columns], part.values)


def test_different_seeds_are_different_clusters() -> None:
    times = instants(0.1)
    one, two = Cluster(1).values(times), Cluster(2).values(times)
    assert not np.array_equal(one.of("crab", "crabserver"), two.of("crab", "crabserver"))


def test_every_service_of_the_customer_runs_and_its_pods_carry_kube_eagles_labels() -> None:
    samples = Cluster().values([NOON])
    assert {(p.namespace, p.container) for p in samples.pods} == {(s.namespace, s.container) for s in SERVICES}
    assert set(samples.pods[0].labels) == {"namespace", "pod", "container", "phase"}
    assert len({p.name for p in samples.pods}) == len(samples.pods)


def test_load_follows_the_hour_of_the_day_and_the_day_of_the_week() -> None:
    times = instants(28)
    cpu = Cluster().values(times).of("crab", "crabserver")[:, 0]
    hour, weekday = times % DAY // 3600, (times // DAY + 3) % 7
    noon, night = cpu[(hour == 15) & (weekday < 5)], cpu[hour == 3]
    assert np.median(noon) > 3 * np.median(night)
    assert np.median(cpu[(hour == 15) & (weekday >= 5)]) < 0.85 * np.median(noon)


def test_a_rollout_replaces_pods_by_others_and_leaves_no_instant_without_any() -> None:
    samples = Cluster().values(instants(56))
    mine = [i for i, p in enumerate(samples.pods) if p.namespace == "crab"]
    alive = np.isfinite(samples.values[:, mine, 0]).sum(axis=1)
    assert len(mine) > 3
    assert (alive == 3).all()


def test_a_leak_grows_until_the_pod_is_restarted() -> None:
    leaky = Service("a", "b", 1, cpu=1.0, memory=100 * MIB, leak=0.01, restart_days=1)
    times = instants(6)
    memory = Cluster(services=(leaky,)).values(times).of("a", "b")[:, 1]
    hour = times % DAY // 3600
    before, after = memory[hour == 2], memory[hour == 4]
    assert np.median(before) > 1.15 * np.median(after)


def test_samples_that_metrics_server_lacked_are_zero_for_all_pods_of_the_service() -> None:
    samples = Cluster().values(instants(28))
    mine = [i for i, p in enumerate(samples.pods) if p.container == "dbs2go-global-r"]
    zero = (samples.values[:, mine] == 0).any(axis=(1, 2))
    assert 0 < zero.mean() < 1 / 500
    assert not np.nansum(samples.values[zero][:, mine])


def test_an_incident_raises_only_its_service_and_only_while_it_lasts() -> None:
    times = instants(0.25)
    incident = Incident("crab", "crabserver", int(times[50]), int(times[100]), cpu=1.0)
    calm, struck = Cluster().values(times), Cluster().with_incidents([incident]).values(times)
    raised = struck.of("crab", "crabserver")[:, 0] - calm.of("crab", "crabserver")[:, 0]
    assert np.flatnonzero(raised > 0.5).tolist() == list(range(50, 100))
    assert np.abs(raised[50:100] - 1.0).max() < 0.12
    for namespace, container in {(p.namespace, p.container) for p in calm.pods} - {("crab", "crabserver")}:
        np.testing.assert_array_equal(struck.of(namespace, container), calm.of(namespace, container))


def test_an_incident_survives_its_file() -> None:
    incident = Incident("crab", "crabserver", 120, 240, cpu=1.5, memory=2.0**20)
    assert Incident.from_json(incident.to_json()) == incident


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"namespace": "a"}', "null", "{"])
def test_an_unreadable_incident_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="an incident is a JSON object with namespace"):
        Incident.from_json(text)


def test_weeks_of_history_are_there_in_seconds() -> None:
    began = time.process_time()
    Cluster().values(instants(28))
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("times", [[], [120, 120], [240, 120], [[1, 2]]])
def test_instants_that_do_not_ascend_are_refused(times: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        Cluster().values(times)


def test_an_unknown_service_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Cluster().service("crab", "nothing")
    with pytest.raises(KeyError):
        Cluster().values([NOON]).of("crab", "nothing")
