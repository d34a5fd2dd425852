"""What a notification says: templates that Alertmanager (0.25 and later) expands, inline, so that no file is needed.

Label values are hostile. The HTML part goes through html/template, which escapes by context; the subject stays one line
because Alertmanager encodes line breaks in headers. Numbers are read out of the annotation ``values``, whose lines
:mod:`.wording` writes and no label value can reach. Missing labels and annotations read as empty texts.
"""

from __future__ import annotations

from anomaly_exporter.config import Config

from . import feedback_link
from .mail_html import SECONDARY, page
from .self_alert import SERVICE

ROW = (
    r"`^(?:[^\n]*\n){%s}([^\n:]+):(?: observed ([^\n,]+))?(?:, expected ([^\n,(]*[^\n,( ]))?"
    r"(?: \(([^\n)]+)\))?(?:, share ([^\n]+))?(?:\n(?:.|\n)*)?$`"
)
"""Template text of a regular expression: reads name, observed, expected, band, share of line ``%s`` of ``values``."""
FIRST = r"`^([^\n:]+): observed ([^\n,]+), expected ([^\n,(]*[^\n,( ])(?:(?:,| \()[^\n]*)?(?:\n(?:.|\n)*)?$`"
"""Reads name, observed and expected value of the first line, when it has them all."""
STEP = r"`^(?:[^\n]*\n){%s}([^\n]+)\n(?:.|\n)*$`"
"""Reads line number ``%s`` of ``next_steps``."""
LASTED = '{{ reReplaceAll "([hm])0s$" "$1" (printf "%s" ((.EndsAt.Sub .StartsAt).Truncate 1000000000)) }}'
TIME = '.UTC.Format "2006-01-02 15:04:05 MST"'
CLEAN = r' | reReplaceAll `[\n\r\x{200E}\x{200F}\x{202A}-\x{202E}\x{2066}-\x{2069}]+` " "'
"""Ends a pipeline in the subject: no line breaks, and nothing that turns the direction of what follows."""
SCORE = r"`(?s)^.*\): score ([^\n]*)$`"
"""Reads the numbers of the score at the end of ``description``."""

FILTER = (
    '{{ $filter := "" }}{{ range (.Labels.Remove (stringSlice "alert" "severity")).SortedPairs }}'
    '{{ if $filter }}{{ $filter = printf "%s, " $filter }}{{ end }}'
    '{{ $filter = printf "%s%s=%q" $filter .Name .Value }}{{ end }}{{ $filter = printf "{%s}" $filter }}'
)
"""Sets ``$filter`` to matchers that select exactly this alert."""
GRAPH = (
    '{{ $graph := .GeneratorURL }}{{ if .Annotations.graph }}{{ $graph = printf "%s%s" '
    '(reReplaceAll `/graph\\?(?:.|\\n)*$` "" .GeneratorURL) .Annotations.graph }}{{ end }}'
)
"""Sets ``$graph`` to Prometheus' graph of the series; for other alerts, of the rule."""


def subject(config: Config) -> str:
    """One line for a phone: what is off and by how much, then where; how many when there are several."""
    namespace = config.exposition.emitted("namespace")
    row = FIRST
    one = (
        f"{{{{ $values := .Annotations.values }}}}"
        f'{{{{ if and (eq $.Status "firing") (ne .Labels.metric "several") (match {row} $values) }}}}'
        f'{{{{ .Labels.service{CLEAN} }}}} {{{{ reReplaceAll {row} "$1 $2, expected $3" $values }}}}'
        '{{ else if or (eq .Labels.metric "several") (eq .Labels.alertname "AnomalyDroppedToZero") }}'
        f'{{{{ reReplaceAll `\\.$` "" .Annotations.message{CLEAN} }}}}'
        f"{{{{ else }}}}{{{{ .Labels.service{CLEAN} }}}} {{{{ .Labels.metric{CLEAN} }}}}{{{{ end }}}}"
    )
    few = "{{ range $i, $one := $alerts }}{{ if $i }}, {{ end }}"
    few += f"{{{{ .Labels.service{CLEAN} }}}} {{{{ .Labels.metric{CLEAN} }}}}{{{{ end }}}}"
    many = f"{{{{ len $alerts }}}}{{{{ with .CommonLabels.metric }}}} {{{{ .{CLEAN} }}}}{{{{ end }}}} anomalies"
    many += f"{{{{ with .CommonLabels.service }}}} of {{{{ .{CLEAN} }}}}{{{{ end }}}}"
    ours = "{{ with .CommonLabels.alertname }}{{ . }}{{ else }}{{ len $alerts }} alerts{{ end }}"
    where = f".CommonLabels.{namespace}"
    place = f"{{{{ if {where} }}}} ({{{{ {where}{CLEAN} }}}}{{{{ with .CommonLabels.env }}}}, {{{{ . }}}}{{{{ end }}}})"
    place += "{{ else if .CommonLabels.env }} ({{ .CommonLabels.env }}){{ end }}"
    return (
        "{{ $alerts := .Alerts.Firing }}"
        '{{ if eq .Status "resolved" }}{{ $alerts = .Alerts.Resolved }}Resolved'
        f"{{{{ if eq (len $alerts) 1 }}}}{{{{ range $alerts }}}} after {LASTED}{{{{ end }}}}{{{{ end }}}}: "
        '{{ else if eq .CommonLabels.severity "critical" }}CRITICAL: {{ end }}'
        f'{{{{ if eq .CommonLabels.tag "{SERVICE}" }}}}{SERVICE}: {ours}'
        f"{{{{ else if eq (len $alerts) 1 }}}}{{{{ range $alerts }}}}{one}{{{{ end }}}}"
        f"{{{{ else if le (len $alerts) 3 }}}}{few}"
        f"{{{{ else }}}}{many}{{{{ end }}}}{place}"
    )


