#!/usr/bin/env bash
# cargo-deny.sh - prints the path of cargo-deny
set -euo pipefail
. "$(dirname "$0")/common.sh"
V=0.20.2
install() { env -u CARGO_TARGET_DIR cargo install -q --locked --no-track --root "$1" "cargo-deny@$V"; }
echo "$(ensure "$CACHE/cargo-deny-$V" install)/bin/cargo-deny"
