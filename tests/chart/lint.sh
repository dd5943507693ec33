#!/usr/bin/env bash
# lint.sh - lints and renders the chart, and checks what it renders. With KUBECONFIG of a cluster, its API server judges
# the manifests too, strictly and as a dry run (the cluster gets a few empty namespaces, which are removed again).
set -euo pipefail
cd "$(dirname "$0")/../.."
HELM=$(tests/tools/helm.sh)
OUT=$(mktemp -d); trap 'rm -rf "$OUT"' EXIT

for f in "" tests/chart/values/*.yaml; do
  "$HELM" lint --strict --quiet --kube-version 1.35.4 charts/secretref ${f:+-f "$f"}
done
python3 tests/chart/check.py "$HELM" charts/secretref "$OUT"
tests/alerts/test.sh

if [ -z "${KUBECONFIG:-}" ]; then
  echo "chart: no KUBECONFIG, so no API server judged the manifests"
  exit 0
fi
namespaces=(secretref sr-system monitoring team-a team-b platform-secrets); made=()
trap '[ ${#made[@]} -eq 0 ] || kubectl delete namespace "${made[@]}" --wait=false > /dev/null; rm -rf "$OUT"' EXIT
for n in "${namespaces[@]}"; do
  [ "$(kubectl get namespace "$n" -o jsonpath='{.status.phase}' --ignore-not-found)" != Terminating ] || kubectl wait --for=delete "namespace/$n" --timeout=300s > /dev/null
  kubectl get namespace "$n" > /dev/null 2>&1 || { kubectl create namespace "$n" > /dev/null; made+=("$n"); }
done
for f in "$OUT"/*.yaml; do
  # ServiceMonitor and PrometheusRule are not kinds of Kubernetes itself.
  python3 - "$f" <<'PY' > "$f.own"
import sys
print("\n---\n".join(d for d in open(sys.argv[1]).read().split("\n---\n") if "monitoring.coreos.com" not in d))
PY
  kubectl apply --dry-run=server --validate=strict -f "$f.own" > "$f.log" || { cat "$f.log"; exit 1; }
  echo "chart: the API server accepts $(basename "$f" .yaml) ($(wc -l < "$f.log") objects)"
done
