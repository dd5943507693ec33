#!/bin/sh
# entrypoint.sh - OpenBao for keeps: renders openbao.hcl from the environment and becomes the server. README.md tells more.
#
#   DATA_DIR        the volume. Default: RAILWAY_VOLUME_MOUNT_PATH, or /openbao/data
#   RUN_DIR         for the rendered configuration and the unseal key; not on the volume. Default: /tmp/openbao-run
#   PORT            of the API. Default 8200; PORT+1 is used on loopback
#   BIND            address to listen on. Default 0.0.0.0; [::] where the private network speaks IPv6
#   PUBLIC_ADDR     what clients call it. Default https://127.0.0.1:PORT
#   TLS_CERT_FILE, TLS_KEY_FILE    its certificate; or
#   TLS_NAMES       DNS:bao.example.com,IP:10.0.0.1 - for a certificate of a CA made at the first start (DATA_DIR/tls/ca.crt).
#                   Default DNS:localhost,IP:127.0.0.1
#   UNSEAL_KEY      32 bytes in hex, or UNSEAL_KEY_FILE with 32 raw bytes: it unseals itself; or
#   SEAL_FILE       HCL with another `seal` (awskms, azurekeyvault, gcpckms, pkcs11, transit). Neither: unsealed by hand
#   ADMIN_PASSWORD, or ADMIN_PASSWORD_FILE    of the user `admin`, made at the first start with a KV version 2 engine at
#                   `secret`. Neither: `bao operator init` by hand
#   AUDIT_FILE      Default stdout
#   BAO             the binary. Default: bao or vault on PATH
set -eu
umask 077
HERE=$(cd "$(dirname "$0")" && pwd)
fail() { echo "entrypoint: $*" >&2; exit 1; }

DATA_DIR=${DATA_DIR:-${RAILWAY_VOLUME_MOUNT_PATH:-/openbao/data}} RUN_DIR=${RUN_DIR:-/tmp/openbao-run}
PORT=${PORT:-8200} BIND=${BIND:-0.0.0.0} AUDIT_FILE=${AUDIT_FILE:-stdout}
PUBLIC_ADDR=${PUBLIC_ADDR:-https://127.0.0.1:$PORT} TLS_NAMES=${TLS_NAMES:-DNS:localhost,IP:127.0.0.1}
case $PORT in *[!0-9]* | '') fail "PORT is no number" ;; esac
BAO=${BAO:-$(command -v bao || command -v vault)} || fail "there is no bao on PATH: set BAO"

mkdir -p "$DATA_DIR" "$RUN_DIR"
# The platform may mount the volume as root's: it is given to the user that serves it.
if [ "$(id -u)" = 0 ] && id openbao > /dev/null 2>&1 && command -v su-exec > /dev/null; then
  chown -R openbao "$DATA_DIR" "$RUN_DIR"
  exec su-exec openbao "$0" "$@"
