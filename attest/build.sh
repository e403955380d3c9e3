#!/usr/bin/env bash
# Builds cradle-attest as a static program that runs on any x86-64 Linux.
#
#   attest/build.sh OUT_FILE
#
# Without the musl target of the Rust toolchain the same sources make a larger static program against glibc.
set -euo pipefail

[[ $# -eq 1 ]] || { sed -n '4p' "$0" >&2; exit 2; }
cd "$(dirname "$(readlink -f "$0")")/.."
out=$(realpath -m "$1")
target=x86_64-unknown-linux-musl flags=
libdir=$(rustc --print target-libdir --target "$target" 2>/dev/null || true)
if ! compgen -G "$libdir/libstd-*.rlib" >/dev/null; then
  target=x86_64-unknown-linux-gnu flags="'-Ctarget-feature=+crt-static','-Crelocation-model=static'"
fi
# ring's C needs no C library: the host's compiler does for both.
CC_x86_64_unknown_linux_musl=${CC:-gcc} cargo build --quiet --locked --config "target.$target.rustflags=[$flags]" \
  --profile guest --target "$target" -p attest --bin cradle-attest
install -D -m 755 "$(realpath -m "${CARGO_TARGET_DIR:-target}")/$target/guest/cradle-attest" "$out"
