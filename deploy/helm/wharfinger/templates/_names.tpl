{{- define "wharfinger.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "wharfinger.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Every object has labels, so the values are checked here before any template uses them. */}}
{{- define "wharfinger.labels" -}}
{{- include "wharfinger.checks" . -}}
{{ include "wharfinger.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "wharfinger.serviceAccount" -}}
{{- default (include "wharfinger.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "wharfinger.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{- include "wharfinger.fullname" . }}-tls
{{- else -}}
{{- .Values.tls.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* `bucket` if the store is one, otherwise nothing. */}}
{{- define "wharfinger.bucket" -}}
{{- if (.Values.config.storage | default dict).storageDriver -}}bucket{{- end -}}
{{- end -}}

{{/* `shared` if several registries may use the store at once, otherwise nothing. */}}
{{- define "wharfinger.shared" -}}
{{- if and (include "wharfinger.bucket" .) (not .Values.config.storage.storageDriver.singleReplica) -}}shared{{- end -}}
{{- end -}}
