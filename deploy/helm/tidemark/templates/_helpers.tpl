{{- define "tidemark.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tidemark.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidemark.labels" -}}
{{ include "tidemark.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tidemark.serviceAccount" -}}
{{ if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "tidemark.fullname" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "tidemark.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "tidemark.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tidemark.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* One mounted file: the secret's key under the name of the setting. */ -}}
{{- define "tidemark.secretFile" -}}
- secret:
    name: {{ .secret.name }}
    items: [{key: {{ .secret.key }}, path: {{ .file }}}]
{{- end }}

{{- /* The authority's file, where there is one. */ -}}
{{- define "tidemark.authority" -}}
{{- if .Values.secrets.authority.name }}
{{ include "tidemark.secretFile" (dict "secret" .Values.secrets.authority "file" "ca.pem") }}
{{- end }}
{{- end }}

{{- define "tidemark.environment" -}}
- {name: TIDEMARK_HTTP_LISTEN, value: "0.0.0.0:9464"}
- {name: TIDEMARK_LOG_FORMAT, value: json}
- {name: TIDEMARK_AMQP_URL_FILE, value: /etc/tidemark/amqp-url}
{{- if .Values.secrets.sourceUrl.name }}
- {name: TIDEMARK_SOURCE_URL_FILE, value: /etc/tidemark/source-url}
{{- end }}
{{- if .Values.secrets.privacyKey.name }}
- {name: TIDEMARK_PRIVACY_KEY_FILE, value: /etc/tidemark/privacy-key}
{{- end }}
{{- if .Values.secrets.webhookKey.name }}
- {name: TIDEMARK_WEBHOOK_KEY_FILE, value: /etc/tidemark/webhook-key}
{{- end }}
{{- if .Values.secrets.config.name }}
- {name: TIDEMARK_CONFIG, value: /etc/tidemark/tidemark.toml}
{{- end }}
{{- with .Values.traceUrl }}
- {name: TIDEMARK_TRACE_URL, value: {{ . | quote }}}
{{- end }}
{{- with .Values.otel }}
{{- if .endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ .protocol | quote }}}
- {name: OTEL_METRICS_EXPORTER, value: {{ .metricsExporter | quote }}}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The processes that run, as JSON. */ -}}
{{- define "tidemark.roles" -}}
{{- if .Values.console.enabled }}{{ list "producer" "worker" "finalizer" "console" | toJson }}{{ else }}{{ list "producer" "worker" "finalizer" | toJson }}{{ end }}
{{- end }}

{{- /* The console's own settings, of its values. */ -}}
{{- define "tidemark.console" -}}
- {name: TIDEMARK_CONSOLE_LISTEN, value: "0.0.0.0:9480"}
- {name: TIDEMARK_CONSOLE_AUTH, value: {{ .auth }}}
{{- if eq .auth "proxy" }}
- {name: TIDEMARK_CONSOLE_PROXY_HEADER, value: {{ .proxyHeader | quote }}}
- {name: TIDEMARK_CONSOLE_PROXY_PEERS, value: {{ .proxyPeers | quote }}}
{{- end }}
- {name: TIDEMARK_CONSOLE_READ_ONLY, value: {{ .readOnly | quote }}}
- {name: TIDEMARK_CONSOLE_SOURCES, value: {{ .sources | quote }}}
{{- with .pathPrefix }}
- {name: TIDEMARK_CONSOLE_PATH_PREFIX, value: {{ . | quote }}}
{{- end }}
{{- end }}
