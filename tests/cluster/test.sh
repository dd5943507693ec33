#!/usr/bin/env bash
# test.sh - two clusters at once, a pod that reads a Secret by envFrom, and nothing left of either afterwards
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); T=$(mktemp -d)
A=$T/a B=$T/b
free=(); for i in 9 6 5 4 3 2 1 0; do
  [ -L "/tmp/secretref-cluster-$i" ] || (: < "/dev/tcp/127.0.0.1/$((26443 + 10 * i))") 2> /dev/null || free+=("$i")
done
IA=${free[0]} IB=${free[1]}
trap '"$HERE/down.sh" "$A"; "$HERE/down.sh" "$B"; rm -rf "$T"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
traces() { # what these two clusters may leave on a machine
  ip -o link | awk -F': ' '{print $2}' | grep -E "^sr[$IA$IB]" || true
  ip netns list | grep -E "^sr[$IA$IB]" || true
  ip route | grep -E "10\.2[123][$IA$IB]\." || true
  find /sys/fs/cgroup -type d -name "sr[$IA$IB]-node*" 2> /dev/null || true
  grep -F "$T" /proc/mounts || true
  for d in /proc/[0-9]*; do
    c=$({ tr '\0' ' ' < "$d/cmdline"; } 2> /dev/null) && [[ $c == *"$T"* ]] && echo "process $c"
  done
  for p in $((26443 + 10 * IA)) $((26443 + 10 * IB)); do
    for ((q = p; q < p + 5; q++)); do
      ! (: < "/dev/tcp/127.0.0.1/$q") 2> /dev/null || echo "port $q"
    done
  done
}
[ -z "$(traces)" ] || fail "not a clean start: $(traces)"

ID=$IA NODES=0 "$HERE/up.sh" "$A" > "$T/a.out" & a=$!
ID=$IB NODES=1 "$HERE/up.sh" "$B" > "$T/b.out"
wait "$a"
[ "$(tail -n 1 "$T/a.out")" = "KUBECONFIG=$A/kubeconfig/admin.conf" ] || fail "the last line is $(tail -n 1 "$T/a.out")"
ka() { "$A/bin/kubectl" --kubeconfig "$A/kubeconfig/admin.conf" "$@"; }
kb() { "$B/bin/kubectl" --kubeconfig "$B/kubeconfig/admin.conf" "$@"; }

[ -z "$(ka get nodes -o name)" ] || fail "a cluster with NODES=0 has nodes"
ka create configmap kept --from-literal=k=v > /dev/null
kb apply -f - > /dev/null <<'Y'
apiVersion: v1
kind: Secret
metadata: { name: app }
stringData: { DB_USER: alice, DB_PASSWORD: not-shown }
---
apiVersion: v1
kind: Pod
metadata: { name: reads }
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: secretref.local/busybox:1
      command: [sh, -c, 'env | sed -n "s/^\(DB_[A-Z]*\)=.*/\1/p" | sort | xargs']
      envFrom: [{ secretRef: { name: app } }]
      securityContext: { runAsNonRoot: true, runAsUser: 65532, readOnlyRootFilesystem: true }
Y
kb wait --for=jsonpath='{.status.phase}'=Succeeded pod/reads --timeout=180s > /dev/null
[ "$(kb logs reads)" = "DB_PASSWORD DB_USER" ] || fail "the pod saw: $(kb logs reads)"

# an API server that was killed comes back with what it had
p=$(cat "$A/run/kube-apiserver.pid"); kill -KILL "$p"
for _ in $(seq 1200); do { tr '\0' ' ' < "/proc/$p/cmdline"; } 2> /dev/null | grep -q . || break; sleep 0.1; done    # until then it looks as if it ran
"$HERE/up.sh" "$A" > /dev/null
[ "$(ka get configmap kept -o jsonpath='{.data.k}')" = v ] || fail "data lost"

"$HERE/down.sh" "$A"; "$HERE/down.sh" "$B"
for _ in $(seq 600); do [ -n "$(traces)" ] || break; sleep 0.1; done
[ -z "$(traces)" ] || fail "left behind: $(traces)"
[ ! -e "$A" ] && [ ! -e "$B" ] || fail "a state directory is still there"
echo "tests/cluster: 2 clusters at once, a pod with its variables, no trace left"
