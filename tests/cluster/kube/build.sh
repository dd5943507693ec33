#!/usr/bin/env bash
# build.sh OUT_DIR - builds OUT_DIR/kube (static, stripped, version-stamped) and its argv[0] links
set -euo pipefail
OUT=$(realpath "$1"); cd "$(dirname "$0")"
V=$(sed -n 's#^[[:space:]]*k8s.io/kubernetes \(v[^ ]*\).*#\1#p' go.mod | head -1)
MINOR=${V#v1.}; MINOR=${MINOR%%.*}
LD="-s -w"
for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  LD+=" -X $p.gitVersion=$V -X $p.gitMajor=1 -X $p.gitMinor=$MINOR -X $p.gitTreeState=clean -X $p.gitCommit=$V -X $p.buildDate=2026-01-01T00:00:00Z"
done
CGO_ENABLED=0 go build -trimpath -ldflags "$LD" -o "$OUT/kube" .
for n in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do ln -sf kube "$OUT/$n"; done
