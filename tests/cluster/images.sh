#!/usr/bin/env bash
# images.sh OUT_DIR - makes the two images that every node has: pause.tar and busybox.tar, both static, from Debian's packages
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); O=$1; . "$HERE/../tools/common.sh"
MK="$HERE/../../deploy/image/mkimage.py"
need python3:python3 gcc:build-essential busybox:busybox-static
! ldd "$(command -v busybox)" > /dev/null 2>&1 || once apt install_packages busybox-static    # the other busybox is not static
t=$(mktemp -d); trap 'rm -rf "$t"' EXIT
cat > "$t/pause.c" <<'C'
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void down(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, NULL, WNOHANG) > 0) {} }
int main(void) {
  struct sigaction a = {.sa_handler = down}, c = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
  sigaction(SIGINT, &a, NULL); sigaction(SIGTERM, &a, NULL); sigaction(SIGCHLD, &c, NULL);
  for (;;) pause();
}
C
gcc -static -Os -s -o "$t/pause" "$t/pause.c"
python3 "$MK" "$O/pause.tar" secretref.local/pause:1 --file "$t/pause:/pause" --entrypoint '["/pause"]' --user 65535:65535
b=$(command -v busybox)
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > "$t/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' > "$t/group"
l=(); for c in $("$b" --list); do [ "$c" = busybox ] || l+=(--link "busybox:/bin/$c"); done
python3 "$MK" "$O/busybox.tar" secretref.local/busybox:1 --file "$b:/bin/busybox" "${l[@]}" --dir /root --dir /home --dir /usr/bin \
  --file "$t/passwd:/etc/passwd:0644" --file "$t/group:/etc/group:0644" --cmd '["sh"]'
