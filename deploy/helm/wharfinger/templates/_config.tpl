{{/* The configuration file: the value `config`, and what the chart knows about the Pod. */}}
{{- define "wharfinger.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $storage := $config.storage | default dict -}}
{{- if not (or (include "wharfinger.bucket" .) $storage.rootDirectory) -}}
{{- $_ := set $storage "rootDirectory" "/var/lib/wharfinger/store" -}}
{{- end -}}
{{- if not $config.stateDirectory -}}{{- $_ := set $config "stateDirectory" "/var/lib/wharfinger/state" -}}{{- end -}}
{{- $_ := set $config "storage" $storage -}}
{{- if include "wharfinger.tlsSecret" . -}}
{{- $tls := $config.http.tls | default dict -}}
{{- $_ := set $tls "cert" "/run/wharfinger/tls/tls.crt" -}}
{{- $_ := set $tls "key" "/run/wharfinger/tls/tls.key" -}}
{{- $_ := set $config.http "tls" $tls -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/*
The part of the configuration whose change takes a restart. The registry reloads permissions and logins by itself, so a change of those does
not interrupt anybody.
*/}}
{{- define "wharfinger.restart" -}}
{{- $config := include "wharfinger.config" . | fromYaml -}}
{{- $auth := $config.http.auth | default dict -}}
{{- $keys := ($auth.token | default dict).signingKeyFile | default "" -}}
{{- $_ := unset $config "accessControl" -}}
{{- $_ := set $config "http" (omit $config.http "auth" "accessControl") -}}
{{- printf "%s %s" (toJson $config) $keys | sha256sum -}}
{{- end -}}
