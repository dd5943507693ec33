#!/usr/bin/env bash
# run.sh - the figures of the README: everything with optimisation, beside something well known, in one run on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."; . tests/tools/common.sh
S=$CACHE/bench; mkdir -p "$S"
exec 7> "$S/lock"; flock 7
trap 'tests/openbao/down.sh "$S/bao"' EXIT; trap 'exit 130' INT TERM HUP
cargo bench --locked --no-run --bench laptop
PORT=18290 tests/openbao/up.sh "$S/bao" > "$S/bao.out" 7>&-
set -a; . <(tail -n 3 "$S/bao.out"); set +a
PATH=$S/bao/bin:$PATH; export PATH
for n in $(seq 0 9); do bao kv put -mount=secret "acme--key-$n" value="canary-bench-$n" > "$S/put.out"; done
cargo bench --locked --bench laptop
