"""Jobs of Kubernetes: made from the CronJob's template, followed, and what happens when the API server says no."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client import ApiClient, Configuration

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.launch import (
    IdleLauncher,
    JobApi,
    LauncherConfigError,
    LauncherRefusedError,
    LauncherUnavailableError,
    cluster,
    command,
)
from anomaly_exporter.launch.job_api import GoneError
from anomaly_exporter.launch.jobs import LONGEST_NAME, count_indexes, job_name, read_job
from anomaly_exporter.launch.reports import Report, write
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TargetView
from support.fake_kubernetes import FakeKubernetes, served
from support.launchers import CRON_JOB, TARGETS, TEMPLATE, KubernetesBench, cluster_bench
from support.snapshots import config_of
from support.waiting import wait_for

CONFIG = """
files: {path: series}
launcher: {kind: kubernetes, cron_job: anomaly-exporter-train, namespace: monitoring}
targets: [{name: cpu, metric: cpu, queries: [{expr: cpu}], models: [zscore]}]
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesBench]:
    monkeypatch.setattr(cluster, "POLL", 0.05)
    monkeypatch.setattr(cluster, "AGAIN", 0.05)
    monkeypatch.setattr(cluster, "WATCHED", 1)
    with cluster_bench() as made:
        yield made


def only_job(bench: KubernetesBench) -> dict[str, object]:
    (name,) = bench.cluster.jobs()
    return bench.cluster.job(name)


def becomes(bench: KubernetesBench, state: str, target: str = "cpu") -> None:
    wait_for(lambda: bench.launcher.status()[target].state == state, 10, f"{target} to be {state}")


def test_a_job_is_the_template_for_one_target_and_belongs_to_the_cron_job(bench: KubernetesBench) -> None:
    bench.launcher.train("memory_of_all")
    job = only_job(bench)
    spec, metadata = job["spec"], job["metadata"]
    assert isinstance(spec, dict)
    assert isinstance(metadata, dict)
    (container,) = spec["template"]["spec"]["containers"]
    assert container["env"] == [
        {"name": "OMP_NUM_THREADS", "value": "1"},
        {"name": "ANOMALY_EXPORTER_TARGET", "value": "memory_of_all"},
    ]
    unchanged = {k: v for k, v in spec.items() if k not in ("template", "suspend")}
    assert unchanged == {k: v for k, v in TEMPLATE["spec"].items() if k != "template"}
    assert {k: v for k, v in container.items() if k != "env"} == {
        k: v for k, v in TEMPLATE["spec"]["template"]["spec"]["containers"][0].items() if k != "env"
    }
    assert metadata["labels"] == {
        "app.kubernetes.io/component": "train",
        "anomaly-exporter/target": "memory_of_all",
    }
    assert metadata["annotations"] == {"checksum/config": "abc", "cronjob.kubernetes.io/instantiate": "manual"}
    (owner,) = metadata["ownerReferences"]
    uid = bench.cluster.stored["cronjobs", CRON_JOB]["metadata"]["uid"]
    assert owner == {"apiVersion": "batch/v1", "kind": "CronJob", "name": CRON_JOB, "uid": uid, "controller": True}


def test_scheduled_jobs_train_every_target_and_their_indexes_are_the_progress(bench: KubernetesBench) -> None:
    wait_for(lambda: bench.launcher._seen is not None, 5, "the first look")
    name = bench.cluster.schedule(CRON_JOB)
    becomes(bench, "running")
    becomes(bench, "running", "memory_of_all")
    bench.cluster.finish(name, 0, index=0)
    bench.cluster.finish(name, 0, index=2)
    wait_for(lambda: bench.launcher.status()["cpu"].progress == 0.5, 5, "half of the indexes")
    assert bench.metrics.value("training_progress_ratio", target="memory_of_all") == 0.5
    bench.cluster.finish(name)
    becomes(bench, "succeeded")
    becomes(bench, "succeeded", "memory_of_all")
    wait_for(lambda: bench.metrics.value("training_runs_total", outcome="succeeded") == 1, 5, "one run, not two")
    assert abs((bench.launcher.status()["cpu"].succeeded_at or 0) - time.time()) < 10


def test_a_request_for_all_suspends_scheduled_jobs_but_one_for_a_target_does_not(bench: KubernetesBench) -> None:
    name = bench.cluster.schedule(CRON_JOB)
    becomes(bench, "running")
    bench.launcher.suspend("cpu")
    assert bench.cluster.job(name)["spec"]["suspend"] is False
    bench.launcher.suspend(None)
    assert bench.cluster.job(name)["spec"]["suspend"] is True
    becomes(bench, "stopped")
    bench.launcher.cancel(None)
    assert bench.cluster.jobs() == []


