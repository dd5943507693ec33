#!/usr/bin/env bash
# load-image.sh STATE_DIR IMAGE.tar... - imports image archives on every node of a running cluster
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); S=$(cd "$1" && pwd); shift; . "$S/env"
for t in "$@"; do
  t=$(realpath "$t")
  for ((i = 1; i <= NODES; i++)); do "$HERE/node-exec.sh" "$S" "node$i" ctr -n k8s.io images import "$t"; done
done
