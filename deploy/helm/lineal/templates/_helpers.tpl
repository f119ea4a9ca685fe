{{- define "lineal.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "lineal.selector" -}}
app.kubernetes.io/name: lineal
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lineal.labels" -}}
{{ include "lineal.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "lineal.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}

{{- define "lineal.graph" -}}
- {name: LINEAL_GRAPH, value: {{ .Values.graph.url | quote }}}
- {name: LINEAL_GRAPH_USER, value: {{ .Values.graph.user | quote }}}
- {name: LINEAL_GRAPH_DATABASE, value: {{ .Values.graph.database | quote }}}
- name: LINEAL_GRAPH_PASSWORD
  valueFrom: {secretKeyRef: {{ toJson .Values.graph.passwordSecret }}}
{{- end }}

{{- define "lineal.pod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "lineal.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "lineal.toml" -}}
{{- $storage := .Values.settings.storage }}
{{- $kept := hasPrefix "s3://" $storage }}
{{- range .Values.extraVolumeMounts }}
{{- $kept = or $kept (hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) (printf "%s/" $storage)) }}
{{- end }}
{{- if not $kept }}
{{- fail (printf "settings.storage: %s is in no volume of extraVolumeMounts: its files would go with the pod" $storage) }}
{{- end }}
{{- $own := dict "resource" .Values.resource "host" "0.0.0.0" "port" 8321 "drain_seconds" .Values.drainSeconds "stop_seconds" .Values.stopSeconds }}
{{- toToml (merge $own .Values.settings) }}
{{- end }}
