#!/usr/bin/env bash
# install.sh - installs, upgrades and uninstalls the chart on the real cluster of KUBECONFIG, and checks what users rely on:
# rights, the guard of the org label from every side, CRDs and Secrets that stay, CRDs that are upgraded.
# With SECRETREF_IMAGE=repository:tag (an image that the nodes have) the operator runs and makes the Secret that must stay;
# without it no pod is started, and a Secret with the same owner stands in for it.
# Wants a cluster without another secretref; leaves none behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${KUBECONFIG:?the cluster to test on}"
CHART=${CHART:-charts/secretref}
HELM=$(tests/tools/helm.sh)
W=$(mktemp -d)
NS=chart-test-system; TENANT=chart-test-tenant; PLATFORM=chart-test-platform
LABEL=secretref.dev/org
CRDS=(secretreferences.secretref.dev secretstores.secretref.dev clustersecretstores.secretref.dev)
ok=0; bad=0

pass() { ok=$((ok + 1)); }
fail() { bad=$((bad + 1)); echo "FAIL $*"; }
is() { if [ "$2" = "$3" ]; then pass; else fail "$1: got '$2', want '$3'"; fi; }                        # what got want
allowed() { local out; if out=$("${@:2}" 2>&1); then pass; grep '^chart: ' <<< "$out" || true; else fail "$1: refused: $out"; fi; }         # what cmd...
refused() {                                                                                             # what words cmd...
  local out
  if out=$("${@:3}" 2>&1); then fail "$1: not refused"
  elif grep -qF "$2" <<< "$out"; then pass
  else fail "$1: refused, but without '$2': $out"; fi
}
step() { echo "[${SECONDS}s] $*"; }
within() { # seconds cmd...: until it succeeds, or the time is over; whether it did is for a check to say
  local end=$((SECONDS + $1)); shift
  until "$@" > /dev/null 2>&1; do [ $SECONDS -lt $end ] || return 0; sleep 0.3; done
}

cleanup() {
  set +e
  "$HELM" uninstall secretref -n "$NS" > /dev/null 2>&1
  kubectl delete crd "${CRDS[@]}" --ignore-not-found > /dev/null 2>&1
  kubectl delete clusterrole,clusterrolebinding -l chart-test=yes > /dev/null 2>&1
  kubectl delete namespace -l chart-test=yes > /dev/null 2>&1
  rm -rf "$W"
}
trap cleanup EXIT
for c in "${CRDS[@]}"; do
  ! kubectl get crd "$c" > /dev/null 2>&1 || { trap 'rm -rf "$W"' EXIT; echo "$c is there already: this test wants a cluster without secretref"; exit 1; }
done
for f in secretreferences secretstores clustersecretstores; do
  [ -s "$CHART/files/crds/$f.yaml" ] || { echo "$CHART/files/crds/$f.yaml is missing: copy it from crds/"; exit 1; }
done

RUN=(--set replicaCount=0)
if [ -n "${SECRETREF_IMAGE:-}" ]; then
  RUN=(--set "image.repository=${SECRETREF_IMAGE%:*}" --set "image.tag=${SECRETREF_IMAGE##*:}" --wait --timeout 5m)
fi
helm_do() { "$HELM" "$1" secretref "$2" -n "$NS" "${RUN[@]}" "${@:3}" > "$W/helm.log" 2>&1 || { cat "$W/helm.log"; return 1; }; }

# ---- CRDs: an older chart, whose SecretReference lacks a property
cp -r "$CHART" "$W/old"
python3 - "$W/old/files/crds/secretreferences.yaml" <<'PY'
import sys, yaml
crd = yaml.safe_load(open(sys.argv[1]))
spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
del spec["properties"]["suspend"]
yaml.safe_dump(crd, open(sys.argv[1], "w"))
PY
suspend() { kubectl get crd secretreferences.secretref.dev -o jsonpath='{.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.suspend.type}'; }

