#!/usr/bin/env bash
# dev.sh - OpenBao for a laptop: in memory, on loopback, without TLS, unsealed, KV version 2 at `secret`. Ctrl-C ends it, and its
# data with it. In another terminal: eval the two lines that it prints first.
#
# env (defaults): PORT=8200    BAO=bao or vault on PATH, else the one of tests/tools/bao.sh
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PORT=${PORT:-8200}
BAO=${BAO:-$(command -v bao || command -v vault || "$HERE/../../tests/tools/bao.sh")}
# Not an argument: those are everybody's to see.
BAO_DEV_ROOT_TOKEN_ID=${BAO_DEV_ROOT_TOKEN_ID:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}
export BAO_DEV_ROOT_TOKEN_ID VAULT_DEV_ROOT_TOKEN_ID=$BAO_DEV_ROOT_TOKEN_ID
echo "export BAO_ADDR=http://127.0.0.1:$PORT VAULT_ADDR=http://127.0.0.1:$PORT"
echo "export BAO_TOKEN=$BAO_DEV_ROOT_TOKEN_ID VAULT_TOKEN=$BAO_DEV_ROOT_TOKEN_ID"
exec "$BAO" server -dev -dev-no-store-token -dev-listen-address="127.0.0.1:$PORT" > /dev/null
