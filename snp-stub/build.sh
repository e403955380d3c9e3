#!/usr/bin/env bash
# Builds the stub of SNP guests, a flat image that the launch measures: the same source and compiler make the same bytes.
#
#   snp-stub/build.sh FILE
#
# The compiler is called without cargo and sees nothing of the caller's environment, nor where the source lies.
set -euo pipefail

[[ $# -eq 1 ]] || { sed -n '4p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
compiler=$(cd "$here" && rustc --print sysroot)/bin/rustc
out=$(realpath -m "$1")
target=x86_64-unknown-none
compgen -G "$("$compiler" --print target-libdir --target $target)/libcore-*.rlib" >/dev/null ||
  { echo "build.sh: no target $target: run \`rustup target add $target\`" >&2; exit 1; }

mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$(dirname "$out")/.stub.XXXXXX")
trap 'rm -rf "$work"' EXIT
build() {
  (cd "$here" && env -i PATH="$PATH" "$compiler" --edition 2024 --target $target -Copt-level=3 -Clto=fat -Ccodegen-units=1 \
    -Cpanic=abort -Cforce-unwind-tables=no -Crelocation-model=static -Cstrip=symbols -Cmetadata=cradle \
    --remap-path-prefix "$here=/snp-stub" --remap-path-prefix "$work=/build" "$@")
}
build --crate-name snp_stub --crate-type lib -o "$work/libsnp_stub.rlib" src/lib.rs
build --crate-name stub --crate-type bin --extern "snp_stub=$work/libsnp_stub.rlib" -Clink-arg=-Tstub.ld \
  -Clink-arg=--oformat=binary -o "$work/stub" src/main.rs
chmod 644 "$work/stub"
mv "$work/stub" "$out"
