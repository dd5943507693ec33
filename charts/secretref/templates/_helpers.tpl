{{- define "secretref.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "secretref.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "secretref.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "secretref.selectorLabels" -}}
app.kubernetes.io/name: {{ include "secretref.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "secretref.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "secretref.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "secretref.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "secretref.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* installCRDs, when it is given, is crds.enabled under another name. */}}
{{- define "secretref.crdsEnabled" -}}
{{- if kindIs "bool" .Values.installCRDs -}}{{ .Values.installCRDs }}{{- else -}}{{ .Values.crds.enabled }}{{- end -}}
{{- end -}}

{{/* The Secret types that a target may have. */}}
{{- define "secretref.targetTypes" -}}
{{- concat (list "Opaque" "kubernetes.io/tls" "kubernetes.io/dockerconfigjson" "kubernetes.io/dockercfg" "kubernetes.io/basic-auth" "kubernetes.io/ssh-auth") .Values.targetTypes | uniq | toJson -}}
{{- end -}}

{{/*
What the operator does in a namespace it serves: the ClusterRole has these rules, or with watchNamespaces one Role in
each of them.
*/}}
{{- define "secretref.servedRules" -}}
- apiGroups: [secretref.dev]
  resources: [secretreferences, secretstores]
  verbs: [get, list, watch]
- apiGroups: [secretref.dev]
  resources: [secretreferences/status, secretstores/status]
  verbs: [patch]
{{- if eq .Values.secrets.access "WriteOnly" }}
# Targets may be in any served namespace. Without patch, which answers with the object, nothing of them can be read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, update]
{{- else }}
# Targets may be in any served namespace. get: a target is compared and credentials are read; list, watch: drift is
# seen at once; create, patch: server-side apply (`patch` is a right to read as well: an empty apply answers with
# the object); delete: onRevoke: Delete, and a target that has to be replaced.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.rollout.enabled }}
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [list, patch]
{{- end }}
{{- if .Values.tenantStores.enabled }}
# The caRef of a tenant's SecretStore is in the tenant's namespace.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch]
{{- if .Values.tenantStores.serviceAccountTokens }}
# The serviceAccountRef of a tenant's SecretStore: any ServiceAccount of a served namespace.
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
{{- end }}
{{- end }}
{{- end -}}

{{/* A RoleBinding: (dict "root" $ "name" NAME "namespace" NAMESPACE) binds Role NAME to the operator's account. */}}
{{- define "secretref.roleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "secretref.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "secretref.serviceAccountName" .root }}
    namespace: {{ include "secretref.namespace" .root }}
{{- end -}}
