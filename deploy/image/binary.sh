#!/usr/bin/env bash
# binary.sh - builds the release binary, static so that an image needs nothing but it, and leaves it at target/release/secretref
set -euo pipefail
cd "$(dirname "$0")/../.."
host=$(rustc -vV | sed -n 's/^host: //p')
# Only with an explicit --target do the flags leave build scripts and proc macros alone, which cannot be static.
case $host in *-linux-*) export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" ;; esac
cargo build --release --locked --bin secretref --target "$host"
out=$(realpath -m "${CARGO_TARGET_DIR:-target}")/$host/release/secretref
mkdir -p target/release
# compared first, so that what depends on the binary is not made anew for nothing
cmp -s "$out" target/release/secretref || install -m 755 "$out" target/release/secretref
