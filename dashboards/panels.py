"""Panels of Grafana's core, each with title, description, unit and what it says when there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from grafana_foundation_sdk.models import bargauge as bargauge_sdk
from grafana_foundation_sdk.models import common, prometheus
from grafana_foundation_sdk.models import dashboard as sdk
from grafana_foundation_sdk.models import heatmap as heatmap_sdk
from grafana_foundation_sdk.models import histogram as histogram_sdk
from grafana_foundation_sdk.models import stat as stat_sdk
from grafana_foundation_sdk.models import statetimeline as timeline_sdk
from grafana_foundation_sdk.models import table as table_sdk
from grafana_foundation_sdk.models import timeseries as timeseries_sdk

from . import fields
from .fields import Limits

DATASOURCE: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
Show = Literal["value", "name", "value_and_name"]
Overrides = Sequence[sdk.DashboardFieldConfigSourceOverrides]


@dataclass(frozen=True)
class About:
    """What every panel says of itself.

    ``read`` tells in plain words how to read it; ``empty`` what it means when there is nothing to show.
    """

    title: str
    read: str
    empty: str = "no data for this choice and time range"


@dataclass(frozen=True)
class Query:
    """One query; ``now`` asks only for the end of the time range, ``rows`` for one row per series."""

    expr: str
    legend: str = ""
    now: bool = False
    rows: bool = False


def _targets(queries: Sequence[Query]) -> list[Any]:
    return [
        prometheus.Dataquery(
            datasource=DATASOURCE,
            expr=query.expr,
            format_val=prometheus.PromQueryFormat.TABLE if query.rows else prometheus.PromQueryFormat.TIME_SERIES,
            instant=query.now or query.rows,
            range_val=not (query.now or query.rows),
            legend_format=query.legend or "__auto",
            ref_id=chr(ord("A") + index),
        )
        for index, query in enumerate(queries)
    ]


def _panel(
    kind: str,
    about: About,
    queries: Sequence[Query],
    *,
    options: object,
    defaults: sdk.FieldConfig,
    overrides: Overrides = (),
    transformations: Sequence[sdk.DataTransformerConfig] = (),
) -> sdk.Panel:
    defaults.no_value = about.empty
    return sdk.Panel(
        type_val=kind,
        title=about.title,
        description=about.read,
        datasource=DATASOURCE,
        targets=_targets(queries),
        options=options,
        field_config=sdk.FieldConfigSource(defaults=defaults, overrides=list(overrides)),
        transformations=list(transformations) or None,
    )


def _color(mode: str) -> sdk.FieldColor:
    return sdk.FieldColor(mode=sdk.FieldColorModeId(mode))


def _legend(shown: bool, right: bool = False, calcs: Sequence[str] = ()) -> common.VizLegendOptions:
    return common.VizLegendOptions(
        show_legend=shown,
        display_mode=common.LegendDisplayMode.TABLE if calcs else common.LegendDisplayMode.LIST,
        placement=common.LegendPlacement.RIGHT if right else common.LegendPlacement.BOTTOM,
        calcs=list(calcs),
    )


_ALL_IN_TOOLTIP: Final = common.VizTooltipOptions(
    mode=common.TooltipDisplayMode.MULTI, sort=common.SortOrder.DESCENDING
)
_ONE_IN_TOOLTIP: Final = common.VizTooltipOptions(mode=common.TooltipDisplayMode.SINGLE)
_NEWEST: Final = common.ReduceDataOptions(calcs=["lastNotNull"], fields="", values=False)


def stat(
    about: About,
    query: Query,
    *,
    unit: str,
    steps: Limits = fields.PLAIN,
    mappings: Sequence[sdk.ValueMap | sdk.RangeMap] = (),
    decimals: int | None = None,
    trend: bool = False,
    filled: bool = False,
    show: Show = "value",
    overrides: Overrides = (),
) -> sdk.Panel:
    """One number, coloured by ``steps``, with ``trend`` its course behind it; several series stand side by side."""
    options = stat_sdk.Options(
        graph_mode=common.BigValueGraphMode.AREA if trend else common.BigValueGraphMode.NONE,
        color_mode=common.BigValueColorMode.BACKGROUND if filled else common.BigValueColorMode.VALUE,
        text_mode=common.BigValueTextMode(show),
        justify_mode=common.BigValueJustifyMode.AUTO,
        orientation=common.VizOrientation.AUTO,
        reduce_options=_NEWEST,
        text=common.VizTextDisplayOptions(value_size=26),
    )
    defaults = sdk.FieldConfig(
        unit=unit,
        decimals=decimals,
        mappings=list(mappings),
        thresholds=fields.limits(steps if filled else fields.unless_empty(steps)),
        color=_color("thresholds"),
    )
    return _panel("stat", about, [query], options=options, defaults=defaults, overrides=overrides)


def timeseries(
    about: About,
    queries: Sequence[Query],
    *,
    unit: str,
    low: float | None = None,
    high: float | None = None,
    soft_high: float | None = None,
    bars: bool = False,
    stacked: bool = False,
    fill: int = 0,
    steps: Limits = fields.PLAIN,
    marked: bool = False,
    right: bool = False,
    calcs: Sequence[str] = (),
    overrides: Overrides = (),
) -> sdk.Panel:
    """Lines or bars over time. ``marked`` draws the limits of ``steps``.

    Lines are straight: Grafana draws steps on to the right edge, where a series that has ended would look frozen.
    """
    custom = common.GraphFieldConfig(
        draw_style=common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE,
        line_interpolation=common.LineInterpolation.LINEAR,
        # A stacked line of zeros would hide the one below it.
        line_width=0 if stacked and not bars else 1,
        fill_opacity=70 if bars or stacked else fill,
        show_points=common.VisibilityMode.NEVER,
        stacking=common.StackingConfig(
            mode=common.StackingMode.NORMAL if stacked else common.StackingMode.NONE, group="A"
        ),
        axis_soft_max=soft_high,
        thresholds_style=common.GraphThresholdsStyleConfig(
            mode=common.GraphThresholdsStyleMode.DASHED if marked else common.GraphThresholdsStyleMode.OFF
        ),
    )
    defaults = sdk.FieldConfig(
        unit=unit,
        min_val=low,
        max_val=high,
        thresholds=fields.limits(steps),
        color=_color("palette-classic"),
        custom=custom,
    )
    options = timeseries_sdk.Options(legend=_legend(True, right, calcs), tooltip=_ALL_IN_TOOLTIP)
    return _panel("timeseries", about, queries, options=options, defaults=defaults, overrides=overrides)


def table(
    about: About,
    queries: Sequence[Query],
    *,
    columns: Sequence[str],
    renamed: dict[str, str],
    sort: tuple[str, bool],
    left_out: Sequence[str] = (),
    unit: str = "short",
    decimals: int | None = None,
    steps: Limits = fields.PLAIN,
    paged: bool = False,
    overrides: Overrides = (),
) -> sdk.Panel:
    """A row per series: instant queries merged on their labels.

    ``columns`` are shown in this order, as labels or as ``Value #A``, under the names of ``renamed``; those of
    ``left_out`` are dropped; other labels stay in the row for links, hidden by the caller's overrides. ``sort`` is
    (shown name, descending).
    """
    order = {name: index for index, name in enumerate(columns)}
    organize = {
        "excludeByName": dict.fromkeys(["Time", *left_out], True),
        "indexByName": order,
        "renameByName": renamed,
    }
    options = table_sdk.Options(
        show_header=True,
        sort_by=[common.TableSortByFieldState(display_name=sort[0], desc=sort[1])],
        cell_height=common.TableCellHeight.SM,
        footer=common.TableFooterOptions(show=False, reducer=["sum"], enable_pagination=paged),
    )
    defaults = sdk.FieldConfig(
        unit=unit,
        decimals=decimals,
        thresholds=fields.limits(steps),
        color=_color("thresholds"),
        custom=common.TableFieldOptions(align=common.FieldTextAlignment.LEFT, filterable=False, min_width=70),
    )
    transformations = [
        sdk.DataTransformerConfig(id_val="merge", options={}),
        sdk.DataTransformerConfig(id_val="organize", options=organize),
    ]
    return _panel(
        "table",
        about,
        queries,
        options=options,
        defaults=defaults,
        overrides=[fields.like(".*", noValue="–"), *overrides],
        transformations=transformations,
    )


def timeline(
    about: About,
    queries: Sequence[Query],
    *,
    unit: str = "none",
    steps: Limits = fields.PLAIN,
    mappings: Sequence[sdk.ValueMap | sdk.RangeMap] = (),
    decimals: int | None = None,
    written: bool = False,
    overrides: Overrides = (),
) -> sdk.Panel:
    """A row per series, coloured by its state (``written`` into it) or by where its value lies among ``steps``."""
    options = timeline_sdk.Options(
        show_value=common.VisibilityMode.AUTO if written else common.VisibilityMode.NEVER,
        row_height=0.85,
        merge_values=True,
        align_value=common.TimelineValueAlignment.LEFT,
        legend=_legend(False),
        tooltip=_ONE_IN_TOOLTIP,
    )
    defaults = sdk.FieldConfig(
        unit=unit,
        decimals=decimals,
        mappings=list(mappings),
        thresholds=fields.limits(steps),
        color=_color("palette-classic" if mappings else "thresholds"),
        custom=timeline_sdk.FieldConfig(line_width=0, fill_opacity=80, span_nulls=False),
    )
    return _panel("state-timeline", about, queries, options=options, defaults=defaults, overrides=overrides)


def bars(
    about: About,
    queries: Sequence[Query],
    *,
    unit: str,
    low: float | None = 0,
    high: float | None = None,
    decimals: int | None = None,
    steps: Limits = fields.PLAIN,
    overrides: Overrides = (),
) -> sdk.Panel:
    """Horizontal bars of the newest values."""
    options = bargauge_sdk.Options(
        display_mode=common.BarGaugeDisplayMode.BASIC,
        value_mode=common.BarGaugeValueMode.TEXT,
        orientation=common.VizOrientation.HORIZONTAL,
        reduce_options=_NEWEST,
        show_unfilled=True,
        name_placement=common.BarGaugeNamePlacement.AUTO,
        sizing=common.BarGaugeSizing.AUTO,
        text=common.VizTextDisplayOptions(title_size=14, value_size=16),
    )
    defaults = sdk.FieldConfig(
        display_name="${__series.name}",
        unit=unit,
        min_val=low,
        max_val=high,
        decimals=decimals,
        thresholds=fields.limits(steps),
        color=_color("thresholds"),
    )
    return _panel("bargauge", about, queries, options=options, defaults=defaults, overrides=overrides)


def histogram(about: About, queries: Sequence[Query], *, unit: str, overrides: Overrides = ()) -> sdk.Panel:
    """How often values of each size occurred."""
    options = histogram_sdk.Options(
        legend=_legend(False), tooltip=_ALL_IN_TOOLTIP, combine=False, bucket_count=30, bucket_offset=0
    )
    defaults = sdk.FieldConfig(
        unit=unit,
        thresholds=fields.limits(fields.PLAIN),
        color=_color("palette-classic"),
        custom=histogram_sdk.FieldConfig(fill_opacity=60, line_width=1),
    )
    return _panel("histogram", about, queries, options=options, defaults=defaults, overrides=overrides)


def heatmap(about: About, queries: Sequence[Query], *, unit: str) -> sdk.Panel:
    """How many series had a value of each size, over time."""
    options = heatmap_sdk.Options(
        calculate=True,
        calculation=common.HeatmapCalculationOptions(
            x_buckets=common.HeatmapCalculationBucketConfig(mode=common.HeatmapCalculationMode.COUNT, value="60"),
            y_buckets=common.HeatmapCalculationBucketConfig(mode=common.HeatmapCalculationMode.COUNT, value="20"),
        ),
        color=heatmap_sdk.HeatmapColorOptions(
            mode=heatmap_sdk.HeatmapColorMode.SCHEME, scheme="Oranges", fill="dark-orange", exponent=0.5, steps=64
        ),
        cell_gap=1,
        y_axis=heatmap_sdk.YAxisConfig(unit=unit, axis_placement=common.AxisPlacement.LEFT),
        legend=heatmap_sdk.HeatmapLegend(show=False),
        tooltip=heatmap_sdk.HeatmapTooltip(mode=common.TooltipDisplayMode.SINGLE, y_histogram=False),
        show_value=common.VisibilityMode.NEVER,
    )
    defaults = sdk.FieldConfig(unit=unit, thresholds=fields.limits(fields.PLAIN), custom=heatmap_sdk.FieldConfig())
    return _panel("heatmap", about, queries, options=options, defaults=defaults)
