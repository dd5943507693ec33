#!/usr/bin/env bash
# pyyaml.sh - prints what PYTHONPATH must hold for the python3 on PATH to have PyYAML (nothing if it has it)
set -euo pipefail
. "$(dirname "$0")/common.sh"
V=6.0.3
need python3:python3
! python3 -c 'import yaml' 2> /dev/null || exit 0
python3 -m pip --version > /dev/null 2>&1 || once apt install_packages python3-pip
install() { python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-deps --target "$1" "pyyaml==$V"; }
ensure "$CACHE/pyyaml-$V-$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" install
