#!/usr/bin/env bash
# helm.sh - prints the path of helm
set -euo pipefail
. "$(dirname "$0")/common.sh"
V=v3.22.0
install() { GOBIN=$1 go install "helm.sh/helm/v3/cmd/helm@$V"; }
echo "$(ensure "$CACHE/helm-$V" install)/helm"
