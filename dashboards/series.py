"""Series: one series against what its model expects; the page that mails open."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as sdk

from . import fields
from .board import Layout, alerts, annotation, chained, control_variable, page_link
from .board import dashboard as assemble
from .fields import (
    ANOMALOUS,
    ANY_IS_NOTABLE,
    BAD,
    GOOD,
    NEUTRAL,
    NOTICE,
    SCORE_LIMITS,
    UNKNOWN,
    WARN,
    fixed,
    like,
    named,
)
from .panels import About, Query, heatmap, histogram, stat, table, timeline, timeseries
from .promql import REPLICA, Labels, also, one, worst
from .states import limit, regime, shape

VARIABLES: Final = ("env", "namespace", "workload", "container", "node", "metric", "model")
NO_SCORE: Final = "no score here: the series has no data, no model yet, or is warming up (see Training)"
NO_DETAIL: Final = "no model in force, or /metrics/detail is not scraped"
NO_VALUES: Final = (
    "no values: nothing scored here, exposition.values is off, or several features (see Features at the end)"
)
WHICH: Final = " If several series match the choice above, this is the most anomalous one of the time range."


def dashboard(labels: Labels) -> sdk.Dashboard:
    where = labels.where(*VARIABLES)
    layout = Layout()
    layout.line(
        4,
        (4, state(where)),
        (4, score_now(where)),
        (4, points(where)),
        (4, trained(where)),
        (4, next_training()),
        (4, matching(where)),
    )
    layout.row("$metric", repeat="metric")
    layout.line(10, (24, observed(labels, where)))
    layout.line(
        8,
        (12, error(labels, where)),
        (12, score(labels, where)),
    )
    layout.row("What it looks like, how long it can go on, and whether it is a new normal")
    layout.line(6, (8, shape(labels, where)), (8, limit(labels, where)), (8, regime(labels, where)))
    layout.row("Siblings: everything of the same namespace")
    layout.line(8, (14, siblings(labels)), (10, sibling_heatmap(labels)))
    layout.row("How the threshold came about")
    layout.line(8, (9, threshold_parts(labels, where)), (7, weights(labels, where)), (8, errors(labels, where)))
    layout.row("What each member of the model auto says")
    layout.line(8, (24, members(labels, where)))
    layout.row("Model in force")
    layout.line(5, (24, card(labels, where)))
    layout.line(6, (24, quality(labels, where)))
    layout.row("Features: where several series are judged together", folded=True)
    layout.line(8, (12, contributions(labels, where)), (12, deviations(labels, where)))
    return assemble(
        fields.SERIES_UID,
        "Anomalies / Series",
        "One series against what its model expects. Links in mails open it with the series and the time filled in.",
        layout,
        variables=[*chained(labels, VARIABLES, multi=False), control_variable()],
        pages=[
            page_link(words, fields.page("feedback", labels, _of_variable, verdict=verdict), "Say what stood here.")
            for verdict, words in (("expected", "This was expected"), ("incident", "It was an incident"))
        ],
        annotations=[alerts(labels, VARIABLES), rollouts(), restarts()],
    )


def _of_variable(variable: str, _: str) -> str:
    """The value of a variable in an address."""
    return f"${{{variable}:percentencode}}"


def rollouts() -> sdk.AnnotationQuery:
    """New versions of Deployments and StatefulSets, where kube-state-metrics is scraped."""
    where = '{namespace=~"$namespace"}'
    parts = [
        f"max by (namespace, {kind}) (changes(kube_{kind}_status_observed_generation{where}[2m])) > 0"
        for kind in ("deployment", "statefulset")
    ]
    return annotation(
        "Rollouts", " or ".join(parts), "blue", "Rollout", "{{namespace}} {{deployment}}{{statefulset}} was changed"
    )


def restarts() -> sdk.AnnotationQuery:
    """Restarts of the container, where kube-state-metrics is scraped."""
    where = '{namespace=~"$namespace",container=~"$container"}'
    expr = f"max by (namespace, pod, container) (increase(kube_pod_container_status_restarts_total{where}[2m])) > 0"
    return annotation("Restarts", expr, "purple", "Restart", "{{namespace}} {{pod}} {{container}} was restarted")


def state(where: str) -> sdk.Panel:
    about = About(
        "State",
        "Anomalous when at least one chosen series is, after persistence, direction, minimum deviation and hysteresis: "
        "what alerts.",
        "no score",
    )
    query = Query(f"max({one(f'anomaly_detected{where}')})", now=True)
    return stat(about, query, unit="none", mappings=[ANOMALOUS], steps=UNKNOWN, filled=True)


def score_now(where: str) -> sdk.Panel:
    about = About(
        "Score",
        "How anomalous the newest sample is, the highest of the chosen series: 1 and above is anomalous, for every "
        "model and metric. Reconstruction error divided by threshold; of the model auto how rare the sample is, "
        "1 exactly at the alert budget.",
        "no score",
    )
    query = Query(f"max({one(f'anomaly_score{where}')})")
    return stat(about, query, unit="none", decimals=2, steps=SCORE_LIMITS, trend=True)


def points(where: str) -> sdk.Panel:
    about = About(
        "Anomalous points",
        "Grid points with a score of 1 or above within the time range. Not each one alerts: single points are noise.",
        "no score",
    )
    query = Query(f"sum({one(f'increase(anomaly_points_total{where}[$__range])')})", now=True)
    return stat(about, query, unit="none", decimals=0, steps=ANY_IS_NOTABLE)


def trained(where: str) -> sdk.Panel:
    about = About(
        "Model trained",
        "When the model in force was trained; the oldest one if several series are chosen.",
        "no model yet",
    )
    query = Query(f"min({one(f'anomaly_model_trained_timestamp_seconds{where}')}) * 1000", now=True)
    return stat(about, query, unit="dateTimeFromNow")


def next_training() -> sdk.Panel:
    about = About(
        "Next training",
        "When models are renewed next. A series without a model gets its first one then.",
        "running or unknown",
    )
    query = Query("min(anomaly_exporter_training_next_timestamp_seconds > time()) * 1000", now=True)
    return stat(about, query, unit="dateTimeFromNow")


def matching(where: str) -> sdk.Panel:
    about = About(
        "Series chosen",
        "How many scored series and models match the choice above. Panels of a single series show the most anomalous "
        "of them; narrow the choice to see another.",
        "none",
    )
    return stat(about, Query(f"count({one(f'anomaly_score{where}')})", now=True), unit="none")


def _chosen(labels: Labels, where: str, expr: str, by: str = "") -> str:
    """``expr`` of the one series that panels of a single series show; of one for each metric with ``by="metric"``."""
    return f"{one(expr)} and on ({labels.identity}) {worst(labels, where, 1, by)}"


def observed(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Observed value and expected band: $metric",
        "The line is what was observed, in the series' own unit (cores, bytes); the dashed line is what the model "
        "expected, the band is where the observation may lie. Leaving the band and a score of 1 are the same thing, "
        "but for the model auto: there it is its autoencoder's band, and other members may object inside it. "
        "Red stripes are firing alerts, blue ones rollouts, purple ones restarts." + WHICH,
        NO_VALUES,
    )
    several = f"unless on ({labels.identity}) anomaly_contribution_ratio{where}"
    replica = ", ".join(REPLICA)

    def values(name: str) -> str:
        value = f"max without ({replica}, feature) (anomaly_{name}{where} {several})"
        return f"{value} and on ({labels.identity}) {worst(labels, where, 1, by='metric')}"

    who = f"{{{{{labels.namespace}}}}} {{{{workload}}}} {{{{{labels.container}}}}} {{{{node}}}} ({{{{model}}}})"
    queries = [
        Query(values("expected_lower"), "lower edge"),
        Query(values("expected_upper"), "upper edge"),
        Query(values("expected_value"), "expected"),
        Query(values("observed_value"), f"observed {who}"),
    ]
    return timeseries(
        about,
        queries,
        unit="si:",
        overrides=[
            named("lower edge", color=fixed("semi-dark-green"), custom__lineWidth=0, custom__hideFrom=NO_LEGEND),
            named(
                "upper edge",
                color=fixed("semi-dark-green"),
                custom__lineWidth=0,
                custom__fillBelowTo="lower edge",
                custom__fillOpacity=25,
                custom__hideFrom=NO_LEGEND,
            ),
            named(
                "expected",
                color=fixed("semi-dark-green"),
                custom__lineStyle={"fill": "dash", "dash": [6, 6]},
            ),
            like("^observed", color=fixed(NEUTRAL), custom__lineWidth=2),
        ],
    )


def error(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Reconstruction error and adaptive threshold: $metric",
        "The error says how far the newest window is from what the model makes of it, in units of the series' usual "
        "spread. Above the threshold it is anomalous; of the model auto both are its autoencoder's, one opinion among "
        "several. The threshold moves slowly: it joins earlier models' experience "
        "with the newest held-out data, see below." + WHICH,
        NO_SCORE,
    )
    queries = [
        Query(_chosen(labels, where, f"anomaly_reconstruction_error{where}", by="metric"), "error"),
        Query(_chosen(labels, where, f"anomaly_threshold{where}", by="metric"), "threshold"),
    ]
    return timeseries(
        about,
        queries,
        unit="none",
        low=0,
        overrides=[
            named("error", color=fixed(NEUTRAL), custom__lineWidth=2, custom__fillOpacity=10),
            named("threshold", color=fixed(BAD), custom__lineStyle={"fill": "dash", "dash": [8, 6]}),
        ],
    )


def score(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Score of every chosen series and model: $metric",
        "Error divided by threshold, or rarity against the alert budget (auto): all series and models share one scale. "
        "Above the dashed line at 1 a series is anomalous. At most the ten worst of the time range.",
        NO_SCORE,
    )
    expr = f"{one(f'anomaly_score{where}')} and on ({labels.identity}) {worst(labels, where, 10, by='metric')}"
    legend = "{{series}} ({{model}})"
    return timeseries(
        about,
        [Query(labels.named(expr), legend)],
        unit="none",
        low=0,
        soft_high=1.2,
        steps=((None, "transparent"), (1, BAD)),
        marked=True,
        overrides=[like(".*", links=fields.to_series(labels, "__field.labels"))],
    )


NO_LEGEND: Final = {"legend": True, "tooltip": False, "viz": False}
SIBLINGS: Final = ("env", "namespace", "model")


def siblings(labels: Labels) -> sdk.Panel:
    about = About(
        "Scores of the namespace",
        "All containers and metrics of the chosen namespace, the 15 worst first; a service rarely fails alone, and "
        "what turned red first is where to look. Green is expected, orange and red are anomalous (1 and 2 and above).",
        NO_SCORE,
    )
    where = labels.where(*SIBLINGS)
    expr = f"{one(f'anomaly_score{where}')} and on ({labels.identity}) {worst(labels, where, 15)}"
    return timeline(
        about,
        [Query(labels.named(expr), "{{series}} {{metric}}")],
        steps=SCORE_LIMITS,
        decimals=2,
        overrides=[like(".*", links=fields.to_series(labels, "__field.labels"))],
    )


def sibling_heatmap(labels: Labels) -> sdk.Panel:
    about = About(
        "Scores of this metric everywhere",
        "How many series of the chosen metric had which score, over time; darker means more. A cloud well below 1 is "
        "health. A cloud that rises as a whole is a common cause rather than a fault of this series.",
        NO_SCORE,
    )
    where = labels.where("env", "metric", "model")
    return heatmap(about, [Query(one(f"anomaly_score{where}"), "{{metric}}")], unit="none")


def threshold_parts(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Threshold and what it is made of",
        "Recent is the threshold of the newest training's held-out data, earlier is what the trainings before it "
        "found, faded with age and on this model's scale. The adaptive threshold lies between the two and moves to "
        "recent with time. Base thresholds are the plain rules on the same data, for comparison." + WHICH,
        NO_DETAIL,
    )
    queries = [
        Query(_chosen(labels, where, f"anomaly_threshold{where}"), "adaptive (T)"),
        Query(_chosen(labels, where, f"anomaly_threshold_recent{where}"), "recent (R)"),
        Query(_chosen(labels, where, f"anomaly_threshold_previous{where}"), "earlier (P)"),
        Query(_chosen(labels, where, f"anomaly_base_threshold{where}"), "base {{method}}"),
    ]
    return timeseries(
        about,
        queries,
        unit="none",
        low=0,
        overrides=[
            named("adaptive (T)", color=fixed(BAD), custom__lineWidth=3),
            named("recent (R)", color=fixed(NEUTRAL), custom__lineWidth=2),
            named("earlier (P)", color=fixed(WARN), custom__lineWidth=2),
            like("^base", custom__lineStyle={"fill": "dash", "dash": [3, 6]}),
        ],
    )


def weights(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Weight of earlier trainings",
        "Weight is how much earlier trainings count against the newest one when both are new: the quieter side gets "
        "more. Decay is what is left of it with time, 1 at first, a half after one half-life. Their product is the "
        "share of earlier trainings in the threshold." + WHICH,
        "no earlier training yet: the threshold is the recent one",
    )
    weight = _chosen(labels, where, f"anomaly_threshold_weight{where}")
    decay = _chosen(labels, where, f"anomaly_threshold_decay{where}")
    product = f"{one(f'anomaly_threshold_weight{where}')} * {one(f'anomaly_threshold_decay{where}')}"
    share = f"({product}) and on ({labels.identity}) {worst(labels, where, 1)}"
    return timeseries(
        about,
        [Query(weight, "weight (w)"), Query(decay, "decay (E)"), Query(share, "share (E w)")],
        unit="percentunit",
        low=0,
        high=1,
        overrides=[named("share (E w)", color=fixed(WARN), custom__lineWidth=3, custom__fillOpacity=20)],
    )


def members(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Score of every member",
        "What each member of the model auto would say alone, on the scale of the score: above the dashed line at 1 it "
        "alone would use up the alert budget. Their common verdict is the score above: several that object a little "
        "count more than one, and what happens every day at this time counts less." + WHICH,
        "no series of the model auto, or /metrics/detail is not scraped",
    )
    expr = f"{one(f'anomaly_member_score{where}')} and on ({labels.identity}) {worst(labels, where, 1)}"
    return timeseries(
        about,
        [Query(f"max by (member) ({expr})", "{{member}}")],
        unit="none",
        low=0,
        soft_high=1.2,
        steps=((None, "transparent"), (1, BAD)),
        marked=True,
    )


def errors(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "How large errors were",
        "How often the error, divided by its threshold, had which size in this time range. A hill far left of 1 with a "
        "thin tail is a good model; a hill at 1 means the threshold is too low or the model too weak." + WHICH,
        NO_SCORE,
    )
    query = Query(_chosen(labels, where, f"anomaly_score{where}"), "score")
    return histogram(about, [query], unit="none")


def card(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Model card",
        "What scores this series: generation, architecture, scope, when it was trained, on how many samples (and how "
        "many were set aside as outliers), passes over the data and loss, how long training and scoring one window "
        "took. At most the 20 most anomalous series of the choice.",
        "no model yet: the first training makes one (see Next training above)",
    )
    values = {
        "Gener.": f"anomaly_model_generation{where}",
        "Trained": f"anomaly_model_trained_timestamp_seconds{where} * 1000",
        "Samples": f"anomaly_training_samples{also(where, split='train')}",
        "Masked": f"anomaly_training_masked_ratio{where}",
        "Epochs": f"anomaly_training_epochs{where}",
        "Loss": f"anomaly_training_loss{also(where, split='validation')}",
        "Took": f"anomaly_training_duration_seconds{where}",
        "Inference": f"anomaly_model_inference_seconds{where}",
    }
    here = f"and on ({labels.identity}) {worst(labels, where, 20)}"
    info = one(f"anomaly_model_info{where}")
    queries = [Query(labels.named(f"{info} {here}"), rows=True)]
    queries += [
        Query(labels.named(f"max by ({labels.identity}) ({expr}) {here}"), rows=True) for expr in values.values()
    ]
    letters = {f"Value #{chr(ord('B') + index)}": name for index, name in enumerate(values)}
    return table(
        about,
        queries,
        columns=["series", "metric", "model", "architecture", "scope", *letters],
        left_out=["champion", "Value #A"],
        renamed={
            "series": "Series",
            "metric": "Metric",
            "model": "Model",
            "architecture": "Architecture",
            "scope": "Scope",
            **letters,
        },
        sort=("Series", False),
        unit="none",
        overrides=[
            hidden(labels),
            named("Series", links=fields.to_series(labels), custom__minWidth=140),
            named("Trained", unit="dateTimeFromNow", custom__minWidth=120),
            named("Architecture", custom__minWidth=115),
            named("Masked", unit="percentunit", decimals=1),
            named("Loss", decimals=3),
            named("Took", unit="s"),
            named("Inference", unit="s"),
        ],
    )


def quality(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "How well the model knows this series",
        "MAE and RMSE: mean and root mean square of observed minus expected, in units of the usual spread. "
        "MASE: the same against a naive forecast, below 1 the model beats it. R2: share of the variation that the "
        "model explains, 1 is all, below 0 is worse than the mean. Test is data the model never saw; train much better "
        "than test means it has learned by heart.",
        NO_DETAIL,
    )
    here = f"and on ({labels.identity}) {worst(labels, where, 20)}"
    measures = ("mae", "rmse", "mase", "r2")
    queries = [
        Query(
            labels.named(
                f"max by ({labels.identity}, split) (anomaly_model_quality{also(where, measure=measure)}) {here}"
            ),
            rows=True,
        )
        for measure in measures
    ]
    letters = {f"Value #{chr(ord('A') + index)}": name.upper() for index, name in enumerate(measures)}
    return table(
        about,
        queries,
        columns=["series", "metric", "model", "split", *letters],
        renamed={"series": "Series", "metric": "Metric", "model": "Model", "split": "Split", **letters},
        sort=("Series", False),
        unit="none",
        decimals=3,
        overrides=[
            hidden(labels),
            named(
                "MASE", thresholds=fields.steps(((None, GOOD), (1, NOTICE))), custom__cellOptions={"type": "color-text"}
            ),
            named(
                "R2",
                thresholds=fields.steps(((None, WARN), (0, NOTICE), (0.5, GOOD))),
                custom__cellOptions={"type": "color-text"},
            ),
        ],
    )


def hidden(labels: Labels, *more: str) -> sdk.DashboardFieldConfigSourceOverrides:
    """Labels that a table needs for its links only, and fields without information."""
    names = "|".join([labels.namespace, "workload", labels.container, "node", "env", "tag", *more])
    return like(f"^({names})$", custom__hidden=True)


def contributions(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Share of each feature in the error",
        "Where several series are judged together, each one's share in the error: the largest is the first suspect. "
        "Meaningful while the score is high; below 1 it only says which noise is loudest." + WHICH,
        "only for targets with several features",
    )
    query = Query(_chosen(labels, where, f"anomaly_contribution_ratio{where}", by="metric"), "{{feature}}")
    return timeseries(about, [query], unit="percentunit", low=0, high=1, stacked=True, fill=50)


def deviations(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "How far each feature is from its expectation",
        "Observed minus expected, in half widths of the band: between -1 and 1 a feature lies within its band, above "
        "it is too high, below too low. Comparable across units." + WHICH,
        "only for targets with several features",
    )
    value = {
        name: one(f"anomaly_{name}{where}")
        for name in ("observed_value", "expected_value", "expected_upper", "expected_lower")
    }
    distance = (
        f"2 * ({value['observed_value']} - {value['expected_value']})"
        f" / ({value['expected_upper']} - {value['expected_lower']})"
    )
    several = f"({_chosen(labels, where, f'anomaly_contribution_ratio{where}', by='metric')})"
    expr = f"({distance}) and on ({labels.identity}) {several}"
    steps = ((None, "transparent"), (1, BAD))
    return timeseries(about, [Query(expr, "{{feature}}")], unit="none", steps=steps, marked=True)