def test_jobs_that_ended_before_the_exporter_began_are_shown_but_not_counted_again(
    bench: KubernetesBench,
) -> None:
    bench.launcher.train("cpu")
    bench.finish("cpu", 2)
    becomes(bench, "failed")
    api = JobApi(bench.cluster.namespace, bench.launcher._api._batch.api_client)
    metrics = SelfMetrics()
    restarted = cluster.KubernetesLauncher(bench.config, metrics, api)
    restarted.follow()
    restarted.follow()
    assert restarted.status()["cpu"].state == "failed"
    assert metrics.value("training_runs_total", outcome="failed") == 0


def test_jobs_of_others_are_nobodys_training(bench: KubernetesBench) -> None:
    bench.cluster.add_cron_job("backup", TEMPLATE)
    bench.cluster.schedule("backup")
    bench.launcher.follow()
    assert bench.launcher.status()["cpu"].state == "waiting"
    bench.launcher.cancel(None)
    assert len(bench.cluster.jobs()) == 1


def test_two_requests_at_the_same_time_make_one_job(bench: KubernetesBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one saw no Job either; its own is refused as a conflict, and that is fine."""
    bench.launcher.stop()
    bench.launcher._thread.join(5)
    moment = time.time()
    monkeypatch.setattr(bench.launcher, "_wall", lambda: moment)
    bench.launcher.train("cpu")
    seen, looks = bench.launcher.jobs, iter([True])
    monkeypatch.setattr(bench.launcher, "jobs", lambda: [] if next(looks, False) else seen())
    bench.launcher.train("cpu")
    assert len(bench.cluster.jobs()) == 1
    assert bench.cluster.requests.count(("POST", "/apis/batch/v1/namespaces/monitoring/jobs")) == 2
    bench.finish("cpu", 0)
    with pytest.raises(LauncherRefusedError, match="a Job was made within this minute: try again in the next"):
        bench.launcher.train("cpu")


def test_a_conflict_with_another_change_is_tried_again(bench: KubernetesBench) -> None:
    bench.launcher.stop()
    bench.launcher.train("cpu")
    (name,) = bench.cluster.jobs()
    bench.launcher._api.suspend(name, True)
    bench.cluster.trouble = [409, 409]
    bench.launcher._api.suspend(name, False)
    assert bench.cluster.job(name)["spec"]["suspend"] is False
    bench.cluster.trouble = [409, 409, 409]
    with pytest.raises(LauncherUnavailableError, match="the server is in trouble"):
        bench.launcher._api.suspend(name, True)


def test_a_job_that_was_replaced_under_its_name_is_not_deleted(bench: KubernetesBench) -> None:
    bench.launcher.train("cpu")
    (name,) = bench.cluster.jobs()
    with pytest.raises(LauncherUnavailableError, match="Precondition failed"):
        bench.launcher._api.delete(name, "another-uid")
    assert bench.cluster.jobs() == [name]
    bench.launcher._api.delete(name, str(bench.cluster.job(name)["metadata"]["uid"]))
    bench.launcher._api.delete(name, "another-uid")
    assert bench.cluster.jobs() == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again_later(bench: KubernetesBench, status: int) -> None:
    bench.launcher.stop()
    bench.cluster.trouble = [status] * 12
    with pytest.raises(LauncherUnavailableError, match="list Jobs in namespace monitoring: the server is in trouble"):
        bench.launcher.follow()
    bench.cluster.trouble = []
    bench.launcher.follow()


def test_following_survives_an_outage_and_goes_on(bench: KubernetesBench) -> None:
    bench.launcher.train("cpu")
    becomes(bench, "running")
    bench.cluster.trouble = [500, 503, 401, 500, 403]
    wait_for(lambda: not bench.cluster.trouble, 20, "the outage to pass")
    assert bench.launcher.status()["cpu"].state == "running", "what was known stays"
    bench.finish("cpu", 0)
    becomes(bench, "succeeded")


def test_a_missing_right_is_named(bench: KubernetesBench) -> None:
    bench.cluster.forbidden = {"create"}
    with pytest.raises(LauncherRefusedError, match=r'cannot create resource "jobs".*the Role of the service account'):
        bench.launcher.train("cpu")


def test_an_api_server_that_is_not_there_is_unavailable() -> None:
    api = JobApi("monitoring", ApiClient(Configuration(host="http://127.0.0.1:9", retries=0)))
    with pytest.raises(LauncherUnavailableError, match="list Jobs in namespace monitoring"):
        api.jobs()


def test_a_cron_job_that_is_missing_or_has_another_container_is_named(bench: KubernetesBench) -> None:
    bench.cluster.stored["cronjobs", CRON_JOB]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0][
        "name"
    ] = "main"
    with pytest.raises(LauncherConfigError, match=r"has no container 'train': launcher.container must name"):
        bench.launcher.train("cpu")
    del bench.cluster.stored["cronjobs", CRON_JOB]
    with pytest.raises(LauncherRefusedError, match=r'cronjobs.batch "anomaly-exporter-train" not found'):
        bench.launcher.train("cpu")


def test_long_lists_of_jobs_come_in_pages(bench: KubernetesBench, monkeypatch: pytest.MonkeyPatch) -> None:
    from anomaly_exporter.launch import job_api

    monkeypatch.setattr(job_api, "PAGE", 2)
    names = {bench.cluster.schedule(CRON_JOB) for _ in range(5)}
    assert {job.name for job in bench.launcher.jobs()} == names


def test_names_fit_a_server_and_tell_targets_apart() -> None:
    long = "a" * 60
    names = [job_name(c, t, 1_800_000_000) for c in ("train", long) for t in (None, "cpu", "a_b", "a-b", "c" * 60)]
    assert len(set(names)) == len(names)
    assert all(len(name) <= LONGEST_NAME for name in names)
    assert names[:2] == ["train-all-30000000", "train-cpu-30000000"]
    server = FakeKubernetes()
    server.add_cron_job(long, TEMPLATE)
    with served(server) as url:
        api = JobApi(server.namespace, ApiClient(Configuration(host=url)))
        for name in names:
            api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": TEMPLATE["spec"]})


@pytest.mark.parametrize(("text", "count"), [("", 0), ("3", 1), ("0,2", 2), ("0-3,5,7-8", 7)])
def test_intervals_of_indexes_are_counted(text: str, count: int) -> None:
    assert count_indexes(text) == count


def test_a_job_without_a_status_yet_is_unfinished() -> None:
    metadata = {"name": "a", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    job = read_job({"metadata": metadata, "spec": {}, "status": {}})
    assert (job.unfinished, job.progress, job.started, job.created) == (True, 0.0, None, 1_767_225_600.0)


def test_a_failure_that_has_no_exit_code_is_told_in_the_words_of_kubernetes() -> None:
    condition = {"type": "Failed", "status": "True", "reason": "FailedIndexes", "message": "Job has failed indexes"}
    status = {"conditions": [condition], "failedIndexes": "1,3"}
    metadata = {"name": "a", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    job = read_job({"metadata": metadata, "spec": {"completions": 4}, "status": status})
    assert job.message == "FailedIndexes: Job has failed indexes, failed indexes 1,3"


def test_without_the_client_the_launcher_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['kubernetes'] = None; sys.modules['kubernetes.client'] = None\n"
        "from anomaly_exporter.launch import JobApi, LauncherConfigError\n"
        "try:\n    JobApi('x')\nexcept LauncherConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'anomaly-exporter[kubernetes]'" in done.stdout


def test_without_a_launcher_results_are_seen_and_requests_refused() -> None:
    metrics = SelfMetrics()
    idle = IdleLauncher(config_of({"name": "cpu"}, launcher={"kind": "none"}), metrics)
    idle.observe(Snapshot(time.time(), (TargetView("cpu", 0, time.time(), trained_at=123.0),)))
    assert idle.status()["cpu"].state == "succeeded"
    assert metrics.value("training_last_success_timestamp_seconds", target="cpu") == 123.0
    for request in (idle.train, idle.suspend, idle.resume, idle.cancel):
        with pytest.raises(LauncherRefusedError, match=r"launcher.kind is none"):
            request("cpu")


def test_people_list_and_request_jobs_on_the_command_line(
    bench: KubernetesBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.launcher.stop()
    client = bench.launcher._api._batch.api_client
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    for request, state in (("start", "running"), ("suspend", "suspended"), ("resume", "running")):
        assert command.run_request(request, path, None, "cpu", client) == 0
        assert command.run_list(path, None, "text", client) == 0
        out = capsys.readouterr().out.splitlines()
        assert [line.split()[1:4] for line in out] == [["TARGET", "STATE", "PROGRESS"], ["cpu", state, "0%"]]
    assert command.run_request("delete", path, None, "cpu", client) == 0
    assert command.run_list(path, None, "json", client) == 0
    assert capsys.readouterr().out == ""
    bench.cluster.trouble = [500] * 12
    assert command.run_list(path, None, "json", client) == 3
    assert command.run_request("start", path, None, "disk", client) == 2
    path.write_text(CONFIG.replace("kind: kubernetes, cron_job: anomaly-exporter-train, namespace: monitoring", ""))
    assert command.run_list(path, None, "json", client) == 2
    errors = capsys.readouterr().err
    assert "launcher.kind: expected kubernetes to have Jobs, received local" in errors


def lists(bench: KubernetesBench) -> int:
    return sum(verb == "GET" and path.endswith("/jobs") for verb, path in bench.cluster.requests)


def test_changes_are_watched_not_asked_for(bench: KubernetesBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WATCHED", 60)
    wait_for(lambda: bench.cluster.watches, 10, "the watch")
    before = lists(bench)
    name = bench.cluster.schedule(CRON_JOB)
    becomes(bench, "running")
    bench.cluster.finish(name)
    becomes(bench, "succeeded")
    assert lists(bench) <= before + 1
    assert bench.metrics.value("training_runs_total", outcome="succeeded") == 1


def test_a_watch_that_is_too_old_begins_anew_with_a_list(bench: KubernetesBench) -> None:
    name = bench.cluster.schedule(CRON_JOB)
    becomes(bench, "running")
    before = lists(bench)
    bench.cluster.forget()
    wait_for(lambda: lists(bench) > before, 10, "another list")
    bench.cluster.finish(name)
    becomes(bench, "succeeded")
    wait_for(lambda: bench.metrics.value("training_runs_total", outcome="succeeded") == 1, 5, "one run, not two")


def test_410_is_told_apart_from_other_errors(bench: KubernetesBench) -> None:
    bench.cluster.forget()
    with pytest.raises(GoneError, match="too old resource version"):
        list(bench.launcher._api.watch("1", 1))


def test_without_the_right_to_watch_jobs_are_looked_at_again_and_again(bench: KubernetesBench) -> None:
    bench.cluster.forbidden = {"watch"}
    name = bench.cluster.schedule(CRON_JOB)
    becomes(bench, "running")
    bench.cluster.finish(name)
    becomes(bench, "succeeded")


def test_the_next_start_of_the_cron_job_is_known(bench: KubernetesBench) -> None:
    due = wait_for(lambda: bench.launcher.status()["cpu"].next_at, 10, "the next start")
    assert 0 < due - time.time() <= 2 * 3600
    assert due % 3600 == 0
    bench.cluster.stored["cronjobs", CRON_JOB]["spec"]["suspend"] = True
    wait_for(lambda: bench.launcher.status()["cpu"].next_at is None, 10, "no start to come")


def test_figures_come_from_the_reports_of_the_processes_that_trained(tmp_path: Path) -> None:
    cluster_, store = FakeKubernetes(), DirectoryBlobs(tmp_path)
    cluster_.add_cron_job(CRON_JOB, TEMPLATE)
    launcher = {"kind": "kubernetes", "cron_job": CRON_JOB, "namespace": cluster_.namespace}
    metrics, config = SelfMetrics(), config_of(*TARGETS, launcher=launcher)
    write(store, Report("cpu", "0/2", 1.0, 2.0, promoted=99))
    with served(cluster_) as url:
        api = JobApi(cluster_.namespace, ApiClient(Configuration(host=url)))
        followed = cluster.KubernetesLauncher(config, metrics, api, blobs=store)
        followed.follow()
        name = cluster_.schedule(CRON_JOB)
        followed.follow()
        write(store, Report("cpu", "0/2", 3.0, 4.0, 100, 7, 1, {"too_short": 2}, {"fit": 500}))
        write(store, Report("cpu", "1/2", 3.0, 4.0, 50, 5, 0, {"too_short": 1}, {"fit": 700, "read": 10}))
        cluster_.finish(name)
        followed.follow()
        followed.follow()
    status = followed.status()["cpu"]
    assert (status.samples_read, status.failed) == (150, {"too_short": 3})
    assert status.stage_memory == {"fit": 700, "read": 10}
    assert metrics.value("promotions_total", verdict="promoted") == 12, "what was there before is not counted"
    assert metrics.value("promotions_total", verdict="rejected") == 1
    assert metrics.value("training_stage_memory_bytes", target="cpu", stage="fit") == 700
