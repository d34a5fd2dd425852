{{- /*
The container. Takes a dict:
  image      image that trains; ghcr.io/anomaly-exporter/anomaly-exporter-train of this version when left out
  resources  its resources
  logFormat  json when left out
*/}}
{{- define "anomaly-exporter.sidecar" -}}
name: anomaly-exporter
image: {{ default "ghcr.io/anomaly-exporter/anomaly-exporter-train:0.1.0" .image }}
args:
  - serve
  - --config=/etc/anomaly-exporter/config.yaml
  - --web.listen-address=:8345
  - --log.format={{ default "json" .logFormat }}
ports:
  - name: anomalies
    containerPort: 8345
# No readiness probe: the application must not wait for its watchman.
livenessProbe:
  httpGet:
    path: /-/healthy
    port: anomalies
  periodSeconds: 30
  timeoutSeconds: 5
resources:
  {{- default (dict "requests" (dict "cpu" "20m" "memory" "100Mi") "limits" (dict "memory" "256Mi")) .resources | toYaml | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: config
    mountPath: /etc/anomaly-exporter
    readOnly: true
  - name: data
    mountPath: /var/lib/anomaly-exporter
  - name: tmp
    mountPath: /tmp
  - name: seed
    mountPath: /etc/anomaly-exporter-seed
    readOnly: true
{{- end }}

{{- /*
The volumes of that container. Takes a dict:
  configMap  name of the ConfigMap with the key config.yaml; required
  claim      name of the PersistentVolumeClaim; without it every new pod begins anew
  seed       name of the ConfigMap with the key seed.json, which may be missing: shared models from elsewhere for
             store.seed of the configuration; configMap with -seed behind it when left out
*/}}
{{- define "anomaly-exporter.sidecar.volumes" -}}
- name: config
  configMap:
    name: {{ required "anomaly-exporter.sidecar.volumes: configMap is required, the ConfigMap with the key config.yaml" .configMap }}
- name: data
  {{- if .claim }}
  persistentVolumeClaim:
    claimName: {{ .claim }}
  {{- else }}
  emptyDir: {}
  {{- end }}
- name: tmp
  emptyDir: {}
- name: seed
  configMap:
    name: {{ default (printf "%s-seed" .configMap) .seed }}
    optional: true
{{- end }}
