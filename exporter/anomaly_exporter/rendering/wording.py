"""What the annotations of alerts about series say: numbers, neighbours, next steps.

A query in an annotation runs at every evaluation for every alert that is pending or firing. Hence one query fetches all
numbers of an entity, and the template picks; neighbours and worst scores come from the recorded series, which has
samples only for what departs. Values are said only while they are reported.
"""

from __future__ import annotations

from collections.abc import Sequence

from anomaly_exporter.config import Config

from . import entity
from .durations import wall
from .entity import literal
from .promql import string
from .recording import ANOMALOUS

DATE = '{{ query "time()" | first | value | humanizeTimestamp }}'
SCORE = 'printf "%.3g"'
PEAK_WINDOW = 6 * 3600
"""How far back the worst score is looked for, in seconds."""
LINES = 3
"""Most features, and most next steps, that an alert names."""
NEIGHBOURS = 5
"""Most series that an alert names besides itself."""

DOUBTFUL = 0.4
"""Confidence below which a mail says so: that of about a day of history."""

NUMBERS = (
    'max by (__name__, metric, feature) ({__name__=~"anomaly_observed_value|anomaly_expected_value'
    '|anomaly_expected_lower|anomaly_expected_upper|anomaly_contribution_ratio",%s})'
)
SHARES = "max by (metric, feature) (anomaly_contribution_ratio{%s})"
SHARES += " or max by (metric, feature) (anomaly_observed_value{%s} * 0 + 1)"
"""Entities of one feature have no contributions, there its share is 1."""
MOST = f"topk({LINES}, {SHARES})"
"""The features that contribute most."""
MOST_OF_WORKLOAD = f"topk({LINES}, ({SHARES})"
MOST_OF_WORKLOAD += f" * on (metric) group_left () max by (metric) ({ANOMALOUS}{{%s}}))"
"""The same for several metrics, those that depart, the worst first."""
WORST = f"topk({NEIGHBOURS}, max by (metric) ({ANOMALOUS}{{%s}}))"


def scores(config: Config) -> str:
    """Error and threshold of ``$entity`` and its worst score, each only when it is there.

    The score of an ensemble is not its error over its threshold: those are said to be the autoencoder's, and the member
    that objects most is named.
    """
    wanted = 'max by (__name__, member, shape, feature) ({__name__=~"anomaly_reconstruction_error|anomaly_threshold'
    wanted += '|anomaly_shape|anomaly_seconds_to_limit|anomaly_confidence_ratio|anomaly_since_timestamp_seconds",%s})'
    whose, member = "", ""
    if ensembles := _ensembles(config):
        whose = f"{{{{ if {_is_one_of(ensembles)} }}}}autoencoder's {{{{ end }}}}"
        wanted += " or topk(1, max by (__name__, member) (anomaly_member_score{%s}))"
        told = f"{{{{ with .Labels.member }}}}; member {{{{ . }}}} alone {{{{ $one.Value | {SCORE} }}}}{{{{ end }}}}"
        member = f"{{{{ range $one := $numbers }}}}{told}{{{{ end }}}}"
    window = wall(PEAK_WINDOW, config.timing.speed)
    # One query more per alert and evaluation would be one too many; the label tells these points from the rest.
    counted = f"label_replace(increase(anomaly_points_total{{%s}}[{window}]), 'window', '{window}', '', '')"
    wanted += f" or max by (__name__, window) ({counted}) > 0"
    numbers = entity.query(wanted)
    one = '{{ if eq .Labels.__name__ "%s" }}; %s%s {{ .Value | %s }}{{ end }}'
    error = one % ("anomaly_reconstruction_error", whose, "error", SCORE)
    threshold = one % ("anomaly_threshold", whose, "threshold", SCORE)
    looks = '{{ if eq .Labels.__name__ "anomaly_shape" }}; shape {{ reReplaceAll "_" " " .Labels.shape }}{{ end }}'
    left = '{{ if eq .Labels.__name__ "anomaly_seconds_to_limit" }}'
    left += "; at its limit in {{ .Value | humanizeDuration }}{{ end }}"
    doubt = f'{{{{ if and (eq .Labels.__name__ "anomaly_confidence_ratio") (lt .Value {DOUBTFUL}) }}}}'
    doubt += "; low confidence ({{ .Value | humanizePercentage }}), the series is new{{ end }}"
    points = '{{ with .Labels.window }}; {{ printf "%.0f" $one.Value }} anomalous points in {{ . }}{{ end }}'
    began = '{{ if eq .Labels.__name__ "anomaly_since_timestamp_seconds" }}'
    began += "; anomalous since {{ .Value | humanizeTimestamp }}{{ end }}"
    peak = entity.query(f"max(max_over_time({ANOMALOUS}{{%s}}[{window}]))")
    return (
        f"{{{{ $numbers := {numbers} }}}}"
        f"{{{{ range $numbers }}}}{error}{{{{ end }}}}{{{{ range $numbers }}}}{threshold}{{{{ end }}}}{member}"
        f"{{{{ range $numbers }}}}{looks}{{{{ end }}}}{{{{ range $numbers }}}}{left}{{{{ end }}}}"
        f"{{{{ range $numbers }}}}{doubt}{{{{ end }}}}"
        f"{{{{ with {peak} }}}}; worst score {{{{ . | first | value | {SCORE} }}}}{{{{ end }}}}"
        f"{{{{ range $one := $numbers }}}}{points}{{{{ end }}}}"
        f"{{{{ range $numbers }}}}{began}{{{{ end }}}}"
    )


