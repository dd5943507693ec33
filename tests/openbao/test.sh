#!/usr/bin/env bash
# test.sh - OpenBao on two addresses over TLS, data that outlives a kill, an audit file, and nothing left afterwards
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); T=$(mktemp -d); S=$T/bao
trap '"$HERE/down.sh" "$S"; rm -rf "$T"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
up() { PORT=18290 ADDRESS=127.0.0.2 "$HERE/up.sh" "$S" > "$T/out" && set -a && . "$T/out" && set +a; }

up
[ "$(sed 's/=.*//' "$T/out" | xargs)" = "BAO_ADDR BAO_CACERT BAO_TOKEN" ] || fail "printed $(sed 's/=.*//' "$T/out" | xargs)"
"$S/bin/bao" kv put -mount=secret acme--db-password value=not-shown > /dev/null
for a in 127.0.0.1 127.0.0.2; do
  BAO_ADDR=https://$a:18290 "$S/bin/bao" kv get -mount=secret acme--db-password > /dev/null || fail "not served on $a"
done
! curl -fs "$BAO_ADDR/v1/sys/health" > /dev/null 2>&1 || fail "served with a certificate that everybody trusts"

p=$(cat "$S/pid"); kill -KILL "$p"
for _ in $(seq 1200); do { tr '\0' ' ' < "/proc/$p/cmdline"; } 2> /dev/null | grep -q . || break; sleep 0.1; done    # it ends when its disk has answered
up
[ "$("$S/bin/bao" kv get -mount=secret -field=value acme--db-password)" = not-shown ] || fail "data lost"
grep -q 'secret/data/acme--db-password' "$S/audit.log" || fail "no audit entry"
! grep -q not-shown "$S/audit.log" || fail "a value in the audit log"

p=$(cat "$S/pid"); "$HERE/down.sh" "$S"
for _ in $(seq 1200); do [ -e "/proc/$p" ] || break; sleep 0.1; done
[ ! -e "$S" ] && [ ! -e "/proc/$p" ] || fail "something is left"
echo "tests/openbao: TLS on two addresses, data kept over a kill, audited, no trace left"
