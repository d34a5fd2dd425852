"""The HTML part of the mail: one column that fits a phone, styles inline because mail programs drop the others.

No script, no image, nothing from elsewhere. Texts that come from labels stand in ``bdi``, so that a value written from
right to left cannot turn what stands beside it.
"""

from __future__ import annotations

FULL = 4
"""Alerts shown in full; of the others a line each."""

FONT = "font-family: -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
GREY = "color: #59636e"
CELL = "padding: 6px 12px 6px 0; text-align: left; vertical-align: top"
CARD = "background: #ffffff; border: 1px solid #d1d9e0; border-radius: 6px; padding: 16px; margin-bottom: 16px"
COLUMN = f"max-width: 640px; margin: 0 auto; padding: 16px; {FONT}; font-size: 15px; line-height: 1.45; color: #1f2328"
BUTTON = "display: inline-block; padding: 7px 12px; margin: 0 4px 8px 0; border-radius: 6px; font-size: 14px"
BUTTON += "; text-decoration: none"
PRIMARY = f"{BUTTON}; background: #0b57d0; color: #ffffff; border: 1px solid #0b57d0"
SECONDARY = f"{BUTTON}; background: #ffffff; color: #0b57d0; border: 1px solid #c9d1d9"
SMALL = f"font-size: 13px; {GREY}"
HEADING = f"font-size: 13px; font-weight: 600; margin: 18px 0 4px; {GREY}"
RED, GREEN, AMBER = "#b3261e", "#1a7f37", "#b45309"

COLOR = (
    f'{{{{ if eq .Status "resolved" }}}}{GREEN}{{{{ else if eq .Labels.severity "critical" }}}}{RED}'
    f"{{{{ else }}}}{AMBER}{{{{ end }}}}"
)


def page(
    *,
    namespace: str,
    first: str,
    row: str,
    step: str,
    score: str,
    lasted: str,
    time: str,
    select: str,
    feedback: str = "",
) -> str:
    """The template. ``namespace`` is the label; the others are template texts of :mod:`.mail`."""
    alert = _alert(
        namespace=namespace,
        first=first,
        row=row,
        step=step,
        score=score,
        lasted=lasted,
        time=time,
        select=select,
        feedback=feedback,
    )
    return f"""\
<!DOCTYPE html>
<html>
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="margin: 0; padding: 0; background: #f6f8fa">
<div style="{COLUMN}">
{{{{ $root := . }}}}
{{{{ range $i, $alert := .Alerts }}}}
{{{{ if lt $i {FULL} }}}}
{alert}
{{{{ else }}}}
<div style="padding: 4px 4px 4px 14px; border-left: 4px solid {COLOR}; margin-bottom: 4px">
<a href="{{{{ .Annotations.dashboard_url }}}}" style="color: #0b57d0"><bdi>{{{{ .Annotations.message }}}}</bdi></a>
</div>
{{{{ end }}}}
{{{{ end }}}}
<p style="{SMALL}"><a href="{{{{ .ExternalURL }}}}" style="{GREY}">Alertmanager</a></p>
</div>
</body>
</html>
"""


