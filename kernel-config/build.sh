#!/usr/bin/env bash
# Build one kernel from source, or take it from the cache.
#
#   build.sh guest OUTDIR     the kernel of pods: base.config, then guest.config, and the patches
#   build.sh snp OUTDIR       the kernel of SNP guests: base.config, then snp.config
#   build.sh lab OUTDIR       the kernel of the KVM lab's host: base.config, then lab.config, and lab-patches
#
# Leaves OUTDIR/vmlinux (uncompressed, stripped), or OUTDIR/bzImage of an SNP
# guest, and OUTDIR/release (what `uname -r` prints), each renamed into place.
# The same inputs give the same bytes in any directory.
#
#   KERNEL_SRC   a kernel source directory (clean) or tarball; default: the
#                one of Debian's package linux-source-6.12
#   JOBS         parallel compilers; default: the number of processors
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cradle/kernel

say() { echo "kernel: $*" >&2; }
fail() { say "$*"; exit 1; }

# The fragments of a variant, without comments; of an option named twice the later line holds.
fragment() {
  local files=("$here/base.config" "$here/$1.config")
  sed 's/[[:space:]]*#.*//; /^$/d' "${files[@]}" | awk -F= '{ value[$1] = $0; if (!seen[$1]++) order[++n] = $1 } END { for (i = 1; i <= n; i++) print value[order[i]] }'
}

# What changes the source of a variant: the patches, in the order of their names, and the functions that a pod's boot runs.
changes() {
  case $1 in
    guest) printf '%s\n' "$here"/patches/*.patch "$here/boot-text.lds" ;;
    lab) printf '%s\n' "$here"/lab-patches/*.patch ;;
  esac
}

# Applies them to a source directory. A patch that does not fit, or only with fuzz, stops the build.
apply_changes() {
  local variant=$1 source=$2 file
  while read -r file; do
    case $file in
      *.patch)
        patch --directory="$source" --strip=1 --force --fuzz=0 --silent --no-backup-if-mismatch <"$file" ||
          fail "${file##*/} does not fit this source" ;;
      *) cp "$file" "$source/arch/x86/kernel/" ;;
    esac
  done < <(changes "$variant")
}

# The recipe, from a source directory and a fragment to build/vmlinux. Its text
# is part of the cache key; it sees nothing of the caller's environment.
recipe() {
  local source=$1 fragment=$2 build=$3 jobs=$4 map make
  map="-ffile-prefix-map=$source/= -ffile-prefix-map=$build/="
  make=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C TZ=UTC
    KBUILD_BUILD_TIMESTAMP='2024-11-17 00:00:00 UTC' KBUILD_BUILD_USER=cradle KBUILD_BUILD_HOST=cradle KBUILD_BUILD_VERSION=1
    make -C "$source" O="$build" ARCH=x86_64 KCFLAGS="$map" KAFLAGS="$map" --no-print-directory -s)
  "${make[@]}" KCONFIG_ALLCONFIG="$fragment" allnoconfig &&
    assert_config "$fragment" "$build/.config" &&
    "${make[@]}" -j"$jobs" vmlinux &&
    "${make[@]}" kernelrelease >"$build/release" &&
    strip --strip-all --remove-section=.comment -o "$build/vmlinux.stripped" "$build/vmlinux"
}

# What comes after it for an SNP guest: build/bzImage.stripped, which is vmlinux with the code that unpacks it.
compress() {
  local source=$1 build=$2 jobs=$3 map
  map="-ffile-prefix-map=$source/= -ffile-prefix-map=$build/="
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C TZ=UTC \
    KBUILD_BUILD_TIMESTAMP='2024-11-17 00:00:00 UTC' KBUILD_BUILD_USER=cradle KBUILD_BUILD_HOST=cradle KBUILD_BUILD_VERSION=1 \
    make -C "$source" O="$build" ARCH=x86_64 KCFLAGS="$map" KAFLAGS="$map" --no-print-directory -s -j"$jobs" bzImage &&
    cp "$build/arch/x86/boot/bzImage" "$build/bzImage.stripped"
}

# The file that a monitor enters.
image() {
  if [[ $1 == snp ]]; then echo bzImage; else echo vmlinux; fi
}

