#!/usr/bin/env bash
# build.sh OUT.tar [NAME:TAG] - the container image as an archive, made without Docker: the static binary, the CA certificates of
# Debian's package, a user without rights, and nothing else. The same source gives the same image.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); ROOT=$(realpath "$HERE/../.."); . "$ROOT/tests/tools/common.sh"
OUT=${1:?OUT.tar}; VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -1)
NAME=${2:-ghcr.io/secretref/secretref:$VERSION}
need python3:python3
[ -d /usr/share/ca-certificates/mozilla ] || once apt install_packages ca-certificates
"$HERE/binary.sh" >&2
t=$(mktemp -d); trap 'rm -rf "$t"' EXIT
cat /usr/share/ca-certificates/mozilla/*.crt > "$t/ca.crt"    # the package's, without what this machine may trust besides
printf 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' > "$t/passwd"
python3 "$HERE/mkimage.py" "$OUT" "$NAME" --file "$ROOT/target/release/secretref:/secretref:0755" \
  --file "$t/ca.crt:/etc/ssl/certs/ca-certificates.crt:0644" --file "$t/passwd:/etc/passwd:0644" \
  --user 65532:65532 --entrypoint '["/secretref"]'