step "install, with an older CRD"
for n in "$NS" "$TENANT" "$PLATFORM"; do kubectl create namespace "$n" > /dev/null; kubectl label namespace "$n" chart-test=yes > /dev/null; done
kubectl label namespace "$NS" pod-security.kubernetes.io/enforce=restricted > /dev/null      # the operator's pod keeps to it
RUN_NOW=("${RUN[@]}"); RUN=(--set replicaCount=0)      # the older CRD is none that the operator was made for
helm_do install "$W/old"
is "the older CRD" "$(suspend)" ""
step "upgrade"
RUN=("${RUN_NOW[@]}")
helm_do upgrade "$CHART" --set rollout.enabled=true
is "upgrading the chart upgrades the CRD" "$(suspend)" boolean
kubectl wait --for=condition=Established --timeout=180s $(printf 'crd/%s ' "${CRDS[@]}") > /dev/null

# ---- rights of the operator's account, and of people
step "rights"
can() { # user yes|no verb resource [flags]: when the API server has heard of the roles, which is not when they are written
  local got end=$((SECONDS + 60))
  until got=$(kubectl auth can-i --as="$1" "${@:3}" 2> /dev/null || true); [ "$got" = "$2" ] || [ $SECONDS -ge $end ]; do sleep 0.3; done
  is "can $1 ${*:3}" "$got" "$2"
}
SA=system:serviceaccount:$NS:secretref
for v in get list watch create patch delete; do can "$SA" yes $v secrets -n "$TENANT"; done
for v in update deletecollection; do can "$SA" no $v secrets -n "$TENANT"; done
can "$SA" yes list secretreferences.secretref.dev -A
can "$SA" yes patch secretreferences.secretref.dev --subresource=status -n "$TENANT"
for v in create update patch delete; do can "$SA" no $v secretreferences.secretref.dev -n "$TENANT"; done
can "$SA" yes watch clustersecretstores.secretref.dev
can "$SA" yes patch clustersecretstores.secretref.dev --subresource=status
can "$SA" yes watch namespaces
for v in update patch delete create; do can "$SA" no $v namespaces; done
can "$SA" yes create events.events.k8s.io -n "$TENANT"
can "$SA" yes get configmaps -n "$NS"
can "$SA" no get configmaps -n "$TENANT"
can "$SA" yes create serviceaccounts/secretref --subresource=token -n "$NS"
can "$SA" no create serviceaccounts/default --subresource=token -n "$NS"
can "$SA" no create serviceaccounts/default --subresource=token -n "$TENANT"
can "$SA" yes update leases.coordination.k8s.io/secretref -n "$NS"
can "$SA" no update leases.coordination.k8s.io/other -n "$NS"
can "$SA" no create leases.coordination.k8s.io -n "$TENANT"
can "$SA" yes patch deployments.apps -n "$TENANT"
can "$SA" no update deployments.apps -n "$TENANT"
can "$SA" no list pods -n "$TENANT"
can "$SA" no bind organisations.secretref.dev/acme
for r in view edit admin; do kubectl create rolebinding "$r" --clusterrole=$r --user="chart-$r" -n "$TENANT" > /dev/null; done
for r in view edit admin; do can chart-$r yes list secretreferences.secretref.dev -n "$TENANT"; can chart-$r yes list secretstores.secretref.dev -n "$TENANT"; done
for r in edit admin; do
  for v in create update patch delete; do
    can chart-$r yes $v secretreferences.secretref.dev -n "$TENANT"
    can chart-$r no $v secretstores.secretref.dev -n "$TENANT"
  done
  can chart-$r no patch secretreferences.secretref.dev --subresource=status -n "$TENANT"
done
can chart-view no create secretreferences.secretref.dev -n "$TENANT"

