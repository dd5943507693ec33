#!/usr/bin/env bash
# node-enter.sh STATE_DIR NODE NETNS KUBE_BIN MODE POD_SUBNET NODE_IP CLUSTER_CIDR GATEWAY - puts itself in cgroups of its own (cgroup v1), then
# becomes PID 1 of a "node" with mount, UTS, IPC, cgroup and PID namespaces of its own, in the network namespace NETNS.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); S=$1; N=$2; NETNS=$3
: > "$S/run/$N.cgroups"
own=$(cat /proc/self/cgroup)                    # at once: it changes as this process moves
while IFS=: read -r _ ctl path; do
  [ -n "$ctl" ] || continue                     # the v2 hierarchy: not used
  d=/sys/fs/cgroup/${ctl#name=}; [ -d "$d" ] || continue
  c=${d}${path%/}/$NETNS; mkdir -p "$c"
  find "$c" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null || true    # of a node that was killed: they cost kubelet 3 s each
  if [ "$ctl" = cpuset ]; then
    for f in cpuset.cpus cpuset.mems; do [ -n "$(cat "$c/$f")" ] || cat "${d}${path%/}/$f" > "$c/$f"; done
  fi
  echo $$ > "$c/cgroup.procs"; echo "$c" >> "$S/run/$N.cgroups"
done <<< "$own"
exec nsenter --net="/run/netns/$NETNS" unshare --mount --propagation private --uts --ipc --cgroup --pid --fork --kill-child --mount-proc \
  "$HERE/node-init.sh" "$@"