def _alert(
    *,
    namespace: str,
    first: str,
    row: str,
    step: str,
    score: str,
    lasted: str,
    time: str,
    select: str,
    feedback: str,
) -> str:
    """One alert in full."""
    return f"""\
<div style="{CARD}; border-top: 4px solid {COLOR}">
<div style="font-size: 13px; font-weight: 600; color: {COLOR}">
{{{{- if eq .Status "resolved" }}}}RESOLVED after {lasted}
{{{{- else }}}}{{{{ .Labels.severity | toUpper }}}}{{{{ end }}}}
<span style="font-weight: normal; {GREY}">&nbsp;
{{{{ with .Labels.{namespace} }}}}<bdi>{{{{ . }}}}</bdi>, {{{{ end }}}}<bdi>{{{{ .Labels.env }}}}</bdi></span></div>
<div style="font-size: 20px; font-weight: 600; line-height: 1.3; margin: 6px 0 2px">
{{{{- if and (ne .Labels.metric "several") (match {first} .Annotations.values) }}}}<bdi>{{{{ .Labels.service }}}}</bdi>
<bdi>{{{{ reReplaceAll {first} "$1: $2, expected $3" .Annotations.values }}}}</bdi>
{{{{- else }}}}<bdi>{{{{ .Annotations.message }}}}</bdi>{{{{ end }}}}</div>
<div style="{SMALL}">{{{{ if eq .Status "resolved" }}}}It is over. These were the last numbers while it stood.
{{{{- else }}}}{{{{ .Annotations.summary }}}}{{{{ end }}}}</div>
{_values(row)}
<table style="border-collapse: collapse; font-size: 15px; margin: 8px 0">
{{{{- if match {score} .Annotations.description }}}}
<tr><td style="{CELL}; {GREY}">Score</td>
<td style="{CELL}">{{{{ reReplaceAll {score} "$1" .Annotations.description }}}}</td></tr>
{{{{- end }}}}
<tr><td style="{CELL}; {GREY}">Since</td><td style="{CELL}">{{{{ .StartsAt{time} }}}}</td></tr>
{{{{- if eq .Status "resolved" }}}}
<tr><td style="{CELL}; {GREY}">Until</td><td style="{CELL}">{{{{ .EndsAt{time} }}}}</td></tr>
{{{{- end }}}}
</table>
{{{{- if not (match {score} .Annotations.description) }}}}
<div style="margin: 8px 0; white-space: pre-line"><bdi>{{{{ .Annotations.description }}}}</bdi></div>
{{{{- end }}}}
{{{{- if ne .Status "resolved" }}}}
{_steps(step)}
{{{{- with .Annotations.neighbours }}}}
<div style="{HEADING}">Also departing in this namespace, with scores</div>
<div style="white-space: pre-line"><bdi>{{{{ . }}}}</bdi></div>
{{{{- end }}}}
{{{{- end }}}}
{select}
<div style="margin: 18px 0 4px">
<a href="{{{{ .Annotations.dashboard_url }}}}" style="{PRIMARY}">Open the panel</a>
{{{{- if ne .Status "resolved" }}}}
<a href="{{{{ $root.ExternalURL }}}}/#/silences/new?filter={{{{ $filter }}}}" style="{SECONDARY}">Silence this</a>
{{{{- end }}}}
<a href="{{{{ .Annotations.runbook_url }}}}" style="{SECONDARY}">Runbook</a>
<a href="{{{{ .Annotations.hostname }}}}" style="{SECONDARY}">Whole service</a>
<a href="{{{{ $graph }}}}" style="{SECONDARY}">Graph</a>{feedback}
</div>
<div style="{SMALL}; border-top: 1px solid #d1d9e0; padding-top: 8px">
{{{{- range (.Labels.Remove (stringSlice "alert")).SortedPairs }}}}{{{{ .Name }}}}=<bdi>{{{{ .Value }}}}</bdi>
{{{{ end }}}}</div>
</div>"""


def _values(row: str) -> str:
    """A table of the features that matter: observed, expected, band, share."""
    shares = "{{ if match `, share ` $values }}"
    head = "".join(
        f'<th style="{CELL}; font-weight: normal">{name}</th>' for name in ("", "Observed", "Expected", "Usual range")
    )
    big = f"{CELL}; font-size: 17px"

    def cell(group: int, style: str) -> str:
        return f'<td style="{style}">{{{{ reReplaceAll $row "${group}" $values }}}}</td>'

    cells = cell(1, f"{CELL}; {GREY}") + cell(2, f"{big}; font-weight: 600") + cell(3, big) + cell(4, f"{CELL}; {GREY}")
    line = f"<tr>{cells}{shares}{cell(5, CELL)}{{{{ end }}}}</tr>"
    return f"""\
{{{{- $values := .Annotations.values }}}}
{{{{- if $values }}}}
<table style="border-collapse: collapse; margin: 12px 0 4px">
<tr style="font-size: 13px; {GREY}">{head}{shares}<th style="{CELL}; font-weight: normal">Share</th>{{{{ end }}}}</tr>
{{{{- range stringSlice "0" "1" "2" }}}}{{{{ $row := printf {row} . }}}}{{{{ if match $row $values }}}}
{line}
{{{{- end }}}}{{{{ end }}}}
</table>
{{{{- end }}}}"""


def _steps(step: str) -> str:
    """The likely next steps as a numbered list."""
    return f"""\
{{{{- with .Annotations.next_steps }}}}{{{{ $steps := . }}}}
<div style="{HEADING}">Likely next step</div>
<ol style="margin: 0; padding-left: 22px">
{{{{- range stringSlice "0" "1" "2" }}}}{{{{ $line := printf {step} . }}}}{{{{ if match $line $steps }}}}
<li>{{{{ reReplaceAll $line "$1" $steps }}}}</li>
{{{{- end }}}}{{{{ end }}}}
</ol>
{{{{- end }}}}"""
