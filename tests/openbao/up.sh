#!/usr/bin/env bash
# up.sh STATE_DIR - a real OpenBao: TLS with a CA of its own, Raft storage, unsealed by itself, KV version 2 at `secret`,
# every request in STATE_DIR/audit.log. Idempotent, and data outlives a restart. down.sh STATE_DIR undoes it.
# Prints BAO_ADDR=, BAO_CACERT= and BAO_TOKEN= (policy admin) as its last lines.
#
# env (defaults): PORT=18200           the API; PORT+1 is the cluster port
#                 ADDRESS=127.0.0.1    one more address to listen on, so that pods can reach it (the node bridge's)
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
. "$HERE/../tools/common.sh"
state_dir "$1"; mkdir -p "$S"/{bin,raft,tls}; chmod 700 "$S"
if [ -s "$S/env" ]; then . "$S/env"; fi    # a state dir keeps its addresses
: "${PORT:=18200}" "${ADDRESS:=127.0.0.1}"
printf 'PORT=%s\nADDRESS=%s\n' "$PORT" "$ADDRESS" > "$S/env"
need openssl:openssl curl:curl
ln -sf "$("$HERE/../tools/bao.sh")" "$S/bin/bao"

# ---- secrets of this instance, made once
q() { openssl "$@" > "$S/openssl.log" 2>&1 || { cat "$S/openssl.log" >&2; exit 1; }; }
cd "$S"; umask 077
[ -s unseal.key ] || openssl rand -out unseal.key 32
[ -s admin.password ] || openssl rand -hex 16 | tr -d '\n' > admin.password    # a newline would be part of it
[ -s tls/ca.crt ] || q req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout tls/ca.key -out tls/ca.crt -days 3650 \
  -subj "/CN=openbao test ca" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,digitalSignature
if [ ! -s tls/server.crt ]; then
  q req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout tls/server.key -out tls/server.csr -subj /CN=openbao
  q x509 -req -in tls/server.csr -CA tls/ca.crt -CAkey tls/ca.key -set_serial "0x$(openssl rand -hex 12)" -days 3650 -out tls/server.crt \
    -extfile <(echo "basicConstraints=critical,CA:FALSE"; echo "extendedKeyUsage=serverAuth,clientAuth"; echo "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:$ADDRESS")
fi

listener() { # ADDRESS
  cat <<H
listener "tcp" {
  address = "$1:$PORT"
  cluster_address = "$1:$((PORT + 1))"
  tls_cert_file = "$S/tls/server.crt"
  tls_key_file = "$S/tls/server.key"
}
H
}
{
  listener 127.0.0.1
  [ "$ADDRESS" = 127.0.0.1 ] || listener "$ADDRESS"
  cat <<H
api_addr = "https://$ADDRESS:$PORT"
cluster_addr = "https://127.0.0.1:$((PORT + 1))"
storage "raft" {
  path = "$S/raft"
  node_id = "n1"
  performance_multiplier = 1
}
seal "static" {
  current_key_id = "k1"
  current_key = "file://$S/unseal.key"
}
audit "file" "log" {
  options { file_path = "$S/audit.log" }
}
initialize "first" {
  request "kv" {
    operation = "update"
    path = "sys/mounts/secret"
    data = { type = "kv", options = { version = "2" } }
  }
  request "policy" {
    operation = "update"
    path = "sys/policies/acl/admin"
    data = { policy = "path \"*\" { capabilities = [\"create\",\"read\",\"update\",\"delete\",\"list\",\"patch\",\"sudo\"] }" }
  }
  request "userpass" {
    operation = "update"
    path = "sys/auth/userpass"
    data = { type = "userpass" }
  }
  request "admin" {
    operation = "update"
    path = "auth/userpass/users/admin"
    data = { password = "$(< admin.password)", token_policies = ["admin"] }
  }
}
H
} > openbao.hcl

export BAO_ADDR=https://$ADDRESS:$PORT BAO_CACERT=$S/tls/ca.crt
unset BAO_TOKEN BAO_NAMESPACE VAULT_TOKEN VAULT_ADDR VAULT_NAMESPACE VAULT_CACERT
runs() { local p; p=$(cat "$S/pid" 2> /dev/null) && { tr '\0' '\n' < "/proc/$p/cmdline"; } 2> /dev/null | grep -qxF -- "-config=$S/openbao.hcl"; }
taken() { (: < "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
if runs; then
  say "OpenBao runs already"
else
  for p in "$PORT" $((PORT + 1)); do
    for _ in $(seq 600); do taken "$p" || break; sleep 0.1; done    # one that was just killed may hold it for a moment
    ! taken "$p" || { echo "port $p is taken: set PORT" >&2; exit 1; }
  done
  setsid nohup "$S/bin/bao" server -config="$S/openbao.hcl" >> "$S/server.log" 2>&1 < /dev/null 9>&- &
  echo $! > "$S/pid"
fi

SECONDS=0
bao() { "$S/bin/bao" "$@"; }
until curl -fs --cacert "$BAO_CACERT" "$BAO_ADDR/v1/sys/health" > /dev/null &&
  BAO_TOKEN=$(bao write -field=token auth/userpass/login/admin password=- < admin.password 2> login.log) &&
  BAO_TOKEN=$BAO_TOKEN bao read secret/config > /dev/null 2>&1    # the KV engine prepares itself for a moment
do
  # Until the kernel has made a server of it, it does not look like one.
  runs || kill -0 "$(cat pid)" 2> /dev/null || { echo "OpenBao has died:" >&2; tail -n 10 server.log >&2; exit 1; }
  [ $SECONDS -lt 180 ] || { echo "OpenBao is not ready after 180 s:" >&2; tail -n 5 server.log login.log >&2; exit 1; }
  sleep 0.2
done
say "OpenBao ready"
printf 'BAO_ADDR=%s\nBAO_CACERT=%s\nBAO_TOKEN=%s\n' "$BAO_ADDR" "$BAO_CACERT" "$BAO_TOKEN"
