"""What a mail says: templates that Alertmanager expands (0.25 and later), inline so that no file has to be shipped.

Label values are hostile: the HTML part goes through html/template, which escapes by context; the subject stays one line
because Alertmanager encodes line breaks in headers. Missing labels read as empty texts.
"""

from __future__ import annotations

from anomaly_exporter.config import Config

from .health import SERVICE


def subject(config: Config) -> str:
    """One line for a phone: what, of what, where; how many when there are several."""
    namespace = config.exposition.emitted("namespace")
    place = f"{{{{ with .CommonLabels.{namespace} }}}} in {{{{ . }}}}{{{{ end }}}}"
    place += "{{ with .CommonLabels.env }} ({{ . }}){{ end }}"
    return (
        "{{ $alerts := .Alerts.Firing }}"
        '{{ if eq .Status "resolved" }}{{ $alerts = .Alerts.Resolved }}Resolved: {{ end }}'
        f'{{{{ if eq .CommonLabels.tag "{SERVICE}" }}}}{SERVICE}: {{{{ with .CommonLabels.alertname }}}}{{{{ . }}}}'
        "{{ else }}{{ len $alerts }} alerts{{ end }}"
        "{{ else if gt (len $alerts) 1 }}{{ len $alerts }}{{ with .CommonLabels.metric }} {{ . }}{{ end }} anomalies"
        "{{ with .CommonLabels.service }} of {{ . }}{{ end }}"
        '{{ else }}{{ range $alerts }}{{ if eq .Status "firing" }}Anomaly: {{ end }}'
        "{{ .Labels.metric }} of {{ .Labels.service }}{{ end }}"
        f"{{{{ end }}}}{place}"
    )


TEXT = """\
{{ range .Alerts -}}
{{ if eq .Status "resolved" }}RESOLVED {{ end }}{{ .Labels.alertname }} ({{ .Labels.severity }})
{{ .Annotations.summary }}
{{ .Annotations.message }}

{{ .Annotations.description }}

since     {{ .StartsAt.UTC.Format "2006-01-02 15:04:05 MST" }}
{{- if eq .Status "resolved" }}
until     {{ .EndsAt.UTC.Format "2006-01-02 15:04:05 MST" }}, after {{ (.EndsAt.Sub .StartsAt).Truncate 1000000000 }}
{{- end }}
panel     {{ .Annotations.dashboard_url }}
service   {{ .Annotations.hostname }}
query     {{ .GeneratorURL }}
runbook   {{ .Annotations.runbook_url }}
labels    {{ range .Labels.SortedPairs }}{{ .Name }}={{ .Value }} {{ end }}

{{ end -}}
Alertmanager: {{ .ExternalURL }}
"""

HTML = """\
<!DOCTYPE html>
<html>
<body style="font-family: sans-serif; max-width: 44em">
{{ range .Alerts }}
<h2 style="font-size: 1.1em; color: {{ if eq .Status "resolved" }}#2e7d32{{ else }}#b71c1c{{ end }}">
{{- if eq .Status "resolved" }}Resolved: {{ end }}{{ .Annotations.message }}</h2>
<p>{{ .Annotations.summary }}</p>
<pre style="white-space: pre-wrap; background: #f5f5f5; padding: 0.6em">{{ .Annotations.description }}</pre>
<p>Since {{ .StartsAt.UTC.Format "2006-01-02 15:04:05 MST" }}
{{- if eq .Status "resolved" }}
until {{ .EndsAt.UTC.Format "2006-01-02 15:04:05 MST" }} ({{ (.EndsAt.Sub .StartsAt).Truncate 1000000000 }})
{{- end }}</p>
<p>
<a href="{{ .Annotations.dashboard_url }}">Panel at this time</a> |
<a href="{{ .Annotations.hostname }}">Whole service</a> |
<a href="{{ .GeneratorURL }}">Query</a> |
<a href="{{ .Annotations.runbook_url }}">Runbook</a>
</p>
<table style="font-size: 0.85em; color: #555">
{{- range .Labels.SortedPairs }}
<tr><td>{{ .Name }}</td><td><bdi>{{ .Value }}</bdi></td></tr>
{{- end }}
</table>
<hr>
{{ end }}
<p style="font-size: 0.85em"><a href="{{ .ExternalURL }}">Alertmanager</a></p>
</body>
</html>
"""
