#!/usr/bin/env bash
# promtool.sh - prints the path of promtool, from the Debian package prometheus (its server is neither started nor enabled)
set -euo pipefail
. "$(dirname "$0")/common.sh"
V=2.42
# Taken out of the package, not installed: the package would start a server.
install() { (cd "$1" && apt-get download prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool && rm prometheus_*.deb); }
if command -v promtool > /dev/null; then command -v promtool; exit 0; fi
if [ ! -d "$CACHE/promtool-$V" ]; then
  apt-cache show prometheus > /dev/null 2>&1 || once apt apt-get update -qq > /dev/null
fi
echo "$(ensure "$CACHE/promtool-$V" install)/usr/bin/promtool"
