"""A dashboard: variables, annotations, links, and panels laid out line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from grafana_foundation_sdk.models import dashboard as sdk
from grafana_foundation_sdk.models import prometheus

from anomaly_exporter.config import CANARY_TAG

from .panels import DATASOURCE
from .promql import Labels, also, one

TAG: Final = "anomaly-exporter"
"""All dashboards of this tag are linked with each other; alerts about the exporter itself carry the same tag."""
WIDTH: Final = 24
KNOWN: Final = f'__name__=~"anomaly_score|anomaly_training_needed",tag!="{CANARY_TAG}"'
"""Every series that is scored, or waits for a model."""


class LayoutError(ValueError):
    """Panels of a line do not fill the width of the grid exactly."""


@dataclass
class Layout:
    """Panels from top to bottom; ids are given in the order of reading."""

    panels: list[sdk.Panel | sdk.RowPanel] = field(default_factory=list)
    _y: int = 0
    _ids: int = 0
    _folded: list[sdk.Panel] | None = None

    def row(self, title: str, repeat: str | None = None, folded: bool = False) -> None:
        """A heading that folds what is below it, from the start if ``folded``; once for each value of ``repeat``."""
        made = sdk.RowPanel(title=title, grid_pos=sdk.GridPos(h=1, w=WIDTH, x=0, y=self._y), id_val=self._next())
        made.repeat = repeat
        made.collapsed = folded
        self._folded = made.panels if folded else None
        self.panels.append(made)
        self._y += 1

    def line(self, height: int, *panels: tuple[int, sdk.Panel]) -> None:
        """Panels side by side, each with its width. Raises LayoutError unless the widths add up to 24."""
        if sum(width for width, _ in panels) != WIDTH:
            titles = ", ".join(f"{panel.title} ({width})" for width, panel in panels)
            raise LayoutError(f"expected widths that add up to {WIDTH}, received {titles}")
        x = 0
        for width, panel in panels:
            panel.id_val = self._next()
            panel.grid_pos = sdk.GridPos(h=height, w=width, x=x, y=self._y)
            if self._folded is None:
                self.panels.append(panel)
            else:
                self._folded.append(panel)
            x += width
        self._y += height

    def _next(self) -> int:
        self._ids += 1
        return self._ids


def datasource_variable() -> sdk.VariableModel:
    return sdk.VariableModel(
        type_val=sdk.VariableType.DATASOURCE,
        name="datasource",
        label="Data source",
        description="The Prometheus that scrapes the exporter.",
        query="prometheus",
        regex="",
        refresh=sdk.VariableRefresh.ON_DASHBOARD_LOAD,
        current=sdk.VariableOption(selected=False, text="default", value="default"),
        multi=False,
        include_all=False,
    )


def chained(labels: Labels, names: Sequence[str], multi: bool) -> list[sdk.VariableModel]:
    """A variable per name; each offers the values that the choices before it leave. All matches absent labels too."""
    made = []
    for position, name in enumerate(names):
        matchers = [KNOWN, *(f'{labels.by_variable[earlier]}=~"${earlier}"' for earlier in names[:position])]
        query = f"label_values({{{','.join(matchers)}}}, {labels.by_variable[name]})"
        made.append(query_variable(name, query, multi, f"Only series of this {name}; All includes series without it."))
    return made


def query_variable(name: str, query: str, multi: bool, description: str) -> sdk.VariableModel:
    """A variable whose values come from Prometheus; All to begin with."""
    every = ["All"], ["$__all"]
    text, value = every if multi else ("All", "$__all")
    return sdk.VariableModel(
        type_val=sdk.VariableType.QUERY,
        name=name,
        label=name.capitalize(),
        description=description,
        datasource=DATASOURCE,
        query={"query": query, "refId": f"{name}-values"},
        definition=query,
        refresh=sdk.VariableRefresh.ON_TIME_RANGE_CHANGED,
        sort=sdk.VariableSort.ALPHABETICAL_ASC,
        current=sdk.VariableOption(selected=True, text=text, value=value),
        multi=multi,
        include_all=True,
        all_value=".*",
        regex="",
    )


def control_variable() -> sdk.VariableModel:
    """Where the pages of the control API are, or what to read about them; only for links."""
    query = "label_values(anomaly_exporter_control_info, url)"
    made = query_variable("control", query, False, "Where the control API of the exporter has its pages.")
    made.hide = sdk.VariableHide.HIDE_VARIABLE
    made.include_all, made.all_value = False, None
    made.current = sdk.VariableOption(selected=False, text="", value="")
    return made


def page_link(title: str, url: str, tooltip: str) -> sdk.DashboardLink:
    """A link at the top of a dashboard to a page of the control API, with the time range."""
    return sdk.DashboardLink(
        title=title,
        type_val=sdk.DashboardLinkType.LINK,
        tags=[],
        as_dropdown=False,
        include_vars=False,
        keep_time=True,
        target_blank=True,
        icon="external link",
        tooltip=tooltip,
        url=url,
    )


def annotation(name: str, expr: str, color: str, title: str, text: str) -> sdk.AnnotationQuery:
    """Marks where ``expr`` has samples; ``title`` and ``text`` may use ``{{label}}``."""
    return sdk.AnnotationQuery(
        name=name,
        datasource=DATASOURCE,
        enable=True,
        hide=False,
        icon_color=color,
        expr=expr,
        step="60s",
        title_format=title,
        text_format=text,
        tag_keys="",
        use_value_for_time=False,
        target=prometheus.Dataquery(datasource=DATASOURCE, expr=expr, ref_id=f"annotation-{name}", interval="60s"),
    )


def alerts(labels: Labels, names: Sequence[str]) -> sdk.AnnotationQuery:
    """Times in which an anomaly alert of the chosen series fired."""
    where = also(labels.where(*names), alertstate="firing")
    expr = one(f'ALERTS{where[:-1]},alertname=~"Anomaly.+",tag!="{TAG}"}}')
    what = " ".join(f"{{{{{label}}}}}" for label in (labels.namespace, "workload", labels.container, "node"))
    return annotation("Firing alerts", expr, "red", "{{alertname}}", f"{what} {{{{metric}}}} ({{{{model}}}})")


def own_alerts() -> sdk.AnnotationQuery:
    """Times in which an alert about the exporter itself fired."""
    expr = f'max by (alertname) (ALERTS{{tag="{TAG}",severity!="none",alertstate="firing"}})'
    return annotation("Exporter alerts", expr, "orange", "{{alertname}}", "The exporter, or its training, needs care.")


def dashboard(
    uid: str,
    title: str,
    description: str,
    layout: Layout,
    *,
    variables: Sequence[sdk.VariableModel],
    annotations: Sequence[sdk.AnnotationQuery],
    since: str = "now-6h",
    pages: Sequence[sdk.DashboardLink] = (),
) -> sdk.Dashboard:
    """The whole; not editable in place, because the next provisioning would undo it. ``pages``: further links."""
    links: list[Any] = [
        sdk.DashboardLink(
            title="Anomaly dashboards",
            type_val=sdk.DashboardLinkType.DASHBOARDS,
            tags=[TAG],
            as_dropdown=False,
            include_vars=True,
            keep_time=True,
            icon="external link",
            tooltip="",
            url="",
        ),
        *pages,
    ]
    return sdk.Dashboard(
        uid=uid,
        title=title,
        description=description,
        tags=[TAG],
        timezone="browser",
        editable=False,
        graph_tooltip=sdk.DashboardCursorSync.CROSSHAIR,
        time=sdk.DashboardDashboardTime(from_val=since, to="now"),
        refresh="1m",
        panels=layout.panels,
        templating=sdk.DashboardDashboardTemplating(list_val=[datasource_variable(), *variables]),
        annotations=sdk.AnnotationContainer(list_val=list(annotations)),
        links=links,
    )
