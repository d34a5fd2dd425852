"""How an entity shows in the templates of Prometheus rules: its labels, its service, a selector for its own series.

The texts here are Go templates that Prometheus expands. They read ``$labels`` and ``$value`` of the alert; a label that
an entity lacks reads as an empty text, and ``label=""`` selects series without the label, so that one template serves
all targets.
"""

from __future__ import annotations

from collections.abc import Sequence

from anomaly_exporter.config import Config

from .promql import string

NUMBER = (
    '{{ if and (lt .arg1 1000.0) (gt .arg1 -1000.0) }}{{ printf "%.3g" .arg1 }}{{ else }}{{ humanize .arg1 }}{{ end }}'
)
"""Three digits read at a glance, and 0.77 is easier to compare with 2.05 than 770m."""
BYTES = '{{ reReplaceAll "^([-+.0-9e]+)(.*)$" "${1} ${2}B" (humanize1024 .arg1) }}'
UNIT_FORMATS = {
    "cores": f"{NUMBER} cores",
    "bytes": BYTES,
    "bytes_per_second": f"{BYTES}/s",
    "per_second": f"{NUMBER}/s",
    "seconds": "{{ humanizeDuration .arg1 }}",
    "ratio": "{{ humanizePercentage .arg1 }}",
    "count": NUMBER,
}


def literal(text: str) -> str:
    """``text`` so that Prometheus' and Alertmanager's templates give it back unchanged."""
    return text.replace("{{", '{{ "{{" }}')


def own_labels(config: Config) -> tuple[str, ...]:
    """Allow-listed labels of all targets under their configured names, in order of first use."""
    return tuple(dict.fromkeys(label for target in config.watched for label in target.labels))


def labels(config: Config) -> tuple[str, ...]:
    """Every label an entity series may carry, as emitted: static, allow-listed, ``metric``, ``model``, ``tag``."""
    return (*workload_labels(config), "metric", "model", "tag")


def workload_labels(config: Config) -> tuple[str, ...]:
    """Labels that name a workload, as emitted: static and allow-listed; ``tag`` is one more."""
    own = (config.exposition.emitted(label) for label in own_labels(config))
    return tuple(dict.fromkeys((*config.static_labels, *own)))


def namespace_labels(config: Config) -> tuple[str, ...]:
    """Labels that name a namespace and the team behind it, as emitted; mails are grouped by them."""
    return tuple(dict.fromkeys((*config.static_labels, config.exposition.emitted("namespace"), "tag")))


def service(config: Config, of: str = "$labels") -> str:
    """Template of the label ``service``: the container; for entities without one, the last label of their target."""
    names = dict.fromkeys(("container", *(target.labels[-1] for target in config.watched)))
    values = [f"{of}.{config.exposition.emitted(name)}" for name in names]
    return "{{ " + (f"or {' '.join(values)}" if len(values) > 1 else values[0]) + " }}"


def namespace(config: Config) -> str:
    """Template of the namespace; for entities without one, the tag."""
    return f"{{{{ or $labels.{config.exposition.emitted('namespace')} $labels.tag }}}}"


def identity(config: Config) -> str:
    """Template that names the workload: ``env=k8s-prod namespace=crab container=crabserver``."""
    return "".join(f"{{{{ with $labels.{name} }}}} {name}={{{{ . }}}}{{{{ end }}}}" for name in workload_labels(config))


def define_selector(names: Sequence[str]) -> str:
    """Template that sets ``$entity`` to matchers that select the series with the alert's values of ``names``."""
    form = ",".join(f"{name}=%q" for name in names)
    return f"{{{{ $entity := printf {string(form)} {' '.join(f'$labels.{name}' for name in names)} -}}}}\n"


def query(expression: str) -> str:
    """Template pipeline that runs ``expression``; each ``%s`` in it becomes the matchers of ``$entity``."""
    return f"query (printf {string(expression)}{' $entity' * expression.count('%s')})"


def define_quantity(config: Config) -> str:
    """Template ``quantity``: (args metric value) as text in the unit that the configuration gives to the metric."""
    by_unit: dict[str, list[str]] = {}
    known: set[str] = set()
    for target in config.watched:
        if target.unit and target.metric not in known:
            by_unit.setdefault(target.unit, []).append(target.metric)
        known.add(target.metric)
    lines, keyword = ['{{ define "quantity" -}}'], "if"
    for unit, metrics in by_unit.items():
        pattern = string(f"^({'|'.join(metrics)})$")
        lines.append(f"{{{{- {keyword} match {pattern} .arg0 }}}}{UNIT_FORMATS[unit]}")
        keyword = "else if"
    lines += [f"{{{{- else }}}}{NUMBER}", "{{- end }}"] if by_unit else [NUMBER]
    return "\n".join([*lines, "{{- end -}}"]) + "\n"


def multivariate(config: Config) -> tuple[str, ...]:
    """Metrics of several features, whose series are told apart by ``feature``."""
    return tuple(dict.fromkeys(target.metric for target in config.watched if len(target.queries) > 1))
