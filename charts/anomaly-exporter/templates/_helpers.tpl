{{- define "anomaly-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "anomaly-exporter.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 46 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 46 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 46 | trimSuffix "-" }}{{ end }}
{{- end }}
{{- end }}

{{- define "anomaly-exporter.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "anomaly-exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "anomaly-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "anomaly-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "anomaly-exporter.labels" -}}
helm.sh/chart: {{ include "anomaly-exporter.chart" . }}
{{ include "anomaly-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "anomaly-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "anomaly-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- /* The image of a container: (dict "root" $ "train" true). */}}
{{- define "anomaly-exporter.image" -}}
{{- $image := .root.Values.image }}
{{- $repository := ternary $image.trainRepository $image.repository .train }}
{{- $digest := ternary $image.trainDigest $image.digest .train }}
{{- $version := ternary (printf "@%s" $digest) (printf ":%s" (default .root.Chart.AppVersion $image.tag)) (ne $digest "") }}
{{- if $image.registry }}{{ $image.registry }}/{{ end }}{{ $repository }}{{ $version }}
{{- end }}

{{- define "anomaly-exporter.openshift" -}}{{ if eq .Values.profile "openshift" }}true{{ end }}{{- end }}

{{- /* True where the token of the service account is read: the Thanos querier, or the Kubernetes API. */}}
{{- define "anomaly-exporter.thanos" -}}
{{- if and (include "anomaly-exporter.openshift" .) .Values.openshift.thanos.enabled (not (.Values.config.prometheus).url) }}true{{ end }}
{{- end }}

{{- define "anomaly-exporter.automount" -}}
{{- if or (include "anomaly-exporter.thanos" .) (eq .Values.training.launcher "kubernetes") .Values.openshift.oauthProxy.enabled }}true{{ else }}false{{ end }}
{{- end }}

{{- /* The file that anomaly-exporter reads. */}}
{{- define "anomaly-exporter.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if hasKey $config "prometheus" }}
{{- if eq (toString $config.prometheus) "<nil>" }}
{{- $_ := unset $config "prometheus" }}
{{- else if include "anomaly-exporter.thanos" . }}
{{- $tls := merge (dict) (default (dict) $config.prometheus.tls) (dict "ca_file" "/etc/anomaly-exporter-ca/service-ca.crt") }}
{{- $prometheus := merge (dict "tls" $tls) $config.prometheus (dict "url" .Values.openshift.thanos.url "bearer_token_file" "/var/run/secrets/kubernetes.io/serviceaccount/token") }}
{{- $_ := set $config "prometheus" $prometheus }}
{{- else if not $config.prometheus.url }}
{{- $_ := set $config.prometheus "url" (printf "http://prometheus-operated.%s.svc:9090" (default (include "anomaly-exporter.namespace" .) .Values.networkPolicy.prometheusNamespace)) }}
{{- end }}
{{- end }}
{{- $_ := set $config "store" (merge (dict "path" "/var/lib/anomaly-exporter") (default (dict) $config.store)) }}
{{- $_ := set $config "exposition" (merge (dict "profile" .Values.profile) (default (dict) $config.exposition)) }}
{{- if ne .Values.training.launcher "local" }}
{{- $launcher := dict "kind" .Values.training.launcher }}
{{- if eq .Values.training.launcher "kubernetes" }}
{{- $_ := set $launcher "cron_job" (printf "%s-train" (include "anomaly-exporter.fullname" .)) }}
{{- $_ := set $launcher "namespace" (include "anomaly-exporter.namespace" .) }}
{{- $_ := set $launcher "container" "train" }}
{{- end }}
{{- $_ := set $config "launcher" $launcher }}
{{- end }}
{{- with .Values.control }}
{{- if .enabled }}
{{- $control := dict "enabled" true "listen" ":8346" }}
{{- if .existingSecret }}{{ $_ := set $control "tokens_file" "/etc/anomaly-exporter-control/tokens.yaml" }}{{ end }}
{{- if .externalUrl }}{{ $_ := set $control "external_url" .externalUrl }}{{ end }}
{{- if .proxy }}{{ $_ := set $control "proxy" .proxy }}{{ end }}
{{- $_ := set $config "control" $control }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- define "anomaly-exporter.configMapName" -}}
{{- default (include "anomaly-exporter.fullname" .) .Values.existingConfigMap }}
{{- end }}

{{- /* What cannot work is refused before anything is created. */}}
{{- define "anomaly-exporter.check" -}}
{{- $s3 := (.Values.config.store).s3 }}
{{- $shared := or $s3 (has "ReadWriteMany" .Values.persistence.accessModes) }}
{{- if and (eq .Values.training.launcher "kubernetes") (not $shared) }}
{{- fail "\n\ntraining.launcher=kubernetes has more than one writer, but persistence.accessModes is ReadWriteOnce.\nSet persistence.accessModes={ReadWriteMany} with a storageClassName that has it, or config.store.s3, or training.launcher=local." }}
{{- end }}
{{- if and (eq .Values.training.launcher "kubernetes") (not $s3) (not .Values.persistence.enabled) }}
{{- fail "\n\ntraining.launcher=kubernetes needs a store that Jobs share: set persistence.enabled=true or config.store.s3." }}
{{- end }}
{{- if and (gt (int .Values.shards) 1) .Values.persistence.existingClaim (not $shared) }}
{{- fail "\n\nshards share persistence.existingClaim, but persistence.accessModes is ReadWriteOnce.\nSet persistence.accessModes={ReadWriteMany}, or leave existingClaim empty: every shard then gets a claim of its own." }}
{{- end }}
{{- if gt (int .Values.training.parallelism) (int .Values.training.completions) }}
{{- fail "\n\ntraining.parallelism must not exceed training.completions." }}
{{- end }}
{{- range $name := list "timing" "simulator" }}
{{- if hasKey $.Values.config $name }}{{ fail (printf "\n\nconfig.%s is for the demo only: leave it out." $name) }}{{ end }}
{{- end }}
{{- if hasKey .Values.config "launcher" }}{{ fail "\n\nconfig.launcher is set by the chart: use training.launcher." }}{{ end }}
{{- if hasKey .Values.config "control" }}{{ fail "\n\nconfig.control is set by the chart: use control." }}{{ end }}
{{- if and .Values.control.enabled (not .Values.control.existingSecret) (not .Values.control.proxy) }}
{{- fail "\n\ncontrol needs control.existingSecret (a Secret with the key tokens.yaml), control.proxy or both: who may come in?" }}
{{- end }}
{{- if (.Values.config.exposition).profile }}{{ fail "\n\nconfig.exposition.profile is set by the chart: use profile." }}{{ end }}
{{- if (.Values.config.store).path }}{{ fail "\n\nconfig.store.path is set by the chart: use persistence." }}{{ end }}
{{- if and .Values.openshift.oauthProxy.enabled (not .Values.openshift.oauthProxy.existingSecret) }}
{{- fail "\n\nopenshift.oauthProxy needs openshift.oauthProxy.existingSecret: a Secret with the key session_secret (32 random bytes)." }}
{{- end }}
{{- if and .Values.openshift.oauthProxy.enabled (not (include "anomaly-exporter.openshift" .)) }}
{{- fail "\n\nopenshift.oauthProxy needs profile=openshift." }}
{{- end }}
{{- end }}

{{- /* Rules and routes in the chart are rendered from presets with defaults; anything else must be rendered by its owner. */}}
{{- define "anomaly-exporter.checkShipped" -}}
{{- $root := .root }}
{{- $config := $root.Values.config }}
{{- $why := list }}
{{- if $root.Values.existingConfigMap }}{{ $why = append $why "existingConfigMap" }}{{ end }}
{{- range $key := list "targets" "rules" "remedies" "shipped_remedies" "canary" }}
{{- if hasKey $config $key }}{{ $why = append $why (printf "config.%s" $key) }}{{ end }}
{{- end }}
{{- if (hasKey (default (dict) $config.training) "every") }}{{ $why = append $why "config.training.every" }}{{ end }}
{{- if (hasKey (default (dict) $config.exposition) "values") }}{{ $why = append $why "config.exposition.values" }}{{ end }}
{{- if and $config.static_labels (ne (keys $config.static_labels | join ",") "env") }}{{ $why = append $why "config.static_labels other than env" }}{{ end }}
{{- $why = concat $why (default (list) .more) }}
{{- if $why }}
{{- fail (printf "\n\nThe %s that ship with the chart fit presets with their defaults, but you set %s.\nRender your own with the same configuration and give them to the chart:\n  helm template RELEASE CHART -f VALUES --set %s.enabled=false --set kps.release= -s templates/configmap.yaml   (its config.yaml)\n  anomaly-exporter render %s --config config.yaml --namespace %s > rendered.yaml\n  helm upgrade ... --set-file %s.rendered=rendered.yaml\n" .what ($why | join ", ") .value .command (include "anomaly-exporter.namespace" $root) .value) }}
{{- end }}
{{- end }}

{{- /* Placeholders of files/ become what the values say. */}}
{{- define "anomaly-exporter.fill" -}}
{{- $config := .root.Values.config }}
{{- $grafana := trimSuffix "/" (default "http://localhost:3000" ($config.links).grafana_url) }}
{{- $runbook := trimSuffix "/" (default "https://github.com/anomaly-exporter/anomaly-exporter/blob/main/docs/runbooks" ($config.links).runbook_url) }}
{{- $env := default "k8s-prod" ($config.static_labels).env }}
{{- range $value := list $grafana $runbook $env }}
{{- if or (contains "{{" $value) (contains "\"" $value) (contains "\n" $value) }}{{ fail (printf "\n\nquotes and braces cannot stand in links or labels: %s" $value) }}{{ end }}
{{- end }}
{{- .root.Files.Get (printf "files/%s/%s" .root.Values.profile .file)
  | replace "https://grafana.placeholder.invalid" $grafana
  | replace "https://runbooks.placeholder.invalid" $runbook
  | replace "placeholder-env" $env
  | replace "placeholder-namespace" (include "anomaly-exporter.namespace" .root) }}
{{- end }}

{{- define "anomaly-exporter.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- if not (include "anomaly-exporter.openshift" .) }}
runAsUser: 65532
runAsGroup: 0
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- end }}

{{- define "anomaly-exporter.podSecurity" -}}
{{- $defaults := include "anomaly-exporter.podSecurityContext" . | fromYaml }}
{{- toYaml (mergeOverwrite $defaults .Values.podSecurityContext) }}
{{- end }}

{{- define "anomaly-exporter.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "anomaly-exporter.env" -}}
{{- with .Values.env }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.existingSecrets }}
envFrom:
  {{- range . }}
  - secretRef:
      name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "anomaly-exporter.mounts" -}}
- name: config
  mountPath: /etc/anomaly-exporter
  readOnly: true
- name: data
  mountPath: /var/lib/anomaly-exporter
- name: tmp
  mountPath: /tmp
{{- if include "anomaly-exporter.thanos" . }}
- name: service-ca
  mountPath: /etc/anomaly-exporter-ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* True where the store is a volume; with S3 a local copy is enough. */}}
{{- define "anomaly-exporter.persistent" -}}
{{- if and .Values.persistence.enabled (not (.Values.config.store).s3) }}true{{ end }}
{{- end }}

