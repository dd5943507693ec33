#!/usr/bin/env bash
# down.sh STATE_DIR - removes every trace of what up.sh started there: processes, network, cgroups, the directory itself
# (--purge is accepted and changes nothing)
set -uo pipefail
S=$(realpath -m "${1:?STATE_DIR}"); ID=; NODES=0
[ ! -s "$S/env" ] || . "$S/env"
[ ! -e "$S/lock" ] || { exec 9> "$S/lock"; flock -w 120 9; }     # after an up.sh that still works there
mine() { local a; a=$({ tr '\0' '\n' < "/proc/$1/cmdline"; } 2>/dev/null) && { grep -qF "$S/" <<< "$a" || grep -qxF "$S" <<< "$a"; }; }
end() { # PID: nothing is kept, so nothing needs a graceful end
  mine "$1" || return 0
  kill -KILL "$1" 2>/dev/null
  for _ in $(seq 2400); do mine "$1" || break; sleep 0.05; done
}
for ((i = 1; i <= NODES; i++)); do
  N=node$i NS=sr$ID-node$i
  # the pid in the file is unshare's; with it, by --kill-child, goes PID 1 of the node and with that everything in it
  p=$(cat "$S/run/$N.pid" 2>/dev/null) && end "$p"
  ip netns del "$NS" 2>/dev/null; ip link del "sr$ID-v$i" 2>/dev/null
  if [ -s "$S/run/$N.cgroups" ]; then
    for _ in $(seq 600); do
      left=0
      while read -r c; do [ -d "$c" ] && { find "$c" -depth -type d -exec rmdir {} + 2>/dev/null || left=1; }; done < "$S/run/$N.cgroups"
      [ $left = 0 ] && break; sleep 0.1
    done
  fi
done
# by their command lines, so that a lost pid file or directory leaves nothing running either
for d in /proc/[0-9]*; do
  { tr '\0' '\n' < "$d/cmdline"; } 2>/dev/null | grep -qE "^(unshare|.*/(etcd|kube-apiserver|kube-controller-manager|kube-scheduler))$" && end "${d#/proc/}"
done
[ "$NODES" -gt 0 ] && ip link del "sr$ID" 2>/dev/null
[ -n "$ID" ] && rm -f "/tmp/secretref-cluster-$ID"
[ ! -e "$S/lock" ] || rm -rf "$S"    # up.sh made it
