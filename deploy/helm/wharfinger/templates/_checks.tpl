{{/* Combinations that cannot work. The schema checks names and types. */}}
{{- define "wharfinger.checks" -}}
{{- $config := .Values.config -}}
{{- $http := $config.http | default dict -}}
{{- $storage := $config.storage | default dict -}}
{{- $driver := $storage.storageDriver | default dict -}}
{{- $auth := $http.auth | default dict -}}
{{- if and (gt (int .Values.replicas) 1) (not (include "wharfinger.bucket" .)) -}}
{{- fail "replicas: only one registry may use a folder. Set replicas to 1, or name a bucket in config.storage.storageDriver" -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) $driver.singleReplica -}}
{{- fail "replicas: config.storage.storageDriver.singleReplica allows one registry only. Remove it, or set replicas to 1" -}}
{{- end -}}
{{- if and (include "wharfinger.shared" .) (not ($auth.token | default dict).signingKeyFile) -}}
{{- fail "config.http.auth.token.signingKeyFile is missing: several registries need the same signing keys, also while a new one replaces an old one. Make a Secret with the key, list it in `secrets`, and name its file; or set config.storage.storageDriver.singleReplica for one registry" -}}
{{- end -}}
{{- if and (include "wharfinger.bucket" .) .Values.persistence.existingClaim -}}
{{- fail "persistence.existingClaim: the store is a bucket, so no volume is used. Remove it, or remove config.storage.storageDriver" -}}
{{- end -}}
{{- range $key := list "secretkey" "sessiontoken" "accountkey" -}}
{{- if get $driver $key -}}
{{- fail (printf "config.storage.storageDriver.%s: everyone who may read ConfigMaps could read it. Use a workload identity, or put the key into a Secret and list that in envFromSecrets" $key) -}}
{{- end -}}
{{- end -}}
{{- if not $http.port -}}
{{- fail "config.http.port is missing: the Service needs it" -}}
{{- end -}}
{{- if or (not $http.health) (not $http.health.port) -}}
{{- fail "config.http.health is missing: the kubelet's probes need this listener" -}}
{{- end -}}
{{- if eq (toString $http.port) (toString $http.health.port) -}}
{{- fail "config.http.health.port: must differ from config.http.port" -}}
{{- end -}}
{{- range $key, $address := dict "config.http.address" $http.address "config.http.health.address" $http.health.address -}}
{{- if or (not $address) (hasPrefix "127." $address) (has $address (list "localhost" "::1")) -}}
{{- fail (printf "%s: must be 0.0.0.0 or ::, because callers and probes come from outside of the Pod" $key) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.tls.existingSecret .Values.tls.certManager.enabled -}}
{{- fail "tls: set existingSecret or certManager.enabled, not both" -}}
{{- end -}}
{{- if and (include "wharfinger.tlsSecret" .) (or ($http.tls | default dict).cert ($http.tls | default dict).key) -}}
{{- fail "config.http.tls.cert: the chart writes the paths of the certificate in `tls`. Remove cert and key, or put further certificates into config.http.tls.certificates" -}}
{{- end -}}
{{- if .Values.tls.certManager.enabled -}}
{{- if not .Values.tls.certManager.issuer.name -}}{{- fail "tls.certManager.issuer.name is missing" -}}{{- end -}}
{{- if not .Values.tls.certManager.dnsNames -}}{{- fail "tls.certManager.dnsNames is empty: list the names that clients use" -}}{{- end -}}
{{- end -}}
{{- $text := toJson $config -}}
{{- if and (contains "\"workloadAPI\"" $text) (not .Values.spire.enabled) (not ($auth.spiffe | default dict).workloadAPI) -}}
{{- fail "config uses the Workload API, but the Pod has no socket of it. Set spire.enabled, or config.http.auth.spiffe.workloadAPI" -}}
{{- end -}}
{{- if and .Values.spire.enabled ($auth.spiffe | default dict).workloadAPI -}}
{{- fail "config.http.auth.spiffe.workloadAPI: the chart gives the address of the socket to the registry. Remove it, or set spire.enabled to false" -}}
{{- end -}}
{{- if and (or (contains "\"type\":\"kubernetes\"" $text) (contains "/var/run/secrets/kubernetes.io/serviceaccount" $text)) (not .Values.serviceAccount.automountToken) -}}
{{- fail "config reads the Pod's own token and the cluster's CA, but they are not mounted. Set serviceAccount.automountToken" -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.name is missing: without `create`, name an existing service account" -}}
{{- end -}}
{{- end -}}
