{{- /* What the two service accounts may do where ModelDeployments and ModelPools are. */ -}}

{{- define "berth.rules.operator" -}}
- apiGroups: [berth.dev]
  resources: [modeldeployments, modelpools]
  verbs: [list, watch]
- apiGroups: [berth.dev]
  resources: [modeldeployments/status, modelpools/status]
  verbs: [patch]
# Children name their model or pool as an owner that waits for them, which some clusters guard.
- apiGroups: [berth.dev]
  resources: [modeldeployments/finalizers, modelpools/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
# Where a pool's models are: a Service cannot tell one port of a pod for each of them.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, patch, delete]
# OpenShift asks for it of whoever writes addresses of pods into them.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices/restricted]
  verbs: [create]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
# Patched to drain a chosen one before it goes: its route label and its deletion cost. Deleted
# where they have failed for good, for nothing else does before there are thousands.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch, delete]
# Written and never read: the keys of engines and pools.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create, patch]
{{- end }}

{{- define "berth.rules.gateway" -}}
- apiGroups: [berth.dev]
  resources: [modeldeployments, modelpools]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- end }}

{{- /* And in the release's own namespace. */ -}}

{{- define "berth.ownRules.operator" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [berth-engine-master, berth-api-keys, berth-first-api-key]
  verbs: [get]
# What was learned of engines. A name cannot limit what is created.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [berth-learned]
  verbs: [get, patch]
# The gateways: each is asked who waits.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [berth-operator]
  verbs: [get, update]
{{- end }}

{{- define "berth.ownRules.gateway" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [berth-engine-master, berth-api-keys]
  verbs: [list, watch]
{{- end }}

{{- /* Takes (dict "kind" "Role" "name" "…" "account" "…" "root" $). */ -}}
{{- define "berth.binding" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
