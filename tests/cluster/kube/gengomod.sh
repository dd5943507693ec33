#!/usr/bin/env bash
# Writes go.mod: k8s.io/kubernetes at $1 with its staging modules replaced (v1.X.Y -> v0.X.Y).
set -euo pipefail
cd "$(dirname "$0")"
V=${1:?v1.X.Y}; SV=v0.${V#v1.}
mod=$(go mod download -json "k8s.io/kubernetes@$V" | sed -n 's/.*"GoMod": "\(.*\)",*/\1/p')
etcd=$(sed -n 's#^\tgo.etcd.io/etcd/server/v3 \(v[^ ]*\).*#\1#p' "$mod")
gov=$(sed -n 's/^go \(.*\)/\1/p' "$mod")
{
  echo "module secretref.dev/tests/cluster/kube"; echo; echo "go $gov"; echo; sed -n '/^godebug/p' "$mod"; echo
  echo "require ("; echo "	k8s.io/kubernetes $V"; echo "	go.etcd.io/etcd/server/v3 $etcd"; echo ")"; echo
  echo "replace ("
  sed -n 's#^\t\(k8s.io/[a-z0-9-]*\) v0\.0\.0$#\1#p' "$mod" | sort -u | while read -r m; do echo "	$m => $m $SV"; done
  echo ")"
} > go.mod
