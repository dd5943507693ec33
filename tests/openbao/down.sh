#!/usr/bin/env bash
# down.sh STATE_DIR - ends the OpenBao that up.sh started there and removes the directory
set -uo pipefail
S=$(realpath -m "${1:?STATE_DIR}")
[ ! -e "$S/lock" ] || { exec 9> "$S/lock"; flock -w 120 9; }
mine() { { tr '\0' '\n' < "/proc/$1/cmdline"; } 2> /dev/null | grep -qxF -- "-config=$S/openbao.hcl"; }
for d in /proc/[0-9]*; do    # by its command line, so that a lost pid file leaves nothing running
  p=${d#/proc/}
  if mine "$p"; then
    kill -KILL "$p"
    for _ in $(seq 2400); do mine "$p" || break; sleep 0.05; done
  fi
done
[ ! -e "$S/lock" ] || rm -rf "$S"    # up.sh made it
