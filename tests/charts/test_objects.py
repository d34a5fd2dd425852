"""What the chart makes of every file of charts/anomaly-exporter/ci, compared, validated and read by our own parser."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from anomaly_exporter.cli import cli
from anomaly_exporter.config import Config, parse
from support.helm import CHART, helm, notes, one, rendered, template

CASES = sorted((CHART / "ci").glob("*-values.yaml"))
GOLDEN = Path(__file__).parent / "golden"
OPERATOR = {"ServiceMonitor", "PrometheusRule", "AlertmanagerConfig", "Route"}
EVERY = pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)


def pods(documents: Any) -> Iterator[dict[str, Any]]:
    """The spec of every pod, and of every template of pods."""
    for document in documents:
        match document["kind"]:
            case "Pod":
                yield document["spec"]
            case "Deployment" | "StatefulSet":
                yield document["spec"]["template"]["spec"]
            case "CronJob":
                yield document["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def configuration(documents: Any) -> Config:
    """The configuration as the exporter would read it."""
    held = [d for d in documents if d["kind"] == "ConfigMap" and "config.yaml" in d.get("data", {})]
    assert len(held) == 1
    return parse(held[0]["data"]["config.yaml"])


def shortened(document: dict[str, Any]) -> dict[str, Any]:
    """What has a test of its own is not repeated in the golden files."""
    out = copy.deepcopy(document)
    if out["kind"] == "PrometheusRule":
        out["spec"]["groups"] = [{**g, "rules": "shortened"} for g in out["spec"]["groups"]]
    elif out["kind"] == "AlertmanagerConfig":
        out["spec"] = "shortened"
    elif out["kind"] == "ConfigMap":
        out["data"] = {k: v if k == "config.yaml" else "shortened" for k, v in out.get("data", {}).items()}
    return out


@EVERY
def test_the_strict_linter_finds_nothing(case: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--values", str(case))


@EVERY
def test_the_objects_are_those_of_the_golden_file(case: Path) -> None:
    """`UPDATE_GOLDEN=1 pytest tests/charts` writes the files again; read the difference before you commit it."""
    documents = sorted(rendered(case), key=lambda d: (d["kind"], d["metadata"]["name"]))
    text = yaml.safe_dump_all(map(shortened, documents), sort_keys=True, width=120)
    path = GOLDEN / f"{case.stem.removesuffix('-values')}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@EVERY
@pytest.mark.parametrize("version", ["1.29", "1.33", kubernetes_validate.latest_version()])
def test_every_object_is_valid_for_kubernetes(case: Path, version: str) -> None:
    known = [document for document in rendered(case) if document["kind"] not in OPERATOR]
    assert known
    for document in known:
        kubernetes_validate.validate(document, version, strict=True)


@EVERY
def test_no_two_objects_have_the_same_name_and_all_are_in_their_namespace(case: Path) -> None:
    names = [(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in rendered(case)]
    assert len(names) == len(set(names))
    ours = [d for d in rendered(case) if "helm.sh/chart" in d["metadata"].get("labels", {})]
    assert {d["metadata"].get("namespace") for d in ours if d["kind"] != "ClusterRoleBinding"} == {"monitoring"}


@EVERY
def test_every_pod_passes_the_restricted_pod_security_standard(case: Path) -> None:
    for pod in pods(rendered(case)):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert {k for v in pod.get("volumes", ()) for k in v} <= {
            "name",
            "configMap",
            "secret",
            "emptyDir",
            "persistentVolumeClaim",
        }
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}


@EVERY
def test_no_image_is_latest(case: Path) -> None:
    images = [c["image"] for pod in pods(rendered(case)) for c in pod["containers"]]
    assert all(":" in image.rsplit("/", 1)[1] and not image.endswith(":latest") for image in images)


@EVERY
def test_the_configuration_is_one_that_the_exporter_accepts(case: Path) -> None:
    config = configuration(rendered(case))
    assert str(config.store.path) == "/var/lib/anomaly-exporter"
    assert config.exposition.profile == ("openshift" if "openshift" in case.name else "kps")


@EVERY
def test_the_commands_of_the_containers_are_ours_with_flags_that_exist(case: Path) -> None:
    seen = set()
    for pod in pods(rendered(case)):
        for container in pod["containers"]:
            if container["name"] in cli.commands:
                name, *flags = container["args"]
                cli.commands[name].make_context(name, flags)
                seen.add(name)
    cron = any(d["kind"] == "CronJob" for d in rendered(case))
    assert seen == ({"serve", "train"} if cron else {"serve"})


def test_the_launcher_follows_the_cronjob_that_is_there() -> None:
    documents = rendered(CHART / "ci" / "jobs-values.yaml")
    cron = one(documents, "CronJob")
    launcher = configuration(documents).launcher
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert (launcher.kind, launcher.cron_job) == ("kubernetes", cron["metadata"]["name"])
    assert (launcher.namespace, launcher.container) == (cron["metadata"]["namespace"], container["name"])
    assert configuration(template()).launcher.kind == "local"


def test_another_source_takes_the_place_of_prometheus() -> None:
    given = 'config={"prometheus":null,"scrape":{"url":"http://app.shop.svc:8080/metrics"}}'
    held = one(template("--set-json", given), "ConfigMap")["data"]["config.yaml"]
    assert "prometheus:" not in held
    assert "http://app.shop.svc:8080/metrics" in held


def test_a_volume_that_several_pods_mount_can_be_shared() -> None:
    """A volume for one node only is never mounted by more than one pod."""
    for case in CASES:
        documents = rendered(case)
        modes = {m for d in documents if d["kind"] == "PersistentVolumeClaim" for m in d["spec"]["accessModes"]}
        users = [p for p in pods(documents) if any("persistentVolumeClaim" in v for v in p.get("volumes", ()))]
        assert len(users) <= 1 or modes == {"ReadWriteMany"}, case.name


@EVERY
def test_what_pods_mount_is_there(case: Path) -> None:
    there = {(d["kind"], d["metadata"]["name"]) for d in rendered(case)}
    sets = [d["spec"] for d in rendered(case) if d["kind"] == "StatefulSet"]
    templates = {claim["metadata"]["name"] for spec in sets for claim in spec.get("volumeClaimTemplates", ())}
    for pod in pods(rendered(case)):
        volumes = {v["name"]: v for v in pod.get("volumes", ())}
        for container in pod["containers"]:
            assert {m["name"] for m in container.get("volumeMounts", ())} <= volumes.keys() | templates
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there


def test_without_values_there_are_no_monitoring_objects() -> None:
    documents = template()
    assert not OPERATOR & {d["kind"] for d in documents}
    assert not [d for d in documents if "grafana_dashboard" in d["metadata"].get("labels", {})]


def test_one_switch_turns_on_all_monitoring_objects_with_the_label_of_the_stack() -> None:
    documents = template("--set", "kps.release=stack")
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert one(documents, kind)["metadata"]["labels"]["release"] == "stack"
    dashboards = [d for d in documents if d["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    assert len(dashboards) == len(list((CHART.parents[1] / "dashboards").glob("*.json")))
    for dashboard in dashboards:
        ((name, text),) = dashboard["data"].items()
        assert json.loads(text) == json.loads((CHART.parents[1] / "dashboards" / name).read_text(encoding="utf-8"))
        # Client-side apply keeps a copy in an annotation of at most 262,144 bytes.
        assert len(json.dumps(dashboard)) < 262_144


@pytest.mark.parametrize(("profile", "honors"), [("kps", True), ("openshift", False)])
def test_the_servicemonitor_selects_our_service_only_and_both_pages(profile: str, honors: bool) -> None:
    documents = template("--set", f"profile={profile},serviceMonitor.enabled=true")
    monitor, service = one(documents, "ServiceMonitor"), one(documents, "Service")
    spec = monitor["spec"]
    assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {"app.kubernetes.io/instance", "app.kubernetes.io/component"} <= spec["selector"]["matchLabels"].keys()
    assert spec["namespaceSelector"] == {"matchNames": ["monitoring"]}
    assert spec["sampleLimit"] == 250_000
    assert {(e["path"], e["interval"], e["honorLabels"]) for e in spec["endpoints"]} == {
        ("/metrics", "30s", honors),
        ("/metrics/detail", "2m", honors),
    }
    assert {e["port"] for e in spec["endpoints"]} <= {p["name"] for p in service["spec"]["ports"]}


def test_the_service_finds_the_serving_pods_and_never_those_of_a_training() -> None:
    documents = rendered(CHART / "ci" / "jobs-values.yaml")
    selector = one(documents, "Service")["spec"]["selector"].items()
    assert selector <= one(documents, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    job = one(documents, "CronJob")["spec"]["jobTemplate"]["spec"]
    assert not selector <= job["template"]["metadata"]["labels"].items()


def test_openshift_fixes_no_user_and_reads_thanos_with_the_token_of_the_account() -> None:
    documents = rendered(CHART / "ci" / "openshift-values.yaml")
    for pod in pods(documents):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & pod["securityContext"].keys()
    prometheus = configuration(documents).prometheus
    assert prometheus is not None
    assert prometheus.url == "https://thanos-querier.openshift-monitoring.svc:9091"
    assert str(prometheus.bearer_token_file) == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    serve = one(documents, "Deployment")["spec"]["template"]["spec"]
    assert serve["automountServiceAccountToken"] is True
    assert prometheus.tls.ca_file is not None
    mounts = {m["mountPath"] for m in serve["containers"][0]["volumeMounts"]}
    assert str(prometheus.tls.ca_file.parent) in mounts


def test_openshift_shows_the_page_only_through_the_proxy_and_to_the_named_groups() -> None:
    documents = rendered(CHART / "ci" / "openshift-values.yaml")
    assert one(documents, "Route")["spec"]["port"] == {"targetPort": "oauth"}
    binding = one(documents, "RoleBinding", "-page")
    assert [s["name"] for s in binding["subjects"]] == ["cms-monitoring-admins", "cms-monitoring-readers"]
    (rule,) = one(documents, "Role", "-page")["rules"]
    assert rule["resourceNames"] == [one(documents, "Service")["metadata"]["name"]]


def test_a_pod_without_need_gets_no_token() -> None:
    (pod, *_) = [p for p in pods(template()) if p["containers"][0]["name"] == "serve"]
    assert pod["automountServiceAccountToken"] is False


def test_a_changed_configuration_replaces_the_pods_and_a_changed_monitor_does_not() -> None:
    def pod(*arguments: str) -> Any:
        return one(template(*arguments), "Deployment")["spec"]["template"]

    assert pod() == pod("--set", "serviceMonitor.interval=15s")
    assert pod() != pod("--set", "config.exposition.max_series=10")


def test_a_local_launcher_has_the_image_that_trains_and_the_others_have_not() -> None:
    for launcher, repository in (("local", "anomaly-exporter-train"), ("none", "anomaly-exporter")):
        pod = one(template("--set", f"training.launcher={launcher}"), "Deployment")["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"].rsplit("/", 1)[1].split(":")[0] == repository


def test_an_existing_configmap_is_mounted_instead_of_ours() -> None:
    documents = template("--set", "existingConfigMap=mine")
    assert not [d for d in documents if d["kind"] == "ConfigMap"]
    volumes = one(documents, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "config", "configMap": {"name": "mine"}} in volumes


def test_shards_have_a_claim_each_and_know_their_number() -> None:
    workload = one(rendered(CHART / "ci" / "shards-values.yaml"), "StatefulSet")
    assert workload["spec"]["replicas"] == 3
    assert "--shard=auto/3" in workload["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [c["metadata"]["name"] for c in workload["spec"]["volumeClaimTemplates"]] == ["data"]


def test_the_training_is_an_indexed_job_that_knows_our_exit_codes() -> None:
    cron = one(rendered(CHART / "ci" / "jobs-values.yaml"), "CronJob")["spec"]
    assert (cron["schedule"], cron["concurrencyPolicy"]) == ("0 */2 * * *", "Forbid")
    job = cron["jobTemplate"]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 8, 4)
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert "backoffLimit" not in job
    (container,) = job["template"]["spec"]["containers"]
    assert "--shard=auto/8" in container["args"]
    rules = job["podFailurePolicy"]["rules"]
    # The first rule that fits counts: a drained node must come before the exit code of the stopped process.
    assert rules[0]["action"] == "Ignore"
    codes = {code: r["action"] for r in rules[1:] for code in r["onExitCodes"]["values"]}
    assert codes == {2: "FailJob", 4: "FailIndex", 3: "Count", 5: "Count", 130: "Count"}
    assert all(r["onExitCodes"]["containerName"] == container["name"] for r in rules[1:])


def test_following_jobs_needs_no_more_than_reading_them() -> None:
    documents = rendered(CHART / "ci" / "jobs-values.yaml")
    verbs = {v for rule in one(documents, "Role")["rules"] for v in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}
    assert not [d for d in documents if d["kind"].startswith("ClusterRole")]


def test_digest_existing_secret_and_extra_objects_reach_their_places() -> None:
    extra = json.dumps(["kind: Secret\napiVersion: v1\nmetadata: {name: '{{ .Release.Name }}-x'}"])
    given = "image.trainDigest=sha256:abc,existingSecrets={s3}"
    documents = template("--set", given, "--set-json", f"extraManifests={extra}")
    container = one(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].endswith("anomaly-exporter-train@sha256:abc")
    assert container["envFrom"] == [{"secretRef": {"name": "s3"}}]
    assert one(documents, "Secret")["metadata"]["name"] == "anomalies-x"


def test_the_network_policy_covers_all_our_pods_and_both_directions() -> None:
    documents = rendered(CHART / "ci" / "jobs-values.yaml")
    policy = one(documents, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    labels = policy["podSelector"]["matchLabels"].items()
    job = one(documents, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    for pod in (one(documents, "Deployment")["spec"]["template"], job):
        assert labels <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("profile=kps", "--set kps.release=NAME"),
        ("profile=openshift", "oc adm policy add-cluster-role-to-user cluster-monitoring-view"),
        ("persistence.enabled=false", "persistence is off"),
        ("shards=3", "rollout status statefulset/anomalies-anomaly-exporter"),
    ],
)
def test_the_notes_say_what_to_do_next(values: str, told: str, tmp_path: Path) -> None:
    assert told in notes(tmp_path, "--set", values)


def test_the_notes_do_not_ask_for_what_is_there(tmp_path: Path) -> None:
    text = notes(tmp_path, "--set", "kps.release=stack")
    assert "kps.release=NAME" not in text
    assert "http://prometheus-operated.monitoring.svc:9090" in text
