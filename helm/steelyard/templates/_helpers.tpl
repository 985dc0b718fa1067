{{- /* Names */ -}}
{{- define "steelyard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "steelyard.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "steelyard.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "steelyard.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "steelyard.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "steelyard.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Labels. Call with (dict "root" $ "component" "node"). Selectors never change: only three. */ -}}
{{- define "steelyard.selector" -}}
app.kubernetes.io/name: {{ include "steelyard.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "steelyard.labels" -}}
{{ include "steelyard.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: steelyard
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* metadata of an object: root, component, suffix ("" for the full name alone), annotations (may be absent). */ -}}
{{- define "steelyard.metadata" -}}
name: {{ include "steelyard.fullname" .root }}{{ .suffix }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "steelyard.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (deepCopy (default dict .annotations)) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Images. program: dataplane, controlplane or simulator. */ -}}
{{- define "steelyard.image" -}}
{{- $v := .root.Values -}}
{{- with $v.global.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- with $v.image.repository }}{{ trimSuffix "/" . }}/{{ end -}}
steelyard-{{ .program }}
{{- $digest := get $v.image.digests .program -}}
{{- if $digest }}@{{ $digest }}{{ else }}:{{ default .root.Chart.AppVersion $v.image.tag }}{{ end -}}
{{- end }}

{{- define "steelyard.foreignImage" -}}
{{- with .root.Values.global.imageRegistry }}{{ trimSuffix "/" . }}/{{ end }}{{ .image }}
{{- end }}

{{- /* The same for every pod: nobody's user, nothing to write to but what is mounted. */ -}}
{{- define "steelyard.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "steelyard.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "steelyard.probes" -}}
startupProbe:
  httpGet: {path: /startupz, port: metrics}
  {{- toYaml .startup | nindent 2 }}
livenessProbe:
  httpGet: {path: /livez, port: metrics}
  {{- toYaml .liveness | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  {{- toYaml .readiness | nindent 2 }}
{{- end }}

{{- /* Where pods go: values (of node or control), root, component. */ -}}
{{- define "steelyard.placement" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else }}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "steelyard.selector" $ | nindent 8 }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Options by name, sorted; those that the chart gives itself are refused. */ -}}
{{- define "steelyard.options" -}}
{{- range $name := keys .config | sortAlpha }}
{{- if has $name $.own }}
{{- fail (printf "%s.config.%s: the chart sets --%s itself" $.where $name $name) }}
{{- end }}
{{- $value := get $.config $name }}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}
{{- $value = int64 $value }}
{{- end }}
- {{ printf "--%s=%v" $name $value | quote }}
{{- end }}
{{- end }}

{{- /* Seconds that a pod gets to end: computed, and never less than that. */ -}}
{{- define "steelyard.gracePeriod" -}}
{{- $need := add .need 30 -}}
{{- if and .given (lt (int .given) (int $need)) -}}
{{- fail (printf "%s.drain.gracePeriod is %d s, but draining takes up to %d s: give 0 (computed) or at least %d" .where (int .given) (int $need) (int $need)) -}}
{{- end -}}
{{- default $need .given -}}
{{- end }}

{{- /* ---- what the values mean together ---- */ -}}
{{- define "steelyard.simulator" -}}
{{- $v := .Values -}}
{{- if eq (toString $v.simulator.enabled) "auto" -}}
{{- if and (not $v.config) (not $v.existingConfigMap) -}}true{{- end -}}
{{- else if eq (toString $v.simulator.enabled) "true" -}}true
{{- end -}}
{{- end }}

{{- define "steelyard.configMapName" -}}
{{- default (printf "%s-config" (include "steelyard.fullname" .)) .Values.existingConfigMap }}
{{- end }}

{{- define "steelyard.authSecret" -}}
{{- $name := get .root.Values.auth .which | dig "existingSecret" "" -}}
{{- default (printf "%s-auth" (include "steelyard.fullname" .root)) $name }}
{{- end }}

{{- define "steelyard.tlsSecret" -}}
{{- if eq .root.Values.tls.internal.mode "existingSecret" -}}
{{- get .root.Values.tls.internal.existingSecret .component -}}
{{- else -}}
{{ include "steelyard.fullname" .root }}-{{ .component }}-tls
{{- end -}}
{{- end }}

{{- define "steelyard.postgresSecret" -}}
{{- $p := .Values.postgresql -}}
{{- if eq $p.mode "external" -}}{{ $p.external.existingSecret }}
{{- else -}}{{ default (printf "%s-postgresql" (include "steelyard.fullname" .)) $p.embedded.existingSecret }}
{{- end -}}
{{- end }}

{{- /* A keyword's value as libpq reads it: in quotes, with quotes and backslashes escaped. */ -}}
{{- define "steelyard.pqQuote" -}}
'{{ toString . | replace "\\" "\\\\" | replace "'" "\\'" }}'
{{- end }}

{{- define "steelyard.conninfo" -}}
{{- $p := .Values.postgresql -}}
{{- if eq $p.mode "external" -}}
{{- $e := $p.external -}}
host={{ include "steelyard.pqQuote" $e.host }} port={{ int $e.port }} dbname={{ include "steelyard.pqQuote" $e.database }} user={{ include "steelyard.pqQuote" $e.username }} sslmode={{ $e.sslMode }}
{{- if hasPrefix "verify" $e.sslMode }} sslrootcert={{ ternary "/etc/steelyard/postgres/ca.crt" "/etc/ssl/certs/ca-certificates.crt" (ne $e.caSecret "") }}{{ end }}
{{- else -}}
host={{ include "steelyard.fullname" . }}-postgresql port=5432 dbname=steelyard user=steelyard sslmode=disable
{{- end -}}
{{- end }}

{{- /* How the programs are told of the database: arguments and environment. */ -}}
{{- define "steelyard.databaseArgs" -}}
{{- if not (and (eq .Values.postgresql.mode "external") .Values.postgresql.external.uriKey) }}
- {{ printf "--database=%s" (include "steelyard.conninfo" .) | quote }}
{{- end }}
{{- end }}

{{- define "steelyard.databaseEnv" -}}
{{- $p := .Values.postgresql }}
{{- if and (eq $p.mode "external") $p.external.uriKey }}
- name: STEELYARD_DATABASE
  valueFrom:
    secretKeyRef: {name: {{ $p.external.existingSecret }}, key: {{ $p.external.uriKey }}}
{{- else }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "steelyard.postgresSecret" . }}
      key: {{ ternary $p.external.passwordKey $p.embedded.passwordKey (eq $p.mode "external") }}
{{- end }}
{{- end }}

{{- define "steelyard.etcdEndpoints" -}}
{{- $full := include "steelyard.fullname" . -}}
{{- if eq .Values.etcd.mode "external" -}}
{{ join "," .Values.etcd.external.endpoints }}
{{- else if eq .Values.etcd.mode "embedded" -}}
{{- $urls := list -}}
{{- range $i := until (int .Values.etcd.embedded.replicas) -}}
{{- $urls = append $urls (printf "http://%s-etcd-%d.%s-etcd:2379" $full $i $full) -}}
{{- end -}}
{{ join "," $urls }}
{{- end -}}
{{- end }}

{{- define "steelyard.migrationHook" -}}
{{- $hook := .Values.migrationJob.hook -}}
{{- if or (eq $hook "helm") (and (eq $hook "auto") (eq .Values.postgresql.mode "external")) -}}true{{- end -}}
{{- end }}
