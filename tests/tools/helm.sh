#!/usr/bin/env bash
# helm.sh - prints the path of a cached helm, built once from Go modules. Progress goes to stderr.
set -euo pipefail
VERSION=v3.22.0
CACHE=${SECRETREF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/secretref}
DIR=$CACHE/helm-$VERSION
if [ ! -x "$DIR/helm" ]; then
  mkdir -p "$DIR"
  exec 9> "$DIR/.lock"; flock 9                       # two callers build it once
  if [ ! -x "$DIR/helm" ]; then
    echo "building helm $VERSION (a minute or two, once)" >&2
    TMP=$(mktemp -d "$DIR/build.XXXXXX"); trap 'rm -rf "$TMP"' EXIT
    GOBIN=$TMP CGO_ENABLED=0 go install -trimpath -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$VERSION" "helm.sh/helm/v3/cmd/helm@$VERSION" >&2
    mv "$TMP/helm" "$DIR/helm"
  fi
fi
echo "$DIR/helm"
