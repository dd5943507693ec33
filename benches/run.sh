#!/usr/bin/env bash
# run.sh - the figures of the README: everything with optimisation, beside something well known, in one run on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."; . tests/tools/common.sh
S=$CACHE/bench; mkdir -p "$S"
exec 7> "$S/lock"; flock 7
export SECRETREF_CLUSTER=$S/cluster SECRETREF_BAO=$S/bao
down() { tests/openbao/down.sh "$SECRETREF_BAO"; tests/cluster/down.sh "$SECRETREF_CLUSTER"; }
trap down EXIT; trap 'exit 130' INT TERM HUP
down    # what a run that was killed has left
cargo bench --locked --no-run --bench laptop --bench fleet
ID=8 NODES=0 tests/cluster/up.sh "$SECRETREF_CLUSTER" > "$S/cluster.out" 7>&-
PORT=18290 tests/openbao/up.sh "$SECRETREF_BAO" > "$S/bao.out" 7>&-
set -a; . <(tail -n 1 "$S/cluster.out"); . <(tail -n 3 "$S/bao.out"); set +a
PATH=$SECRETREF_CLUSTER/bin:$SECRETREF_BAO/bin:$PATH; export PATH
for n in $(seq 0 9); do bao kv put -mount=secret "acme--key-$n" value="canary-bench-$n" > "$S/put.out"; done
cargo bench --locked --bench laptop
cargo bench --locked --bench fleet 7>&-
