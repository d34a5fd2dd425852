"""Bad values are refused before anything is created, with words that say what to do."""

from __future__ import annotations

import pytest

from support.helm import HelmError, template

RENDER = "anomaly-exporter render rules"
REFUSED = {
    "profile=k3s": "profile",
    "config.no_such_section=1": "no_such_section",
    "config.static_labels=prod": "static_labels",
    "config.training.contamination=2": "contamination",
    "replicas=2": "replicas",
    "shards=0": "shards",
    "config.prometheus.url=1": "url",
    "training.launcher=both": "launcher",
    "training.launcher=kubernetes": "ReadWriteMany",
    "training.launcher=kubernetes,persistence.enabled=false,persistence.accessModes={ReadWriteMany}": "Jobs share",
    "training.parallelism=9": "must not exceed training.completions",
    "shards=2,persistence.existingClaim=old": "claim of its own",
    "config.exposition.profile=kps": "use profile",
    "config.store.path=/data": "use persistence",
    "config.timing.speed=2": "demo",
    "control.enabled=true": "who may come in?",
    "config.control.enabled=false": "use control",
    "openshift.oauthProxy.enabled=true,profile=openshift": "session_secret",
    "openshift.oauthProxy.enabled=true,openshift.oauthProxy.existingSecret=s": "profile=openshift",
    "kps.release=stack,config.static_labels.region=eu": RENDER,
    "kps.release=stack,config.rules.workload_at=3": "config.rules",
    "kps.release=stack,existingConfigMap=mine": "existingConfigMap",
    "prometheusRule.enabled=true,prometheusRule.rendered=nothing: here": "without groups",
    "alertmanagerConfig.enabled=true,config.routing.watchdog_every=60": "anomaly-exporter render alertmanagerconfig",
    "alertmanagerConfig.enabled=true,config.routing.matcher_strategy=OnNamespace": "OnNamespace",
    "alertmanagerConfig.enabled=true,alertmanagerConfig.rendered=kind: Pod": "another kind",
    'kps.release=stack,config.links.grafana_url=http://x/"': "quotes",
}


@pytest.mark.parametrize("values", REFUSED)
def test_it_is_refused_with_a_message_that_names_it(values: str) -> None:
    with pytest.raises(HelmError) as refused:
        template("--set", values)
    assert REFUSED[values] in str(refused.value)


def test_two_routes_of_one_tag_are_refused() -> None:
    routes = '[{"tag":"a","emails":["a@b.c"]},{"tag":"a","emails":["d@b.c"]}]'
    with pytest.raises(HelmError, match="make it one"):
        template("--set", "alertmanagerConfig.enabled=true", "--set-json", f"config.routing.routes={routes}")


def test_an_older_kubernetes_is_refused() -> None:
    with pytest.raises(HelmError, match=r"1\.29"):
        template("--kube-version", "1.28.0")