def text(config: Config) -> str:
    """The plain part of the mail."""
    namespace = config.exposition.emitted("namespace")
    return f"""\
{{{{ $root := . -}}}}
{{{{ range .Alerts -}}}}
{{{{ $resolved := eq .Status "resolved" -}}}}
{{{{ if $resolved }}}}RESOLVED{{{{ else }}}}{{{{ .Labels.severity | toUpper }}}}{{{{ end }}}}:
{{{{- " " }}}}{{{{ .Annotations.message }}}}
{{{{ .Annotations.summary }}}}
{{{{ with .Annotations.values }}}}
{{{{ . }}}}
{{{{ end }}}}{{{{ if match {SCORE} .Annotations.description }}}}
score     {{{{ reReplaceAll {SCORE} "$1" .Annotations.description }}}}
{{{{- else }}}}
{{{{ .Annotations.description }}}}
{{{{ end }}}}
since     {{{{ .StartsAt{TIME} }}}}
{{{{- if $resolved }}}}
until     {{{{ .EndsAt{TIME} }}}}, lasted {LASTED}
{{{{- end }}}}
where     {{{{ with .Labels.{namespace} }}}}{{{{ . }}}}, {{{{ end }}}}{{{{ .Labels.env }}}}
{{{{ if not $resolved }}}}{{{{ with .Annotations.next_steps }}}}
Likely next step
{{{{ . }}}}{{{{ end }}}}{{{{ with .Annotations.neighbours }}}}
Also departing in this namespace, with scores
{{{{ . }}}}{{{{ end }}}}{{{{ end -}}}}
{FILTER}{GRAPH}
panel     {{{{ .Annotations.dashboard_url }}}}
silence   {{{{ $root.ExternalURL }}}}/#/silences/new?filter=
{{{{- $filter | urlquery | reReplaceAll `\\+` "%20" }}}}
runbook   {{{{ .Annotations.runbook_url }}}}
service   {{{{ .Annotations.hostname }}}}
graph     {{{{ $graph }}}}{_feedback_lines(config)}
labels    {{{{ range .Labels.SortedPairs }}}}{{{{ .Name }}}}={{{{ .Value }}}} {{{{ end }}}}

{{{{ end -}}}}
Alertmanager: {{{{ .ExternalURL }}}}
"""


def _feedback_lines(config: Config) -> str:
    """The links to say what it was, where there is a page for it."""
    escaped = ' | urlquery | reReplaceAll `\\\\+` "%20"'
    found = {verdict: feedback_link.address(config, verdict, escaped) for verdict in feedback_link.WORDS}
    lines = "".join(f"\n{verdict:<9} {link}" for verdict, link in found.items() if link)
    return feedback_link.only_for_series(lines) if lines else ""


def _feedback_buttons(config: Config, style: str) -> str:
    """The same as buttons."""
    found = {words: feedback_link.address(config, verdict) for verdict, words in feedback_link.WORDS.items()}
    buttons = "".join(f'\n<a href="{link}" style="{style}">{words}</a>' for words, link in found.items() if link)
    return f"\n{feedback_link.only_for_series(buttons)}" if buttons else ""


def html(config: Config) -> str:
    """The HTML part of the mail."""
    return page(
        namespace=config.exposition.emitted("namespace"),
        first=FIRST,
        row=ROW,
        step=STEP,
        score=SCORE,
        lasted=LASTED,
        time=TIME,
        select=FILTER + GRAPH,
        feedback=_feedback_buttons(config, SECONDARY),
    )


TITLE_LINK = "{{ (index .Alerts 0).Annotations.dashboard_url }}"
SLACK = """\
{{ range .Alerts }}{{ if eq .Status "resolved" }}_Resolved:_ {{ end }}{{ .Annotations.message }}
{{ with .Annotations.values }}{{ . }}
{{ end }}<{{ .Annotations.dashboard_url }}|Panel> | <{{ .Annotations.runbook_url }}|Runbook>
{{ end }}"""
"""Text of a Slack message."""
