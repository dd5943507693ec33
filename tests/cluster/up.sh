#!/usr/bin/env bash
# up.sh STATE_DIR - brings up etcd + kube-apiserver + kube-controller-manager + kube-scheduler on
# 127.0.0.1 and NODES real nodes (containerd + kubelet + kube-proxy, each in namespaces of its own).
# Idempotent: what runs already is left alone. Prints KUBECONFIG=... last. down.sh STATE_DIR undoes it.
#
# env (defaults): ID=0            instance 0..9: shifts ports and address ranges, so that several can run at once
#                 NODES=1         number of real nodes 0..9, 0 for a control plane only
#                 ETCD_FSYNC=0    1: etcd fsyncs as in production
#                 MODE=nftables   kube-proxy's mode (nftables|iptables|none)
#                 APISERVER_EXTRA, KCM_EXTRA, SCHEDULER_EXTRA, ETCD_EXTRA, KUBELET_EXTRA: more flags
#                 IMAGES          more image tars (docker or OCI archives) to import on each node
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { sed -n '2,12p' "$0" >&2; exit 2; }
. "$HERE/../tools/common.sh"
state_dir "$1"; mkdir -p "$S"/{run,log,etcd,conf,bin}
if [ -s "$S/env" ]; then . "$S/env"; fi          # a state dir keeps its ID and NODES
: "${ID:=0}" "${NODES:=1}" "${ETCD_FSYNC:=0}" "${MODE:=nftables}"
[[ $ID$NODES =~ ^[0-9][0-9]$ ]] || { echo "ID and NODES are one digit each" >&2; exit 2; }
export KUBELET_EXTRA=${KUBELET_EXTRA:-}
export APISERVER_PORT=$((26443 + ID * 10)) NODES
ETCD_PORT=$((APISERVER_PORT + 1)); ETCD_PEER=$((APISERVER_PORT + 2)); KCM_PORT=$((APISERVER_PORT + 3)); SCHED_PORT=$((APISERVER_PORT + 4))
export NODE_IP_PREFIX=10.21$ID.0 NODE_GW=10.21$ID.0.1
POD_CIDR=10.22$ID.0.0/16; SVC_CIDR=10.23$ID.0.0/16; export SVC_IP=10.23$ID.0.1; BR=sr$ID
if [ "$NODES" -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { echo "nodes need root" >&2; exit 1; }
  grep -qE ':([a-z_]+,)*memory' /proc/self/cgroup ||
    { echo "nodes need cgroup v1, which this machine does not have: kind-config.yaml is the way to a cluster here" >&2; exit 1; }
fi
# An ID belongs to one state dir, or down.sh of one would take the other's network away.
claim=/tmp/secretref-cluster-$ID
if ! ln -sT "$S" "$claim" 2> /dev/null; then
  owner=$(readlink "$claim" || true)
  # One whose processes are all gone (a reboot) holds nothing but its files.
  [ "$owner" = "$S" ] || ! pgrep -f "$owner/" > /dev/null || { echo "ID=$ID is in use by $owner: choose another, 0..9" >&2; exit 1; }
  ln -sfT "$S" "$claim"
fi
printf 'ID=%s\nNODES=%s\nMODE=%s\n' "$ID" "$NODES" "$MODE" > "$S/env"

# ---- binaries and images: made once, kept outside the clone under the hash of what they are made from
need openssl:openssl curl:curl ip:iproute2 sysctl:procps flock:util-linux
V=$(sed -n 's#^[[:space:]]*k8s.io/kubernetes \(v[^ ]*\).*#\1#p' "$HERE/kube/go.mod" | head -1)
KUBE=$CACHE/kube-$V-$(key "$HERE"/kube/*)
[ -d "$KUBE" ] || say "building Kubernetes $V once (10 minutes on two cores): $KUBE"
BIN=$(ensure "$KUBE" "$HERE/kube/build.sh")
ln -sf "$BIN/kubectl" "$S/bin/kubectl"
if [ "$NODES" -gt 0 ]; then
  need containerd:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins iptables:iptables nft:nftables \
    conntrack:conntrack nsenter:util-linux
  BASE=$(ensure "$CACHE/images-$(key "$HERE/images.sh" "$HERE/../../deploy/image/mkimage.py")" "$HERE/images.sh")
  mkdir -p "$S/images"; for t in "$BASE"/*.tar ${IMAGES:-}; do ln -sf "$(realpath "$t")" "$S/images/"; done
fi

alive() { # name: the process of the pid file runs, and is of this state dir
  local p a; p=$(cat "$S/run/$1.pid" 2>/dev/null) && [ -n "$p" ] && a=$({ tr '\0' '\n' < "/proc/$p/cmdline"; } 2>/dev/null) \
    && { grep -qF "$S/" <<< "$a" || grep -qxF "$S" <<< "$a"; }
}
taken() { (: < "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
start() { # name ports binary args...
  local n=$1 p ports=$2; shift 2
  if alive "$n"; then say "$n runs already"; return; fi
  for p in $ports; do
    for _ in $(seq 600); do taken "$p" || break; sleep 0.1; done    # one that was just killed may hold it for a moment
    ! taken "$p" || { say "port $p is taken"; exit 1; }
  done
  setsid nohup "$@" >> "$S/log/$n.log" 2>&1 < /dev/null 9>&- &
  echo $! > "$S/run/$n.pid"
}
waitfor() { # seconds what cmd...
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    for n in etcd kube-apiserver kube-controller-manager kube-scheduler; do
      # Until the kernel has made the program of it, it does not look like one.
      [ ! -s "$S/run/$n.pid" ] || alive "$n" || kill -0 "$(cat "$S/run/$n.pid")" 2> /dev/null || { say "$n has died:"; tail -n 5 "$S/log/$n.log" >&2; exit 1; }
    done
    [ $SECONDS -lt $end ] || { say "timed out: $what"; return 1; }
    sleep 0.1
  done
  say "$what"
}

"$HERE/pki.sh" "$S"; P=$S/pki; K=$S/kubeconfig
say "pki ready"

# ---- host side of the nodes' network: one bridge
if [ "$NODES" -gt 0 ]; then
  ip link show "$BR" >/dev/null 2>&1 || { ip link add "$BR" type bridge; ip addr add "$NODE_GW/24" dev "$BR"; ip link set "$BR" up; }
  ADV=$NODE_GW; BIND=0.0.0.0; EP=lease
else
  ADV=127.0.0.1; BIND=127.0.0.1; EP=none
fi

fs=(); [ "$ETCD_FSYNC" = 1 ] || fs=(--unsafe-no-fsync)
start etcd "$ETCD_PORT $ETCD_PEER" "$BIN/etcd" --name secretref --data-dir "$S/etcd" "${fs[@]}" --log-level warn \
  --listen-client-urls "https://127.0.0.1:$ETCD_PORT" --advertise-client-urls "https://127.0.0.1:$ETCD_PORT" \
  --listen-peer-urls "http://127.0.0.1:$ETCD_PEER" --initial-advertise-peer-urls "http://127.0.0.1:$ETCD_PEER" \
  --initial-cluster "secretref=http://127.0.0.1:$ETCD_PEER" \
  --client-cert-auth --trusted-ca-file "$P/ca.crt" --cert-file "$P/etcd.crt" --key-file "$P/etcd.key" ${ETCD_EXTRA:-}

start kube-apiserver "$APISERVER_PORT" "$BIN/kube-apiserver" --advertise-address="$ADV" --bind-address="$BIND" --secure-port="$APISERVER_PORT" \
  --endpoint-reconciler-type="$EP" --etcd-servers="https://127.0.0.1:$ETCD_PORT" --etcd-cafile="$P/ca.crt" \
  --etcd-certfile="$P/apiserver-etcd-client.crt" --etcd-keyfile="$P/apiserver-etcd-client.key" \
  --client-ca-file="$P/ca.crt" --tls-cert-file="$P/apiserver.crt" --tls-private-key-file="$P/apiserver.key" \
  --kubelet-certificate-authority="$P/ca.crt" --kubelet-client-certificate="$P/apiserver-kubelet-client.crt" \
  --kubelet-client-key="$P/apiserver-kubelet-client.key" --kubelet-preferred-address-types=InternalIP \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-signing-key-file="$P/sa.key" --service-account-key-file="$P/sa.pub" \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
  --service-cluster-ip-range="$SVC_CIDR" --profiling=false --shutdown-delay-duration=0s \
  --requestheader-client-ca-file="$P/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$P/front-proxy-client.crt" --proxy-client-key-file="$P/front-proxy-client.key" ${APISERVER_EXTRA:-}

KC() { "$BIN/kubectl" --kubeconfig "$K/admin.conf" "$@"; }
ready() { curl -fsS --cacert "$P/ca.crt" --cert "$P/admin.crt" --key "$P/admin.key" "https://127.0.0.1:$APISERVER_PORT/readyz"; }
waitfor 300 "apiserver ready" ready    # before that the others would only meet "forbidden" and back off for seconds

start kube-controller-manager "$KCM_PORT" "$BIN/kube-controller-manager" --kubeconfig="$K/controller-manager.conf" \
  --authentication-kubeconfig="$K/controller-manager.conf" --authorization-kubeconfig="$K/controller-manager.conf" \
  --bind-address=127.0.0.1 --secure-port="$KCM_PORT" --client-ca-file="$P/ca.crt" \
  --requestheader-client-ca-file="$P/front-proxy-ca.crt" \
  --cluster-signing-cert-file="$P/ca.crt" --cluster-signing-key-file="$P/ca.key" --root-ca-file="$P/ca.crt" \
  --service-account-private-key-file="$P/sa.key" --use-service-account-credentials=true --leader-elect=false \
  --kube-api-qps=500 --kube-api-burst=1000 --allocate-node-cidrs=false --cluster-cidr="$POD_CIDR" --service-cluster-ip-range="$SVC_CIDR" --profiling=false ${KCM_EXTRA:-}

start kube-scheduler "$SCHED_PORT" "$BIN/kube-scheduler" --kubeconfig="$K/scheduler.conf" \
  --authentication-kubeconfig="$K/scheduler.conf" --authorization-kubeconfig="$K/scheduler.conf" \
  --bind-address=127.0.0.1 --secure-port="$SCHED_PORT" --leader-elect=false --profiling=false ${SCHEDULER_EXTRA:-}

waitfor 300 "controller-manager ready" curl -fsSk "https://127.0.0.1:$KCM_PORT/healthz"
waitfor 300 "scheduler ready" curl -fsSk "https://127.0.0.1:$SCHED_PORT/healthz"
waitfor 300 "default service account there" KC -n default get serviceaccount default

# ---- nodes
for ((i = 1; i <= NODES; i++)); do
  N=node$i; NS=$BR-$N; IP=$NODE_IP_PREFIX.$((10 + i)); SUB=${POD_CIDR%.0.0/16}.$i.0/24
  alive "$N" && { say "$N runs already"; continue; }
  ip netns del "$NS" 2>/dev/null || true; ip link del "$BR-v$i" 2>/dev/null || true
  ip netns add "$NS"
  ip link add "$BR-v$i" type veth peer name eth0 netns "$NS"
  ip link set "$BR-v$i" master "$BR" up
  ip -n "$NS" link set lo up; ip -n "$NS" addr add "$IP/24" dev eth0; ip -n "$NS" link set eth0 up
  ip -n "$NS" route add default via "$NODE_GW"
  for ((j = 1; j <= NODES; j++)); do
    [ $j = $i ] || ip -n "$NS" route replace "${POD_CIDR%.0.0/16}.$j.0/24" via "$NODE_IP_PREFIX.$((10 + j))"
  done
  ip route replace "$SUB" via "$IP"                          # this machine reaches pods ...
  [ $i != 1 ] || ip route replace "$SVC_CIDR" via "$IP"       # ... and, through node1's kube-proxy, services
  start "$N" "" "$HERE/node-enter.sh" "$S" "$N" "$NS" "$BIN" "$MODE" "$SUB" "$IP" "$POD_CIDR" "$NODE_GW"
done
for ((i = 1; i <= NODES; i++)); do
  waitfor 300 "node$i registered" KC get node "node$i"
  waitfor 300 "node$i kubelet healthy" KC get --raw "/api/v1/nodes/node$i/proxy/healthz"
  waitfor 300 "node$i Ready" sh -c "'$BIN/kubectl' --kubeconfig '$K/admin.conf' get node node$i -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].status}' | grep -q True"
done
say "up"
echo "KUBECONFIG=$K/admin.conf"
