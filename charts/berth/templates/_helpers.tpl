{{- /* Names, labels and the parts that the operator's and the gateway's pods share. */ -}}

{{- define "berth.fullname" -}}
{{ .Values.fullnameOverride | default "berth" }}
{{- end }}

{{- /* Of objects without a namespace: two releases must not share them. */ -}}
{{- define "berth.clusterName" -}}
{{ include "berth.fullname" . }}-{{ .Release.Namespace }}
{{- end }}

{{- /* Takes (dict "root" $ "component" "gateway"). */ -}}
{{- define "berth.selector" -}}
app.kubernetes.io/name: berth
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* The gateway's own, as a label selector in one line. */ -}}
{{- define "berth.gatewaySelector" -}}
{{- $pairs := list }}
{{- range $name, $value := include "berth.selector" (dict "root" . "component" "gateway") | fromYaml }}
{{- $pairs = append $pairs (printf "%s=%s" $name $value) }}
{{- end }}
{{- join "," $pairs }}
{{- end }}

{{- define "berth.labels" -}}
{{ include "berth.selector" . }}
app.kubernetes.io/part-of: berth
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- /*
A whole image reference. Takes (dict "root" $ "image" "repository[:tag]"). An image that names its
registry keeps it; one that names neither tag nor digest gets the chart's appVersion.
*/ -}}
{{- define "berth.image" -}}
{{- $first := regexFind "^[^/]*/" .image -}}
{{- $hasRegistry := or (contains "." $first) (contains ":" $first) (eq $first "localhost/") -}}
{{- $registry := ternary "" .root.Values.image.registry $hasRegistry -}}
{{- $tagged := regexMatch "(:[^/]+|@sha256:[0-9a-f]+)$" .image -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .image }}{{ if not $tagged }}:{{ .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "berth.controlImage" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- include "berth.image" (dict "root" . "image" (printf "%s:%s" .Values.image.repository $tag)) -}}
{{- end }}

{{- define "berth.url" -}}
{{- $port := ternary "" (printf ":%v" .Values.gateway.service.port) (eq (int .Values.gateway.service.port) 80) -}}
{{ .Values.url | default (printf "http://%s.%s.svc%s/v1" (include "berth.fullname" .) .Release.Namespace $port) }}
{{- end }}

{{- /* Where Ollama's clients' models are made. */ -}}
{{- define "berth.modelsNamespace" -}}
{{- $chosen := .Values.modelsApi.namespace | default (first .Values.watchNamespaces) | default .Release.Namespace -}}
{{- if and .Values.watchNamespaces (not (has $chosen .Values.watchNamespaces)) }}
{{- fail (printf "modelsApi.namespace is %s, which is none of watchNamespaces: models there are not served; name one of those" $chosen) }}
{{- end }}
{{- $chosen }}
{{- end }}

{{- /* Image pull secrets as references. */ -}}
{{- define "berth.pullSecrets" -}}
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}

{{- /* Pod settings that `.Values.operator` and `.Values.gateway` spell alike. */ -}}
{{- define "berth.placement" -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" }}
{{- with index $ $field }}
{{ $field }}: {{ toJson . }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Pod Security Standard "restricted"; 65532 is the user of Berth's images. */ -}}
{{- define "berth.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "berth.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /*
How often the kubelet asks: ready soon, and slow to give up on a process that is only busy.
*/ -}}
{{- define "berth.probes" -}}
readinessProbe:
  httpGet: {path: /readyz, port: management}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /livez, port: management}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}

{{- define "berth.ownEnvironment" -}}
- name: BERTH_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}