# ---- the operator's account cannot make tokens, whatever it wants to
step "Secret types"
secret() { printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%s","namespace":"%s","annotations":{"kubernetes.io/service-account.name":"default"}},"type":"%s"}' "$1" "$TENANT" "$2"; }
as() { local u=$1; shift; kubectl --as="$u" "$@"; }
create() { printf '%s' "$2" | kubectl --as="$1" create -f -; }
apply() { printf '%s' "$2" | kubectl --as="$1" apply --server-side --field-manager=chart-test -f -; }
enforced() { ! create "$SA" "$(secret probe kubernetes.io/service-account-token)" > /dev/null 2>&1 || { kubectl delete secret probe -n "$TENANT" > /dev/null; return 1; }; }
within 180 enforced
for t in kubernetes.io/service-account-token bootstrap.kubernetes.io/token example.com/other; do
  refused "the operator applies a Secret of type $t" "targetTypes" apply "$SA" "$(secret t "$t")"
  refused "the operator creates a Secret of type $t" "targetTypes" create "$SA" "$(secret t "$t")"
done
allowed "the operator applies an Opaque Secret" apply "$SA" "$(secret opaque Opaque)"
allowed "someone else creates a ServiceAccount token" create chart-edit "$(secret token kubernetes.io/service-account-token)"
refused "the operator changes a ServiceAccount token" "targetTypes" as "$SA" patch secret token -n "$TENANT" --type=merge -p '{"metadata":{"annotations":{"a":"b"}}}'
allowed "someone else creates a Secret of another type" create chart-edit "$(secret other example.com/other)"
allowed "the operator merges into a Secret of another type" as "$SA" patch secret other -n "$TENANT" --type=merge -p '{"data":{"a":"Yg=="}}'

# ---- the label that binds a namespace to an organisation
step "org label"
kubectl apply -f - > /dev/null <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: chart-test-namespaces, labels: { chart-test: "yes" } }
rules:
  - { apiGroups: [""], resources: [namespaces, namespaces/status, namespaces/finalize], verbs: [get, list, watch, create, update, patch, delete] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: chart-test-bind-acme, labels: { chart-test: "yes" } }
rules:
  - { apiGroups: [secretref.dev], resources: [organisations], resourceNames: [acme], verbs: [bind] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: chart-test-namespaces, labels: { chart-test: "yes" } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: chart-test-namespaces }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: chart-nobind }, { apiGroup: rbac.authorization.k8s.io, kind: User, name: chart-acme }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: chart-test-bind-acme, labels: { chart-test: "yes" } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: chart-test-bind-acme }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: chart-acme }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: chart-test-admin, labels: { chart-test: "yes" } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: chart-clusteradmin }]
YAML
allowed "the label $LABEL is guarded in every way" tests/chart/org_label.py "$LABEL" ways
is "the policies have no type warnings" "$(kubectl get validatingadmissionpolicy secretref-org-binding secretref-target-types -o jsonpath='{.items[*].status.typeChecking.expressionWarnings}')" ""

step "org label of another name"
helm_do upgrade "$CHART" --set orgPolicy.label=tenancy.example.com/org.unit_1
allowed "the label of another name is guarded" tests/chart/org_label.py tenancy.example.com/org.unit_1 few
allowed "the label of before is an ordinary one" as chart-nobind label namespace "$TENANT" "$LABEL=x"
kubectl label namespace "$TENANT" "$LABEL-" > /dev/null

# ---- rights in two namespaces only
step "watchNamespaces"
helm_do upgrade "$CHART" --set "watchNamespaces={$TENANT}" --set "kubernetesStoreNamespaces={$PLATFORM}"
for v in get list watch create patch delete; do can "$SA" yes $v secrets -n "$TENANT"; done
for v in get list watch; do can "$SA" yes $v secrets -n "$PLATFORM"; can "$SA" yes $v secrets -n "$NS"; done
for v in create patch delete; do can "$SA" no $v secrets -n "$PLATFORM"; done
for n in default kube-system; do for v in get list create patch; do can "$SA" no $v secrets -n $n; done; done
can "$SA" no list secrets -A
can "$SA" no list secretreferences.secretref.dev -A
can "$SA" yes list secretreferences.secretref.dev -n "$TENANT"
can "$SA" yes create events.events.k8s.io -n default
can "$SA" yes watch namespaces
helm_do upgrade "$CHART"
can "$SA" yes list secrets -A
is "no Role is left behind" "$(kubectl get role,rolebinding -A -l app.kubernetes.io/instance=secretref -o name | sort | tr '\n' ' ')" \
  "role.rbac.authorization.k8s.io/secretref rolebinding.rbac.authorization.k8s.io/secretref "

