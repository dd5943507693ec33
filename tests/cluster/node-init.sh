#!/usr/bin/env bash
# node-init.sh STATE_DIR NODE NETNS KUBE_BIN MODE POD_SUBNET NODE_IP CLUSTER_CIDR GATEWAY - PID 1 of a node: mounts, containerd, kubelet, kube-proxy
set -euo pipefail
S=$1 N=$2 BIN=$4 MODE=$5 SUBNET=$6 IP=$7 CIDR=$8 GW=$9
D=$S/$N; mkdir -p "$D"/{kubelet,containerd,log/pods,log/containers,etc-cni,conf,sys}
hostname "$N"
mount --make-rshared /
# a sysfs of this network namespace, and cgroup v1 hierarchies rooted at this node's own cgroups
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
while IFS=: read -r _ ctl _; do
  [ -n "$ctl" ] || continue
  mkdir -p "/sys/fs/cgroup/${ctl#name=}"
  mount -t cgroup -o "$(case $ctl in name=*) echo "none,$ctl";; *) echo "$ctl";; esac)" cgroup "/sys/fs/cgroup/${ctl#name=}"
done < /proc/self/cgroup
# kubelet wants these kernel-wide settings; show it what it wants instead of changing the machine
while read -r f v; do
  [ -e "/proc/sys/$f" ] || continue
  echo "$v" > "$D/sys/${f//\//.}"; mount --bind "$D/sys/${f//\//.}" "/proc/sys/$f"
done <<E
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
vm/overcommit_memory 1
vm/panic_on_oom 0
E
mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p /run/lock /run/netns
for p in kubelet:/var/lib/kubelet containerd:/var/lib/containerd log/pods:/var/log/pods log/containers:/var/log/containers etc-cni:/etc/cni; do
  mkdir -p "${p#*:}"; mount --bind "$D/${p%%:*}" "${p#*:}"; mount --make-rshared "${p#*:}"
done
mkdir -p /etc/cni/net.d
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 || true
cat > /etc/cni/net.d/10-secretref.conflist <<J
{"cniVersion": "0.4.0", "name": "secretref", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": "$SUBNET"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
J
cat > "$D/conf/containerd.toml" <<T
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "secretref.local/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
T
cat > "$D/conf/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $S/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $S/pki/$N.crt
tlsPrivateKeyFile: $S/pki/$N.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
enforceNodeAllocatable: [pods]
serializeImagePulls: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}
clusterDNS: [$GW]
clusterDomain: cluster.local
maxPods: 110
Y
cat > "$D/conf/proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: "$MODE"
clusterCIDR: $CIDR
hostnameOverride: $N
clientConnection: {kubeconfig: $S/kubeconfig/proxy.conf}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
Y
keep() { # name cmd... : runs it again when it ends
  local n=$1; shift
  ( while :; do "$@" >> "$S/log/$N-$n.log" 2>&1 < /dev/null || true; echo "--- $n ended, again in 1 s" >> "$S/log/$N-$n.log"; sleep 1; done ) &
}
keep containerd containerd -c "$D/conf/containerd.toml"
for _ in $(seq 300); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
for t in "$S"/images/*.tar; do ctr -n k8s.io images import "$t" || ctr -n k8s.io images import --all-platforms "$t"; done >> "$S/log/$N-images.log" 2>&1
keep kubelet "$BIN/kubelet" --config="$D/conf/kubelet.yaml" --kubeconfig="$S/kubeconfig/$N.conf" --hostname-override="$N" --node-ip="$IP" ${KUBELET_EXTRA:-}
[ "$MODE" = none ] || keep kube-proxy "$BIN/kube-proxy" --config="$D/conf/proxy.yaml"
while :; do wait || true; sleep 1; done