def values(config: Config, names: Sequence[str]) -> str:
    """A line per feature that matters: ``memory: observed 3 GiB, expected 1 GiB (512 MiB to 1.5 GiB)``.

    The band is left out of an alert about an ensemble, whose other members may object inside it.
    The mail reads these lines apart again (see :mod:`.mail`): names of features and metrics come from the
    configuration, so that nothing hostile can stand in them.
    """
    name, most = "{{ .Labels.metric }}", MOST if "metric" in names else MOST_OF_WORKLOAD
    if several := entity.multivariate(config):
        pattern = string(f"^({'|'.join(several)})$")
        both = "{{ .Labels.metric }} {{ .Labels.feature }}" if "metric" not in names else "{{ .Labels.feature }}"
        name = f"{{{{ if match {pattern} .Labels.metric }}}}{both}{{{{ else }}}}{name}{{{{ end }}}}"
    line = name + ":"
    line += _number("observed_value", " observed ") + _number("expected_value", ", expected ")
    band = _number("expected_lower", " (") + _number("expected_upper", " to ", ")")
    if ensembles := _ensembles(config):
        band = f"{{{{- if not ({_is_one_of(ensembles)}) }}}}{band}{{{{ end }}}}"
    line += band
    line += _number("contribution_ratio", ", share ", "", "{{ humanizePercentage .Value }}")
    return (
        entity.define_quantity(config)
        + entity.define_selector(names)
        + f"{{{{ $numbers := {entity.query(NUMBERS)} -}}}}\n"
        + f"{{{{- range $i, $top := {entity.query(most)} }}}}{{{{ if $i }}}}\n{{{{ end }}}}"
        + "{{ $metric := .Labels.metric }}{{ $feature := .Labels.feature -}}\n"
        + f"{line}\n{{{{- end }}}}"
    )


def _ensembles(config: Config) -> list[str]:
    """Names of the models in use whose score is not an error over a threshold."""
    used = {model for target in config.watched for model in target.models}
    return sorted(model for model in used if config.model(model).recipe == "auto")


def _is_one_of(models: Sequence[str]) -> str:
    """Template condition: the alert is about one of ``models``."""
    names = "|".join(models)
    return f"match {string(f'^({names})$')} $labels.model"


def _number(
    metric: str, before: str, after: str = "", shown: str = '{{ template "quantity" (args $metric .Value) }}'
) -> str:
    """The newest ``metric`` of the feature at hand between two texts, nothing when it is not reported."""
    mine = f'(eq .Labels.__name__ "anomaly_{metric}") (eq .Labels.metric $metric) (eq .Labels.feature $feature)'
    return f"{{{{- range $numbers }}}}{{{{ if and {mine} }}}}{before}{shown}{after}{{{{ end }}}}{{{{ end }}}}"


def neighbours(config: Config, mine: Sequence[str], most: int = NEIGHBOURS) -> str:
    """A line per other series of the namespace that departs now, worst first; empty when there is none.

    Series that agree with the alert in the labels ``mine`` are its own.
    """
    by = tuple(dict.fromkeys((*entity.workload_labels(config), "metric")))
    others = entity.query(f"topk({most + 1}, max by ({', '.join(by)}) ({ANOMALOUS}{{%s}}))")
    line = f"{entity.service(config, '.Labels')} {{{{ .Labels.metric }}}} {{{{ .Value | {SCORE} }}}}\n"
    if same := " ".join(f"(eq .Labels.{name} $labels.{name})" for name in by if name in mine):
        line = f"{{{{ if not (and {same}) }}}}{line}{{{{ end }}}}"
    select = entity.define_selector(entity.namespace_labels(config))
    return f"{select}{{{{- range {others} }}}}{line}{{{{ end }}}}"


def next_steps(config: Config, names: Sequence[str]) -> str:
    """The first steps of the registry that match, a line each; :data:`LINES` at most.

    A target has no label of its own on its series: it is known by its metric and, when it has one, its constant tag.
    """
    remedies = config.all_remedies
    out = ""
    if any(remedy.direction != "any" for remedy in remedies):
        above = entity.query("max(anomaly_observed_value{%s}) > max(anomaly_expected_value{%s})")
        below = entity.query("max(anomaly_observed_value{%s}) < max(anomaly_expected_value{%s})")
        out += entity.define_selector(names)
        out += f'{{{{ $way := "" }}}}{{{{ if {above} }}}}{{{{ $way = "up" }}}}'
        out += f'{{{{ else if {below} }}}}{{{{ $way = "down" }}}}{{{{ end }}}}'
    out += '{{ $n := "" -}}\n'
    for remedy in remedies:
        tests = [f"(ne $n {string('x' * LINES)})"]
        if remedy.target is not None:
            target = config.target(remedy.target)
            tests.append(_equal("metric", target.metric))
            tests += [_equal("tag", target.tag)] if target.tag else []
        if remedy.metric is not None:
            tests.append(_matches("metric", remedy.metric))
        if remedy.direction != "any":
            tests.append(f"(eq $way {string(remedy.direction)})")
        tests += [_matches(config.exposition.emitted(name), pattern) for name, pattern in remedy.labels.items()]
        text = literal(remedy.text) + (f" {literal(remedy.runbook)}" if remedy.runbook else "")
        condition = f"and {' '.join(tests)}" if len(tests) > 1 else tests[0]
        out += f'{{{{- if {condition} }}}}{text}{{{{ $n = printf "%sx" $n }}}}\n{{{{ end }}}}'
    return out


def _equal(label: str, value: str) -> str:
    return f"(eq $labels.{label} {string(value)})"


def _matches(label: str, pattern: str) -> str:
    return f"(match {string(f'^(?:{pattern})$')} $labels.{label})"


def graph(names: Sequence[str], metric: str) -> str:
    """Path of Prometheus' own graph of ``metric`` of the entity; the mail puts Prometheus' address before it."""
    return entity.define_selector(names) + f'{{{{ printf "{metric}{{%s}}" $entity | graphLink }}}}'
