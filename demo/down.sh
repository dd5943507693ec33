#!/usr/bin/env bash
# down.sh - removes what up.sh made: the cluster, OpenBao and their data
set -euo pipefail
cd "$(dirname "$0")/.."; . tests/tools/common.sh
tests/openbao/down.sh "$CACHE/demo/bao"
tests/cluster/down.sh "$CACHE/demo/cluster"
rm -rf "$CACHE/demo"
