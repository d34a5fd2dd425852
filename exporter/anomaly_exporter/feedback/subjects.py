"""How an entity looks to a matcher: the labels that its alerts carry."""

from __future__ import annotations

from anomaly_exporter.config import Config, Target
from anomaly_models.frame import EntityKey


def subject(config: Config, target: Target, entity: EntityKey) -> dict[str, str]:
    """Labels of the alerts of ``entity``: static ones, its own, ``metric`` and ``tag``.

    Its own are there under the configured names and under those that the label profile emits, so that a silence of
    either form is understood.
    """
    own = dict(entity.labels)
    out = dict(config.static_labels)
    for name in target.labels:
        out.setdefault(config.exposition.emitted(name), own.get(name, ""))
        out.setdefault(name, own.get(name, ""))
    tag = target.tag if target.tag is not None else own.get(target.tag_from, "")
    return {**out, "metric": target.metric, "tag": tag}


def subject_labels(config: Config, target: Target) -> tuple[str, ...]:
    """Names of the labels that :func:`subject` describes an entity of ``target`` by."""
    return tuple(subject(config, target, EntityKey.of(target.name, {})))