# ---- uninstalling keeps the CRDs, the references and every Secret
step "a reference and its Secret"
VALUE=canary-chart-$RANDOM$RANDOM
kubectl create secret generic acme--db-password -n "$PLATFORM" --from-literal=value="$VALUE" > /dev/null
kubectl label namespace "$TENANT" secretref.dev/org=acme > /dev/null
kubectl apply -f - > /dev/null <<YAML
apiVersion: secretref.dev/v1alpha1
kind: ClusterSecretStore
metadata: { name: chart-test }
spec: { provider: { kubernetes: { namespace: $PLATFORM } } }
---
apiVersion: secretref.dev/v1alpha1
kind: SecretReference
metadata: { name: app, namespace: $TENANT }
spec:
  storeRef: { name: chart-test }
  data: [{ key: DB_PASSWORD, secretRef: { name: db-password } }]
YAML
if [ -n "${SECRETREF_IMAGE:-}" ]; then
  kubectl wait --for=condition=Ready secretreference/app -n "$TENANT" --timeout=180s > /dev/null
  is "the operator makes the Secret" "$(kubectl get secret app -n "$TENANT" -o jsonpath='{.data.DB_PASSWORD}' | base64 -d)" "$VALUE"
  step "nothing that people read holds the value"
  none_ends() { local ends; ends=$(kubectl get pods -n "$NS" -o jsonpath='{.items[*].metadata.deletionTimestamp}') && [ -z "$ends" ]; }
  within 180 none_ends    # a pod of before the last upgrade would go while its log is read
  { cat "$W/helm.log"; "$HELM" get all secretref -n "$NS"; kubectl get events,secretreferences,clustersecretstores,pods -A -o yaml
    for p in $(kubectl get pods -n "$NS" -o name); do kubectl logs -n "$NS" "$p"; done; } > "$W/read" 2>&1
  is "lines with the value" "$(grep -cF -e "$VALUE" -e "$(printf %s "$VALUE" | base64)" "$W/read")" 0
  is "there was something to read" "$(grep -c "secretref operator" "$W/read" | sed 's/^[1-9].*/some/')" some
  step "explain, through a port-forward"
  cargo build --locked --quiet
  explain() { KUBECONFIG=$1 "${CARGO_TARGET_DIR:-target}/debug/secretref" explain --operator-namespace "$NS" "$TENANT/app" 2>&1 || true; }
  # The leader knows a moment after the reference says so.
  says() { told=$(explain "$1"); for part in "${@:2}"; do grep -qF "$part" <<< "$told" || return 1; done; }
  within 60 says "$KUBECONFIG" "acme--db-password " "Found (checked " "next check when it is told to"
  for part in "acme--db-password " "Found (checked " "next check when it is told to"; do
    if grep -qF "$part" <<< "$told"; then pass; else fail "explain: no '$part' in: $told"; fi
  done
  is "explain says all" "$(grep -c "was not asked" <<< "$told")" 0
  kubectl create serviceaccount developer -n "$TENANT" > /dev/null
  kubectl create rolebinding developer --clusterrole=view --serviceaccount="$TENANT:developer" -n "$TENANT" > /dev/null
  cp "$KUBECONFIG" "$W/developer"
  kubectl config --kubeconfig="$W/developer" set-credentials developer --token="$(kubectl create token developer -n "$TENANT")" > /dev/null
  kubectl config --kubeconfig="$W/developer" set-context --current --user=developer > /dev/null
  within 60 says "$W/developer" "DB_PASSWORD: db-password: the organisation's own" "it was not asked: you lack the right get on leases in $NS"
  for part in "DB_PASSWORD: db-password: the organisation's own" "it was not asked: you lack the right get on leases in $NS"; do
    if grep -qF "$part" <<< "$told"; then pass; else fail "explain with few rights: no '$part' in: $told"; fi
  done