fi
chmod 700 "$DATA_DIR" "$RUN_DIR"
DATA_DIR=$(cd "$DATA_DIR" && pwd -P) RUN_DIR=$(cd "$RUN_DIR" && pwd -P)
case $RUN_DIR/ in "$DATA_DIR"/*) fail "RUN_DIR is on the volume, where the unseal key would lie beside what it seals" ;; esac

# ---- certificate
if [ -z "${TLS_CERT_FILE:-}" ]; then
  tls=$DATA_DIR/tls
  TLS_CERT_FILE=$tls/server.crt TLS_KEY_FILE=$tls/server.key
  if [ ! -s "$TLS_CERT_FILE" ] || [ "$(cat "$tls/names" 2> /dev/null)" != "$TLS_NAMES" ]; then
    new=$DATA_DIR/tls.new; rm -rf "$new"; mkdir "$new"
    ec='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
    # shellcheck disable=SC2086
    {
      openssl req -x509 $ec -keyout "$new/ca.key" -out "$new/ca.crt" -days 3650 -subj "/CN=openbao ca" \
        -addext keyUsage=critical,keyCertSign,digitalSignature &&
      openssl req $ec -keyout "$new/server.key" -out "$new/server.csr" -subj /CN=openbao &&
      printf 'basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=%s\n' "$TLS_NAMES" > "$new/ext" &&
      openssl x509 -req -in "$new/server.csr" -CA "$new/ca.crt" -CAkey "$new/ca.key" \
        -set_serial "0x$(openssl rand -hex 12)" -days 3650 -out "$new/server.crt" -extfile "$new/ext"
    } 2> "$RUN_DIR/openssl.log" || { cat "$RUN_DIR/openssl.log" >&2; fail "no certificate for TLS_NAMES=$TLS_NAMES"; }
    # It signs nothing else: other names need another CA.
    rm "$new/ca.key" "$new/server.csr" "$new/ext"; printf '%s' "$TLS_NAMES" > "$new/names"
    rm -rf "$tls"; mv "$new" "$tls"
    echo "entrypoint: a new CA, for the clients to trust:" >&2
    cat "$tls/ca.crt" >&2
  fi
fi
[ -s "$TLS_CERT_FILE" ] && [ -s "${TLS_KEY_FILE:-}" ] || fail "TLS_CERT_FILE and TLS_KEY_FILE must both be there"

# ---- seal and first start: files in RUN_DIR, so that neither the environment nor an argument of the server holds a secret
config=$RUN_DIR/openbao.hcl
secret() { rm -f "$RUN_DIR/$1"; cat > "$RUN_DIR/$1"; }
fill() { # NAME: for the right side of sed, within a quoted string
  eval "v=\$$1"
  case $v in *\"* | *'
'*) fail "$1 holds a quote or a line break" ;; esac
  printf 's|@%s@|%s|g\n' "$1" "$(printf '%s' "$v" | sed 's/[\\&|]/\\&/g')"
}
LISTEN=$BIND:$PORT CLUSTER_PORT=$((PORT + 1))
for name in LISTEN CLUSTER_PORT TLS_CERT_FILE TLS_KEY_FILE PUBLIC_ADDR DATA_DIR AUDIT_FILE; do fill "$name"; done > "$RUN_DIR/fill.sed"
sed -f "$RUN_DIR/fill.sed" "$HERE/openbao.hcl" > "$config"

if [ -n "${SEAL_FILE:-}" ]; then
  cat "$SEAL_FILE" >> "$config"
elif [ -n "${UNSEAL_KEY:-}${UNSEAL_KEY_FILE:-}" ]; then
  if [ -n "${UNSEAL_KEY:-}" ]; then
    printf '%s' "$UNSEAL_KEY" | grep -Eqx '[0-9a-fA-F]{64}' || fail "UNSEAL_KEY is not 32 bytes in hex: openssl rand -hex 32"
    printf '%s' "$UNSEAL_KEY" | secret unseal.key
    UNSEAL_KEY_FILE=$RUN_DIR/unseal.key
  fi
  [ -s "$UNSEAL_KEY_FILE" ] || fail "UNSEAL_KEY_FILE is not there"
  case $(cd "$(dirname "$UNSEAL_KEY_FILE")" && pwd -P)/ in
    "$DATA_DIR"/*) fail "UNSEAL_KEY_FILE is on the volume, beside what it seals: put it elsewhere" ;;
  esac
  fill UNSEAL_KEY_FILE > "$RUN_DIR/fill.sed"
  sed -f "$RUN_DIR/fill.sed" >> "$config" <<'H'

seal "static" {
  current_key_id = "k1"
  current_key    = "file://@UNSEAL_KEY_FILE@"
}
H
fi

rm -f "$RUN_DIR/admin.password"    # of a first start that is over
if [ -n "${ADMIN_PASSWORD:-}" ] && [ ! -e "$DATA_DIR/raft/vault.db" ]; then
  printf '%s' "$ADMIN_PASSWORD" | secret admin.password
  ADMIN_PASSWORD_FILE=$RUN_DIR/admin.password
fi
# Initialising by itself needs a server that unseals itself.
if [ -n "${ADMIN_PASSWORD_FILE:-}" ] && [ ! -e "$DATA_DIR/raft/vault.db" ] && grep -q '^seal ' "$config"; then
  [ -s "$ADMIN_PASSWORD_FILE" ] || fail "ADMIN_PASSWORD_FILE is not there"
  fill ADMIN_PASSWORD_FILE > "$RUN_DIR/fill.sed"
  sed -f "$RUN_DIR/fill.sed" >> "$config" <<'H'

initialize "first" {
  request "kv" {
    operation = "update"
    path      = "sys/mounts/secret"
    data      = { type = "kv", options = { version = "2" } }
  }
  request "policy" {
    operation = "update"
    path      = "sys/policies/acl/admin"
    data      = { policy = "path \"*\" { capabilities = [\"create\",\"read\",\"update\",\"delete\",\"list\",\"patch\",\"sudo\"] }" }
  }
  request "userpass" {
    operation = "update"
    path      = "sys/auth/userpass"
    data      = { type = "userpass" }
  }
  request "admin" {
    operation = "update"
    path      = "auth/userpass/users/admin"
    data = {
      token_policies = ["admin"]
      password       = { eval_type = "string", eval_source = "file", path = "@ADMIN_PASSWORD_FILE@" }
    }
  }
}
H
fi
mkdir -p "$DATA_DIR/raft"
rm -f "$RUN_DIR/fill.sed"
unset UNSEAL_KEY ADMIN_PASSWORD
exec "$BAO" server -config="$config"
