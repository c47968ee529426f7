{{- /* Peers and rules that several policies share. */ -}}

{{- /* Takes (dict "root" $ "component" "gateway"). */ -}}
{{- define "berth.ownPods" -}}
namespaceSelector:
  matchLabels: {kubernetes.io/metadata.name: {{ .root.Release.Namespace }}}
podSelector:
  matchLabels: {{- include "berth.selector" . | nindent 4 }}
{{- end }}

{{- /* The cluster's DNS, wherever it runs; the address is NodeLocal DNSCache's own. */ -}}
{{- define "berth.egressToDns" -}}
- to: [{namespaceSelector: {}}, {ipBlock: {cidr: 169.254.20.10/32}}]
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end }}

{{- /*
The hub is on the internet: no private network, and no cloud's metadata, which hands out credentials
at a link-local address.
*/ -}}
{{- define "berth.egressToHub" -}}
{{ include "berth.egressToDns" . }}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
    - ipBlock:
        cidr: "::/0"
        except: ["::1/128", "64:ff9b::a9fe:0/112", fc00::/7, fe80::/10]
  ports: [{port: 443}]
{{- with .Values.networkPolicy.hub }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "berth.egressToControlPlane" -}}
{{ include "berth.egressToDns" . }}
- to:
    {{- range .Values.networkPolicy.apiServer.cidrs }}
    - ipBlock: {{ include "berth.withoutMetadata" . }}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {port: {{ . }}}
    {{- end }}
{{- end }}

{{- /* "Everywhere" has the metadata service in it. */ -}}
{{- define "berth.withoutMetadata" -}}
{{- $excepts := dict "0.0.0.0/0" (list "169.254.0.0/16") "::/0" (list "fe80::/10" "fd00:ec2::254/128" "64:ff9b::a9fe:0/112") }}
{{- $block := dict "cidr" . }}
{{- with index $excepts . }}{{ $_ := set $block "except" . }}{{ end }}
{{- toJson $block }}
{{- end }}