# Fails, naming each option of the fragment that Kconfig did not take as asked.
assert_config() {
  awk -F= '
    FNR == NR { asked[$1] = $0; next }
    /^CONFIG_/ { got[$1] = $0 }
    END {
      for (name in asked) {
        wanted = asked[name] ~ /=n$/ ? "" : asked[name]
        if (got[name] != wanted) { print "not taken: " asked[name] " (is: " (got[name] ? got[name] : "off") ")"; bad = 1 }
      }
      exit bad
    }' "$1" "$2"
}

find_source() {
  local candidate
  for candidate in ${KERNEL_SRC:+"$KERNEL_SRC"} /usr/src/linux-source-6.12.tar.{xz,bz2,gz}; do
    [[ -e $candidate ]] && { realpath "$candidate"; return; }
    [[ $candidate == "${KERNEL_SRC:-}" ]] && fail "KERNEL_SRC=$candidate does not exist"
  done
  fail "no kernel source: install Debian's linux-source-6.12 or set KERNEL_SRC to a directory or tarball"
}

# A digest of the source: the tarball's, or that of all files of a directory.
source_digest() {
  if [[ -d $1 ]]; then
    (cd "$1" && find . -name .git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum) | sha256sum | cut -c1-64
  else
    sha256sum "$1" | cut -c1-64
  fi
}

check_tools() {
  local tool missing=()
  for tool in gcc make flex bison bc xz strip patch; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  [[ -e /usr/include/gelf.h ]] || missing+=(gelf.h)
  [[ ${#missing[@]} -eq 0 ]] || fail "missing ${missing[*]}: apt-get install build-essential flex bison bc xz-utils libelf-dev"
}

# Builds in a scratch folder of the cache and renames the result to its place.
# Runs in a subshell, whose end removes the scratch folder.
build() (
  local variant=$1 source=$2 fragment=$3 entry=$4 log
  check_tools
  find "$cache" -maxdepth 1 -name 'build.*' -mmin +600 -exec rm -rf {} +
  work=$(mktemp -d "$cache/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  log=$cache/$variant.log
  say "building the $variant kernel (about 6 minutes on two processors; log: $log)"
  mkdir "$work/source"
  # Graphics drivers are a sixth of the source and nothing here uses them.
  if [[ -d $source ]]; then
    tar -C "$source" --exclude='./drivers/gpu/drm/*.[ch]' --exclude=./.git -cf - . | tar -C "$work/source" -xf -
  else
    tar -C "$work/source" --strip-components=1 --exclude='*/drivers/gpu/drm/*.[ch]' -xf "$source"
  fi
  source=$work/source
  apply_changes "$variant" "$source"
  mkdir "$work/build" "$work/done"
  echo "$fragment" >"$work/fragment"
  {
    recipe "$source" "$work/fragment" "$work/build" "${JOBS:-$(nproc)}" &&
      if [[ $variant == snp ]]; then compress "$source" "$work/build" "${JOBS:-$(nproc)}"; fi
  } >"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; fail "the $variant kernel does not build; whole log: $log"; }
  mv "$work/build/$(image "$variant").stripped" "$work/done/$(image "$variant")"
  mv "$work/build/release" "$work/build/.config" "$work/build/System.map" "$work/done/"
  mv "$work/done/.config" "$work/done/config"
  rm -rf "$entry"
  mv "$work/done" "$entry"
  say "built $(cat "$entry/release") in $SECONDS s: $entry"
)

# Puts a file in place by rename: a running VM may have the old one mapped.
place() {
  cmp -s "$1" "$2" && return
  cp "$1" "$2.new.$$"
  mv "$2.new.$$" "$2"
}

[[ $# -eq 2 && $1 =~ ^(guest|snp|lab)$ ]] || { sed -n '2,16p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
variant=$1 out=$2
mkdir -p "$cache" "$out"
source=$(find_source)
fragment=$(fragment "$variant")
key=$({ source_digest "$source"; echo "$fragment"; changes "$variant" | tr '\n' '\0' | xargs -0r cat; declare -f recipe; [[ $variant != snp ]] || declare -f compress; gcc --version; ld --version; } | sha256sum | cut -c1-24)
entry=$cache/$variant-$key
exec 9>"$cache/$variant.lock"
flock 9
image=$(image "$variant")
[[ -e $entry/$image ]] || build "$variant" "$source" "$fragment" "$entry"
place "$entry/$image" "$out/$image"
place "$entry/release" "$out/release"
