#!/usr/bin/env bash
# Unpacks what building needs, for 64-bit ARM, below the folder FOLDER: this distribution's packages, nothing configured.
#   [ARM64_MIRROR=http://...] scripts/arm64-root.sh FOLDER
set -euo pipefail
folder=${1:?a folder is wanted}

. /etc/os-release
case $ID in
  debian) mirror=http://deb.debian.org/debian ;;
  ubuntu) mirror=http://ports.ubuntu.com/ubuntu-ports ;;
  *) mirror=${ARM64_MIRROR:?"the mirror of $ID for 64-bit ARM is not known"} ;;
esac
packages=$("$(dirname "$0")"/install-deps.sh print | paste -sd,)
contents="$VERSION_CODENAME $packages"
[[ $(cat "$folder/complete" 2>/dev/null) == "$contents" ]] && exit 0

if [[ -e $folder && ! -e $folder/debootstrap ]]; then
  echo "error: $folder: there already, and not made by this script" >&2
  exit 1
fi
rm -rf "$folder"
echo "arm64-root: downloading packages to $folder" >&2
fakeroot debootstrap --arch=arm64 --foreign --variant=minbase --components=main,universe --include="$packages" \
  "$VERSION_CODENAME" "$folder" "${ARM64_MIRROR:-$mirror}" >&2
for package in "$folder"/var/cache/apt/archives/*.deb; do
  # Not dpkg-deb --extract: it would put a folder in the place of the link /lib -> usr/lib.
  dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$folder"
  rm "$package"
done
rm -rf "$folder/dev"  # files in place of devices, which programs would find under QEMU
echo "$contents" > "$folder/complete"
