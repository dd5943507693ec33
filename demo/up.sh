#!/usr/bin/env bash
# up.sh - the whole thing on this machine: a cluster with one node, an OpenBao with secrets of two organisations, the chart,
# references on two stores, a pod that reads them, a value rotated. Idempotent; down.sh removes it.
set -euo pipefail
cd "$(dirname "$0")/.."; . tests/tools/common.sh
S=$CACHE/demo; mkdir -p "$S"
NS=secretref                       # the operator's namespace and ServiceAccount
step() { echo; say "$*"; }

# What the other scripts have to say is kept, and shown when they fail.
quietly() { "$@" > "$S/last.log" 2>&1 || { cat "$S/last.log" >&2; return 1; }; }
trap 'rc=$?; [ $rc -eq 0 ] || help_with_failure; exit $rc' EXIT
help_with_failure() {
  say "that did not work; this is how it stands:"
  [ -s "$S/cluster/kubeconfig/admin.conf" ] || return 0
  kubectl get clustersecretstores || true
  kubectl get secretrefs -A || true
  kubectl -n "$NS" get pods || true
  kubectl -n "$NS" logs deployment/secretref --tail=20 || true
} >&2

step "the operator: release binary and image (the first time this compiles, for minutes)"
image=$(deploy/image/build.sh "$S/image.tar")
say "${image/ / is }"

step "a cluster: control plane and one real node (the first time this builds Kubernetes, for minutes)"
ID=8 NODES=1 quietly tests/cluster/up.sh "$S/cluster"
export KUBECONFIG=$S/cluster/kubeconfig/admin.conf PATH=$S/cluster/bin:$S/bao/bin:$PATH
quietly tests/cluster/load-image.sh "$S/cluster" "$S/image.tar"
kubectl get nodes

step "OpenBao over TLS, with secrets of acme, beta and GLOBAL"
PORT=18280 ADDRESS=10.218.0.1 tests/openbao/up.sh "$S/bao" > "$S/bao.env"
set -a; . "$S/bao.env"; set +a
put() { quietly bao kv put -mount=secret "$@"; }
sample() { bao kv get -mount=secret "$1" > /dev/null 2>&1 || put "$@"; }    # once: a second `make demo` changes nothing here
random() { openssl rand -hex 12; }
sample acme--db-password value="$(random)"
sample acme--database username=payments host=db.acme.invalid
sample acme--sentry-dsn value=https://acme.sentry.invalid/1
sample beta--db-password value="$(random)"
sample GLOBAL--sentry-dsn value=https://global.sentry.invalid/1
sample GLOBAL--licence value="$(random)"
bao kv list -mount=secret | tail -n +3

step "OpenBao learns to trust the operator's ServiceAccount, and nobody else's"
quietly kubectl apply -f demo/manifests/20-reviewer.yaml
quietly kubectl -n openbao wait --for=jsonpath='{.data.token}' secret/token-reviewer --timeout=180s
bao auth list -format=json | grep -q '"kubernetes/"' || quietly bao auth enable kubernetes
kubectl -n openbao get secret token-reviewer -o jsonpath='{.data.token}' | base64 -d |
  quietly bao write auth/kubernetes/config kubernetes_host=https://127.0.0.1:26523 \
    kubernetes_ca_cert=@"$S/cluster/pki/ca.crt" token_reviewer_jwt=-
quietly bao policy write secretref - <<'P'
path "secret/data/*"     { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["read", "list"] }
P
quietly bao write auth/kubernetes/role/secretref audience=vault bound_service_account_namespaces="$NS" \
  bound_service_account_names=secretref token_policies=secretref token_ttl=20m

step "helm install secretref charts/secretref"
quietly "$(tests/tools/helm.sh)" upgrade --install secretref charts/secretref -n "$NS" --create-namespace \
  --set rollout.enabled=true --set podAnnotations.image="${image##* }"    # the digest: a new image is a new pod
kubectl -n "$NS" create configmap openbao-ca --from-file=ca.crt="$BAO_CACERT" --dry-run=client -o yaml | quietly kubectl apply -f -
quietly kubectl -n "$NS" rollout status deployment/secretref --timeout=180s
kubectl -n "$NS" get pods

step "two namespaces bound to acme and beta, two stores, four references"
quietly kubectl apply -f demo/manifests/10-namespaces.yaml -f demo/manifests/30-stores.yaml \
  -f demo/manifests/40-acme.yaml -f demo/manifests/50-beta.yaml
quietly kubectl wait clustersecretstores --all --for=condition=Ready --timeout=180s
quietly kubectl wait secretreferences.secretref.dev -A --all --for=condition=Ready --timeout=180s
kubectl get clustersecretstores
quietly kubectl -n acme-prod rollout status deployment/payments --timeout=180s

step "a pod of acme that takes them by envFrom has these variables:"
quietly kubectl -n acme-prod delete pod names --ignore-not-found --now
quietly kubectl apply -f demo/manifests/60-pod.yaml
quietly kubectl -n acme-prod wait --for=jsonpath='{.status.phase}'=Succeeded pod/names --timeout=180s
kubectl -n acme-prod logs names | sort | xargs -n 5 echo "   "

step "acme's database password is rotated in OpenBao"
generation() { kubectl -n acme-prod get deployment payments -o jsonpath='{.metadata.generation}'; }
before=$(generation); new=$(random)
put acme--db-password value="$new"; t=$(date +%s%N)
since() { awk -v a="$t" -v b="$(date +%s%N)" 'BEGIN { printf "%.1f s", (b - a) / 1e9 }'; }
until [ "$(kubectl -n acme-prod get secret payments-env -o jsonpath='{.data.DB_PASSWORD}' | base64 -d)" = "$new" ]; do
  [ $(( ($(date +%s%N) - t) / 1000000000 )) -lt 180 ] || { say "it has not arrived after three minutes"; exit 1; }
  sleep 0.2
done
say "in the Secret after $(since) (refreshInterval is 5s)"
until [ "$(generation)" != "$before" ]; do
  [ $(( ($(date +%s%N) - t) / 1000000000 )) -lt 180 ] || { say "the Deployment has not been restarted after three minutes"; exit 1; }
  sleep 0.2
done
quietly kubectl -n acme-prod rollout status deployment/payments --timeout=180s
pod=$(kubectl -n acme-prod get pods -l app=payments --sort-by=.metadata.creationTimestamp -o name | tail -n 1)    # not one that is ending
kubectl -n acme-prod exec "$pod" -- sh -c "[ \"\$DB_PASSWORD\" = '$new' ]" || { say "the new pod has another value"; exit 1; }
say "in the restarted Deployment's pod after $(since); restarts: $(($(generation) - before))"
[ $(($(generation) - before)) -eq 1 ] || { say "one was expected"; exit 1; }

step "kubectl get secretrefs -A"
kubectl get secretrefs -A
echo
echo "Go on: export KUBECONFIG=$KUBECONFIG PATH=$S/cluster/bin:$S/bao/bin:\$PATH && set -a && . $S/bao.env && set +a   (make demo-down removes it)"
say "done"
