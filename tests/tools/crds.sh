#!/usr/bin/env bash
# crds.sh - writes crds/NAME.yaml and the chart's copies from what `secretref crds` prints
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
cargo run -q --locked -- crds > "$out/all"
awk -v dir="$out" '
  function save() { if (name == "") return; printf "%s", doc > (dir "/" name ".yaml"); name = ""; doc = "" }
  /^---$/ { save(); doc = ""; next }
  /^  name: [a-z]+\.secretref\.dev$/ { split($2, part, "."); name = part[1] }
  { doc = doc $0 "\n" }
  END { save() }' "$out/all"
[ "$(find "$out" -name '*.yaml' | wc -l)" -eq "$(grep -c '^---$' "$out/all")" ] || { echo "a definition without a name" >&2; exit 1; }
for dir in crds charts/secretref/files/crds; do
  mkdir -p "$dir"; rm -f "$dir"/*.yaml; cp "$out"/*.yaml "$dir/"
done
ls crds
