#!/usr/bin/env bash
# run.sh [ARGS of cargo test] - the tests on a real cluster with one node and a real OpenBao, which are there for this run only.
# Without ARGS all of them: those of the cluster, of OpenBao and of the chart too. ARGS choose among those of `cargo test`.
#
# What a test finds in its environment:
#   KUBECONFIG, PATH with kubectl, helm and bao     the cluster (ID=7)
#   BAO_ADDR, BAO_CACERT, BAO_TOKEN                 OpenBao; pods reach it at the same address
#   SECRETREF_IMAGE                                 the operator's image, which the node has
#   SECRETREF_CLUSTER, SECRETREF_BAO                their state directories, for tests/cluster/* and for the audit log
#   SECRETREF_FAKETIME                              a library that turns the clock of one process
#   SECRETREF_SUITE                                 where the suite of all stores leaves what it found
set -euo pipefail
cd "$(dirname "$0")/.."; . tests/tools/common.sh
mkdir -p "$CACHE/test"; exec 7> "$CACHE/test/lock"
flock -n 7 || { say "waiting for another run on this machine"; flock 7; }
export SECRETREF_CLUSTER=$CACHE/test/cluster SECRETREF_BAO=$CACHE/test/bao
down() { tests/openbao/down.sh "$SECRETREF_BAO"; tests/cluster/down.sh "$SECRETREF_CLUSTER"; }
trap down EXIT; trap 'exit 130' INT TERM HUP
down    # what a run that was killed has left

SECRETREF_FAKETIME=/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketimeMT.so.1; export SECRETREF_FAKETIME
need "$SECRETREF_FAKETIME:libfaketime"

say "compiling the tests"
cargo test --locked --no-run "$@"
say "building the image"
deploy/image/build.sh "$CACHE/test/image.tar" > "$CACHE/test/image.out"
SECRETREF_IMAGE=$(cut -d' ' -f1 "$CACHE/test/image.out"); export SECRETREF_IMAGE

if [ $# -eq 0 ]; then
  say "the cluster and OpenBao by themselves"
  tests/cluster/test.sh 7>&-
  tests/openbao/test.sh 7>&-
  deploy/vault/test.sh 7>&-
fi

say "a cluster and OpenBao"
ID=7 NODES=1 IMAGES=$CACHE/test/image.tar tests/cluster/up.sh "$SECRETREF_CLUSTER" > "$CACHE/test/cluster.out" 7>&-
PORT=18270 ADDRESS=10.217.0.1 tests/openbao/up.sh "$SECRETREF_BAO" > "$CACHE/test/bao.out" 7>&-    # after its address is there
set -a; . <(tail -n 1 "$CACHE/test/cluster.out"); . <(tail -n 3 "$CACHE/test/bao.out"); set +a
PATH=$SECRETREF_CLUSTER/bin:$SECRETREF_BAO/bin:$(dirname "$(tests/tools/helm.sh)"):$PATH
PYTHONPATH=$(tests/tools/pyyaml.sh)${PYTHONPATH:+:$PYTHONPATH}; export PATH PYTHONPATH

if [ $# -eq 0 ]; then
  say "the chart"
  tests/chart/lint.sh
  tests/chart/install.sh
fi
say "cargo test"
# Most of them wait for a server: more at once than there are cores. What a failure says is not to be buried by a stack.
export RUST_BACKTRACE=0 RUST_TEST_THREADS=${RUST_TEST_THREADS:-8} SECRETREF_SUITE=$CACHE/test/suite
rm -rf "$SECRETREF_SUITE"
cargo test --locked --no-fail-fast "$@" 7>&-
if [ $# -eq 0 ]; then
  say "the table of stores and cases"
  tests/stores/table.py "$SECRETREF_SUITE"
  say "the demo: chart, pod, rotation, restart"
  demo/up.sh 7>&-
  demo/down.sh
fi
say "done"