else
  kubectl apply -f - > /dev/null <<YAML
apiVersion: v1
kind: Secret
metadata:
  name: app
  namespace: $TENANT
  ownerReferences: [{ apiVersion: secretref.dev/v1alpha1, kind: SecretReference, name: app, uid: $(kubectl get secretreference app -n "$TENANT" -o jsonpath='{.metadata.uid}') }]
data: { DB_PASSWORD: $(printf %s "$VALUE" | base64) }
YAML
fi
is "the Secret is owned" "$(kubectl get secret app -n "$TENANT" -o jsonpath='{.metadata.ownerReferences[*].kind}')" SecretReference
# Every Secret of the cluster, but for Helm's own; and every object of ours.
inventory() {
  kubectl get secrets -A -o jsonpath='{range .items[*]}{.type} {.metadata.namespace}/{.metadata.name} {.metadata.uid} {.metadata.resourceVersion}{"\n"}{end}' | grep -v '^helm.sh/release' | sort
  kubectl get secretreferences,secretstores,clustersecretstores -A -o jsonpath='{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid}{"\n"}{end}' | sort
  kubectl get crd "${CRDS[@]}" -o jsonpath='{range .items[*]}{.metadata.name} {.metadata.uid}{"\n"}{end}' | sort
}
inventory > "$W/before"
is "the inventory has the Secret" "$(grep -c "$TENANT/app " "$W/before")" 2
stays() { # what seconds: the garbage collector is given the time that it would need
  local end=$((SECONDS + $2))
  while [ $SECONDS -lt $end ]; do
    inventory > "$W/after" 2>&1 || true
    if ! cmp -s "$W/before" "$W/after"; then fail "$1: $(diff "$W/before" "$W/after")"; return; fi
    sleep 1
  done
  pass
}
step "crds.enabled=false keeps them"
helm_do upgrade "$CHART" --set crds.enabled=false
stays "upgrade with crds.enabled=false" 5
helm_do upgrade "$CHART" --take-ownership
step "uninstall"
"$HELM" uninstall secretref -n "$NS" --wait > "$W/helm.log" 2>&1 || fail "uninstall: $(cat "$W/helm.log")"
stays "uninstall" 5
left() { kubectl get all,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,networkpolicy,poddisruptionbudget \
  -A -l app.kubernetes.io/name=secretref -o name; }
nothing_left() { local names; names=$(left) && [ -z "$names" ]; }
within 180 nothing_left    # pods end when they are ready to
is "uninstall leaves nothing else" "$(left)" ""
step "install again"
helm_do install "$CHART"
stays "install again" 1
[ -z "${SECRETREF_IMAGE:-}" ] || allowed "the reference is in order again" kubectl wait --for=condition=Ready secretreference/app -n "$TENANT" --timeout=180s
"$HELM" uninstall secretref -n "$NS" --wait > /dev/null
step "install under another name and namespace, with --take-ownership"
"$HELM" install other "$CHART" -n "$PLATFORM" --set replicaCount=0 --take-ownership > "$W/helm.log" 2>&1 || fail "take over: $(cat "$W/helm.log")"
"$HELM" uninstall other -n "$PLATFORM" --wait > /dev/null
stays "another release" 5

echo "chart: $ok of $((ok + bad)) checks passed on a real API server in ${SECONDS}s"
[ "$bad" -eq 0 ]
