#!/usr/bin/env bash
# Builds guest-init and writes a runtime package: kernel, initramfs, cradle.json.
#
#   guest-init/pack.sh KERNEL_DIR OUT_DIR [STUB]
#
# KERNEL_DIR holds vmlinux and release, as kernel-config/build.sh leaves them; with a STUB it holds a bzImage instead, and the
# package is one for SNP guests (docs/snp.md). The same inputs make the same
# bytes: the initramfs has fixed times, owners and inode numbers. Files are replaced by rename, because
# running pods map them.
set -euo pipefail

[[ $# -eq 2 || $# -eq 3 ]] || { sed -n '4p' "$0" >&2; exit 2; }
kernel=$1 out=$2 stub=${3:-}
image=vmlinux make=kernel
[[ -z $stub ]] || image=bzImage make='VARIANT=snp kernel'
here=$(cd "$(dirname "$0")" && pwd)
[[ -f $kernel/$image && -f $kernel/release ]] || { echo "pack.sh: no kernel in $kernel: run \`make $make\`" >&2; exit 1; }

# With frame pointers, tables for unwinding need not tell each push: 45 KB less. Without the musl target the same
# sources make a larger static binary against glibc, which no limit holds for.
target=x86_64-unknown-linux-musl rustflags="'-Clink-arg=-Wl,-z,pack-relative-relocs','-Cforce-frame-pointers=yes'" limit=$((2 << 20))
libdir=$(rustc --print target-libdir --target "$target" 2>/dev/null || true)
if ! compgen -G "$libdir/libstd-*.rlib" >/dev/null; then
  target=x86_64-unknown-linux-gnu rustflags="'-Ctarget-feature=+crt-static','-Crelocation-model=static'" limit=
fi
flags=(--config "target.$target.rustflags=[$rustflags]")
(cd "$here/.." && cargo build --quiet --locked "${flags[@]}" --profile guest --target "$target" -p guest-init)
target_dir=$(cd "$here/.." && realpath -m "${CARGO_TARGET_DIR:-target}")
binary=$target_dir/$target/guest/guest-init
size=$(stat -c %s "$binary")
[[ $size -le ${limit:-$size} ]] || { echo "pack.sh: guest-init has $size bytes, and $limit are promised (docs/promises.md)" >&2; exit 1; }

mkdir -p "$out"
work=$(mktemp -d "$out/.pack.XXXXXX")
trap 'rm -rf "$work"' EXIT

# entry NAME MODE [FILE | MAJOR MINOR]: one entry of a newc archive (cpio(5)). Written here, because device nodes
# in an archive made by cpio would take root to make. A file's content begins at a page's start, behind a name filled up
# with NULs: the kernel then need not copy it.
inode=0 offset=0
entry() {
  local name=$1 mode=$2 size=0 major=0 minor=0 length=$((${#1} + 1))
  [[ $# -eq 3 ]] && size=$(stat -c %s "$3") && length=$((length + (8192 - (offset + 110 + length) % 4096) % 4096))
  [[ $# -eq 4 ]] && major=$3 minor=$4
  inode=$((inode + 1))
  printf '070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x' "$inode" "$((8#$mode))" 0 0 1 0 "$size" 0 0 \
    "$major" "$minor" "$length" 0
  printf '%s' "$name"
  head -c $((length - ${#name})) /dev/zero
  pad $((110 + length))
  [[ $# -eq 3 ]] && cat "$3" && pad "$size"
  offset=$((offset + (110 + length + 3) / 4 * 4 + (size + 3) / 4 * 4))
  return 0
}
# pad SIZE: zeros up to a multiple of four.
pad() { head -c $(((4 - $1 % 4) % 4)) /dev/zero; }
{
  entry dev 040755
  # The kernel opens the console for PID 1; where there is none, Rust's start-up code opens null instead.
  entry dev/console 020600 5 1
  entry dev/kmsg 020600 1 11
  entry dev/null 020666 1 3
  entry init 0100755 "$binary"
  entry root 040755
  entry 'TRAILER!!!' 0
} >"$work/initramfs"
release=$(<"$kernel/release")
install -m 644 "$kernel/$image" "$work/$image"
files=("$image" initramfs)
json=$(printf '"kernel":{"kernel":"%s","initrd":"initramfs","release":"%s"}' "$image" "$release")
if [[ -z $stub ]]; then
  printf '{"version":3,"machine":"default",%s}\n' "$json" >"$work/cradle.json"
else
  # What is measured, so it is the same for all pods, whatever their disks and processors. Of the options of other guests
  # (vmm/src/boot/cmdline.rs) those that hold here as well; guest-init starts the other processors.
  line='loglevel=1 earlyprintk=ttyS0,115200,keep panic=-1 reboot=k rootfstype=ramfs maxcpus=1 pci=off'
  install -m 644 "$stub" "$work/stub"
  files+=(stub)
  digest() { sha256sum "$work/$1" | cut -c1-64; }
  printf '{"version":3,"machine":"snp",%s,"snp":{"stub":"stub","commandLine":"%s","digests":{"kernel":"%s","initrd":"%s","stub":"%s"}}}\n' \
    "$json" "$line" "$(digest "$image")" "$(digest initramfs)" "$(digest stub)" >"$work/cradle.json"
fi
chmod 644 "$work/initramfs" "$work/cradle.json"
# cradle.json last: it makes the package whole.
for file in "${files[@]}" cradle.json; do mv "$work/$file" "$out/$file"; done
rm -f "$out/release"
