#!/usr/bin/env bash
# kubeconform.sh - prints the path of kubeconform
set -euo pipefail
. "$(dirname "$0")/common.sh"
V=v0.8.0
install() { GOBIN=$1 go install "github.com/yannh/kubeconform/cmd/kubeconform@$V"; }
echo "$(ensure "$CACHE/kubeconform-$V" install)/kubeconform"