{{- /* True where every shard has a claim of its own. */}}
{{- define "anomaly-exporter.claimPerShard" -}}
{{- if and (gt (int .Values.shards) 1) (include "anomaly-exporter.persistent" .) (not .Values.persistence.existingClaim) (ne .Values.training.launcher "kubernetes") }}true{{ end }}
{{- end }}

{{- define "anomaly-exporter.volumes" -}}
- name: config
  configMap:
    name: {{ include "anomaly-exporter.configMapName" . }}
- name: tmp
  emptyDir: {}
{{- if not (include "anomaly-exporter.claimPerShard" .) }}
- name: data
  {{- if include "anomaly-exporter.persistent" . }}
  persistentVolumeClaim:
    claimName: {{ default (include "anomaly-exporter.fullname" .) .Values.persistence.existingClaim }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- if include "anomaly-exporter.thanos" . }}
- name: service-ca
  configMap:
    name: {{ include "anomaly-exporter.fullname" . }}-service-ca
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "anomaly-exporter.monitoringLabels" -}}
{{- $labels := include "anomaly-exporter.labels" .root | fromYaml }}
{{- if .root.Values.kps.release }}{{ $_ := set $labels "release" .root.Values.kps.release }}{{ end }}
{{- toYaml (mergeOverwrite $labels .additional) }}
{{- end }}

{{- define "anomaly-exporter.claimSpec" -}}
accessModes:
  {{- toYaml .Values.persistence.accessModes | nindent 2 }}
resources:
  requests:
    storage: {{ .Values.persistence.size }}
{{- with .Values.persistence.storageClassName }}
storageClassName: {{ . }}
{{- end }}
{{- end }}
