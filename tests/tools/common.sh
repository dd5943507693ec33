# Sourced by the scripts here: where slow things are kept, and how missing ones come to be.
# Losing the cache only costs time.
shopt -s inherit_errexit
CACHE=${SECRETREF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/secretref}
mkdir -p "$CACHE"

export SECRETREF_T0=${SECRETREF_T0:-$(date +%s%N)}    # the first script began: those it calls count on
say() { awk -v a="$SECRETREF_T0" -v b="$(date +%s%N)" -v m="$*" 'BEGIN { printf "[%5.1fs] %s\n", (b - a) / 1e9, m }' >&2; }

# once NAME CMD...: runs CMD while no other process runs one under the same NAME (the lock goes with the process).
once() {
  local name=$1; shift
  ( flock 8; "$@" 8>&- ) 8> "$CACHE/$name.lock"
}

# need COMMAND:PACKAGE...: installs the Debian packages of the commands (or absolute paths) that are missing.
need() {
  local miss=() c
  for c in "$@"; do
    command -v "${c%%:*}" > /dev/null || miss+=("${c#*:}")
  done
  [ ${#miss[@]} -eq 0 ] || once apt install_packages "${miss[@]}"
}
install_packages() {
  say "installing $*"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } > "$CACHE/apt.log" 2>&1 ||
    { tail -n 20 "$CACHE/apt.log" >&2; return 1; }
}

# ensure DIR BUILD...: prints DIR. If it is not there, BUILD makes it, called with an empty directory as its last
# argument; it gets its name only when BUILD has succeeded, so what is there is complete.
ensure() {
  local dir=$1; shift
  [ -d "$dir" ] || once "$(basename "$dir")" fill "$dir" "$@" >&2
  echo "$dir"
}
fill() {
  local dir=$1; shift
  [ ! -d "$dir" ] || return 0    # another process made it while this one waited
  rm -rf "$dir.new"; mkdir -p "$dir.new"
  "$@" "$dir.new"
  mv "$dir.new" "$dir"
}

# key FILE...: a short name for exactly these contents
key() { cat "$@" | sha256sum | head -c 12; }

# state_dir DIR: makes it, sets S to its full path and locks it (descriptor 9) until this script ends. It must be new, empty or
# a state directory: down.sh removes it whole.
state_dir() {
  mkdir -p "$1"; S=$(cd "$1" && pwd)
  [ -e "$S/lock" ] || [ -z "$(ls -A "$S")" ] || { echo "$S is neither empty nor a state directory" >&2; exit 2; }
  exec 9> "$S/lock"; flock 9
}
