#!/usr/bin/env bash
# Installs what building and testing needs from the distribution: Debian 12/13, Ubuntu 22.04/24.04.
# Asks nothing, and does nothing when all is there. Names of extra lists may follow: arm64, format, fuzz,
# mpi, png, tidy, windows.
# `print` instead prints what building needs, a package a line.
set -euo pipefail

build_packages=(
  g++ make cmake ninja-build pkg-config
  libfmt-dev nlohmann-json3-dev libcli11-dev libhwy-dev libpcre2-dev libutf8proc-dev libzip-dev
  libgtest-dev libgmock-dev libbenchmark-dev
)
[[ ${1:-} == print ]] && { printf '%s\n' "${build_packages[@]}"; exit 0; }
arm64_packages=(g++-aarch64-linux-gnu qemu-user debootstrap fakeroot)
format_packages=(clang-format git)  # git lists the sources
tidy_packages=(clang-tidy)
# dpkg-dev unpacks the sources of libraries; wine64 runs the programs.
windows_packages=(
  clang lld g++-mingw-w64-x86-64-posix mingw-w64-x86-64-dev libz-mingw-w64-dev dpkg-dev googletest wine64 zip
)
mpi_packages=(libopenmpi-dev openmpi-bin)  # several machines work on one run (docs/cluster.md)
png_packages=(librsvg2-dev)  # for `lora plot -o NAME.png`; it brings a hundred packages, half of X11 among them
fuzz_packages=(clang libclang-rt-dev)
# Ubuntu 22.04 has the runtime of libFuzzer and the sanitizers in clang's own packages.
if grep -qs '^VERSION_CODENAME=jammy' /etc/os-release; then fuzz_packages=(clang); fi

wanted=("${build_packages[@]}")
for list in "$@"; do
  case $list in
    arm64) wanted+=("${arm64_packages[@]}") ;;
    format) wanted+=("${format_packages[@]}") ;;
    fuzz) wanted+=("${fuzz_packages[@]}") ;;
    mpi) wanted+=("${mpi_packages[@]}") ;;
    png) wanted+=("${png_packages[@]}") ;;
    tidy) wanted+=("${tidy_packages[@]}") ;;
    windows) wanted+=("${windows_packages[@]}") ;;
    *) echo "error: $list: no such list of packages; there are: arm64, format, fuzz, mpi, png, tidy, windows" >&2; exit 2 ;;
  esac
done

# Nothing can be installed: say what is wanted, and go on if a build may work all the same.
# A library that is missing then is named by CMake.
go_on_without() {
  echo "install-deps: $1; wanted: ${missing[*]}" >&2
  local tool
  for tool in g++ cmake ninja pkg-config; do
    command -v "$tool" >/dev/null || { echo "error: $tool: not found" >&2; exit 1; }
  done
  exit 0
}

missing=("${wanted[@]}")
command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || go_on_without "not an apt system"

# dpkg-query fails when it does not know a package; what it does know it prints all the same.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qxF "$package installed" <<<"$installed" || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  sudo -n true 2>/dev/null || go_on_without "no root rights; run: sudo apt-get install ${missing[*]}"
  as_root=(sudo -n)
fi
apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"
}

echo "install-deps: installing ${missing[*]}" >&2
apt_get update
apt_get install -y --no-install-recommends "${missing[@]}" >/dev/null
