#!/usr/bin/env bash
# test.sh - the persistent OpenBao from its entrypoint on loopback: initialised and unsealed by itself, verified TLS, data that
# outlives a kill, nothing world-readable, no secret in arguments, environment or logs; and the server for a laptop
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
BAO=$("$HERE/../../tests/tools/bao.sh"); export BAO
T=$(mktemp -d); P=
trap '[ -z "$P" ] || kill -KILL "$P" 2> /dev/null || true; rm -rf "$T"' EXIT
fail() { echo "FAILED: $*" >&2; tail -n 5 "$T/log" >&2 || true; exit 1; }
unset VAULT_ADDR VAULT_TOKEN VAULT_CACERT BAO_TOKEN BAO_NAMESPACE
umask 022    # a careless platform's

KEY=$(openssl rand -hex 32) PASSWORD=not-shown-$(openssl rand -hex 8)
export BAO_ADDR=https://127.0.0.1:18294 BAO_CACERT=$T/data/tls/ca.crt
start() { # NAME=VALUE...
  env PORT=18294 BIND=127.0.0.1 DATA_DIR="$T/data" RUN_DIR="$T/run" "$@" "$HERE/entrypoint.sh" >> "$T/log" 2>&1 &
  P=$!
}
up() {
  start "$@"
  for _ in $(seq 600); do
    ! "$BAO" status > "$T/status" 2>&1 || return 0
    kill -0 "$P" 2> /dev/null || fail "it has died"
    sleep 0.2
  done
  fail "not ready and unsealed after two minutes: $(cat "$T/status")"
}
down() { kill -KILL "$P" 2> /dev/null || true; wait "$P" 2> /dev/null || true; P=; }
# Unsealed it is not yet active, and the KV engine prepares itself for a moment.
until_it() { # CMD...
  for _ in $(seq 600); do ! "$@" > /dev/null 2>&1 || return 0; sleep 0.2; done
  return 1
}
keeps() { [ "$("$BAO" kv get -mount=secret -field=value acme--a)" = not-shown-value ]; }
log_in() { BAO_TOKEN=$(printf '%s' "$PASSWORD" | "$BAO" write -field=token auth/userpass/login/admin password=-) && export BAO_TOKEN; }
refused() { # PART NAME=VALUE...: it says why and does not start
  local part=$1; shift
  ! env PORT=18294 DATA_DIR="$T/data" RUN_DIR="$T/run" "$@" "$HERE/entrypoint.sh" > "$T/refused" 2>&1 || fail "started with $*"
  grep -q "$part" "$T/refused" || fail "no \"$part\" in: $(cat "$T/refused")"
}

up UNSEAL_KEY="$KEY" ADMIN_PASSWORD="$PASSWORD"
until_it log_in || fail "no login as admin"    # the first start makes the user
until_it "$BAO" kv put -mount=secret acme--a value=not-shown-value || fail "nothing can be written"
keeps || fail "nothing kept"
! curl -s "$BAO_ADDR/v1/sys/health" > /dev/null 2>&1 || fail "served with a certificate that everybody trusts"
curl -fs --cacert "$BAO_CACERT" "$BAO_ADDR/v1/sys/health" > /dev/null || fail "TLS not verified by its CA"
! curl -s --cacert "$BAO_CACERT" --connect-to other.example:18294:127.0.0.1:18294 https://other.example:18294/v1/sys/health > /dev/null ||
  fail "its certificate serves any name"
[ ! -e "$T/data/tls/ca.key" ] || fail "the CA's key is kept"

# What others on the machine, or whoever reads the logs, could see.
seen() { tr '\0' '\n' < "/proc/$P/cmdline"; tr '\0' '\n' < "/proc/$P/environ"; cat "$T/log"; }
for secret in "$KEY" "$PASSWORD" not-shown-value "$BAO_TOKEN"; do
  ! seen | grep -qF "$secret" || fail "a secret in its arguments, environment or log"
done
! grep -rqF -e "$KEY" -e "$PASSWORD" "$T/data" || fail "a secret on the volume"
! grep -qF -e "$KEY" -e "$PASSWORD" "$T/run/openbao.hcl" || fail "a secret in the configuration"
open=$(find "$T/data" "$T/run" -perm /077 -not -type l)
[ -z "$open" ] || fail "others may read $open"

before=$(cat "$BAO_CACERT")
down
up UNSEAL_KEY="$KEY"    # the password is for the first start only
until_it keeps || fail "data lost over a kill"
until_it log_in || fail "the user is lost"
[ "$before" = "$(cat "$BAO_CACERT")" ] || fail "another CA after a restart"
down

# The key from a file, and a wrong one.
printf '%s' "$KEY" | sed 's/../\\x&/g' | xargs -0 printf '%b' > "$T/key"
up UNSEAL_KEY_FILE="$T/key"
until_it keeps || fail "data lost with the key from a file"
down
start UNSEAL_KEY="$(openssl rand -hex 32)"
sleep 3
! "$BAO" kv get -mount=secret acme--a > /dev/null 2>&1 || fail "unsealed with a wrong key"
down

cp "$T/key" "$T/data/key"
refused "on the volume" UNSEAL_KEY_FILE="$T/data/key"
rm "$T/data/key"
refused "on the volume" UNSEAL_KEY="$KEY" RUN_DIR="$T/data/run"
refused "32 bytes in hex" UNSEAL_KEY=not-shown
! grep -q not-shown "$T/refused" || fail "a refused key is shown"
refused "PORT is no number" PORT=x
refused "must both be there" TLS_CERT_FILE=/no/such

# The one for a laptop.
PORT=18296 "$HERE/dev.sh" > "$T/dev" 2> "$T/log" &
P=$!
for _ in $(seq 1200); do [ "$(grep -c export "$T/dev" 2> /dev/null)" != 2 ] || break; sleep 0.1; done
. "$T/dev"
until_it "$BAO" kv put -mount=secret acme--a value=x || fail "the dev server takes nothing"
[ "$("$BAO" kv get -mount=secret -field=value acme--a)" = x ] || fail "the dev server keeps nothing"
! tr '\0' '\n' < "/proc/$P/cmdline" | grep -qF "$BAO_TOKEN" || fail "the token is an argument"
down
echo "deploy/vault: initialised and unsealed by itself, TLS verified, data kept over a kill, no secret to be seen"
