"""What values look like: colours, limits, names of states, links, exceptions for single fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from grafana_foundation_sdk.models import dashboard as sdk

from .promql import Labels

SERIES_UID: Final = "anomaly-monitoring"
"""The dashboard that mails link to; ``anomaly_exporter.rendering.links`` writes the same uid into alerts."""

GOOD, NOTICE, WARN, BAD, NEUTRAL, QUIET = "green", "semi-dark-yellow", "orange", "red", "blue", "text"

Limits = Sequence[tuple[float | None, str]]
SCORE_LIMITS: Final[Limits] = ((None, GOOD), (0.7, NOTICE), (1, WARN), (2, BAD))
"""A score of 1 and above is anomalous."""
ANY_IS_BAD: Final[Limits] = ((None, GOOD), (1, BAD))
ANY_IS_NOTABLE: Final[Limits] = ((None, GOOD), (1, WARN))
LOWEST: Final = -1e12
"""Below every value: Grafana colours what has no value like minus infinity."""
PLAIN: Final[Limits] = ((None, NEUTRAL),)


def limits(steps: Limits) -> sdk.ThresholdsConfig:
    """Colours from these values upwards; the first value is None: from minus infinity."""
    made = [sdk.Threshold(value=value, color=color) for value, color in steps]
    return sdk.ThresholdsConfig(mode=sdk.ThresholdsMode.ABSOLUTE, steps=made)


def unless_empty(these: Limits) -> Limits:
    """``these``, but what has no value at all stays without colour: an empty tile must not look healthy."""
    return ((None, QUIET), (LOWEST, these[0][1]), *these[1:])


def states(names: Mapping[str, tuple[str, str]]) -> sdk.ValueMap:
    """Value as text -> (what to show, colour)."""
    options = {
        value: sdk.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(names.items())
    }
    return sdk.ValueMap(options=options)


def between(low: float | None, high: float | None, text: str, color: str, index: int = 0) -> sdk.RangeMap:
    """Values from ``low`` to ``high`` (None: without end) shown as ``text``."""
    result = sdk.ValueMappingResult(text=text, color=color, index=index)
    return sdk.RangeMap(options=sdk.DashboardRangeMapOptions(from_val=low, to=high, result=result))


UNKNOWN: Final[Limits] = ((None, "transparent"),)
"""For values that are coloured by their names: what has no value stays without colour, never green."""
ANOMALOUS: Final = states({"0": ("normal", GOOD), "1": ("anomalous", BAD)})
TRAINING_STATES: Final = {
    "waiting": NOTICE,
    "running": NEUTRAL,
    "succeeded": GOOD,
    "failed": BAD,
    "stopped": WARN,
}
"""State of a training -> colour."""


def override(matcher: str, options: object, **properties: object) -> sdk.DashboardFieldConfigSourceOverrides:
    """Exceptions for the fields that ``matcher`` (byName, byRegexp, byType) finds.

    Property names are Grafana's; a double underscore stands for the dot in ``custom.width``.
    """
    values = [sdk.DynamicConfigValue(id_val=name.replace("__", "."), value=value) for name, value in properties.items()]
    return sdk.DashboardFieldConfigSourceOverrides(
        matcher=sdk.MatcherConfig(id_val=matcher, options=options), properties=values
    )


def named(name: str, **properties: object) -> sdk.DashboardFieldConfigSourceOverrides:
    """Exceptions for the field of this name."""
    return override("byName", name, **properties)


def like(pattern: str, **properties: object) -> sdk.DashboardFieldConfigSourceOverrides:
    """Exceptions for the fields whose name matches ``pattern``."""
    return override("byRegexp", f"/{pattern}/", **properties)


def fixed(color: str) -> dict[str, str]:
    """Value of the property ``color``."""
    return {"mode": "fixed", "fixedColor": color}


def steps(these: Limits) -> dict[str, Any]:
    """Value of the property ``thresholds``."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in these]}


def mapping(names: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """Value of the property ``mappings``."""
    options = {
        value: {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(names.items())
    }
    return [{"type": "value", "options": options}]


def background(color: str = "thresholds") -> dict[str, object]:
    """Properties of a table's field whose cells are filled with the colour of their value."""
    return {"custom__cellOptions": {"type": "color-background", "mode": "basic"}, "color": {"mode": color}}


def to_series(labels: Labels, source: str = "__data.fields") -> list[dict[str, object]]:
    """Value of the property ``links``: the dashboard of this very series, over the time range on the screen.

    ``source`` is where the labels are: ``__data.fields`` in tables, ``__field.labels`` elsewhere.
    """
    chosen = "".join(f"&var-{name}=${{{source}.{label}}}" for name, label in labels.by_variable.items())
    url = f"/d/{SERIES_UID}?${{datasource:queryparam}}{chosen}&${{__url_time_range}}"
    return [{"title": "Open this series", "url": url, "targetBlank": False}]


def page(name: str, labels: Labels, value: Callable[[str, str], str], **more: str) -> str:
    """Address of a page of the control API with labels filled in; ``value`` of a variable and its label is what with.

    Where the API is off the variable leads to its documentation.
    """
    first = "&".join(f"{key}={item}" for key, item in more.items())
    chosen = "".join(
        f"&label.{label}={value(variable, label)}"
        for variable, label in labels.by_variable.items()
        if variable not in ("env", "model")
    )
    return f"${{control:raw}}/{name}?{first}{chosen}"


def to_feedback(labels: Labels) -> list[dict[str, object]]:
    """Links of a table to say what was there, over the time range on the screen."""
    words = {"expected": "This was expected", "incident": "It was an incident"}

    def value(_: str, label: str) -> str:
        return f"${{__data.fields.{label}:percentencode}}"

    urls = {verdict: page("feedback", labels, value, verdict=verdict) for verdict in words}
    return [
        {"title": words[verdict], "url": f"{url}&${{__url_time_range}}", "targetBlank": True}
        for verdict, url in urls.items()
    ]


def to_training() -> list[dict[str, object]]:
    """Link of a table to train the target of a row again."""
    metric = "${__data.fields.metric:percentencode}"
    return [{"title": "Train", "url": f"${{control:raw}}/train?metric={metric}", "targetBlank": True}]
