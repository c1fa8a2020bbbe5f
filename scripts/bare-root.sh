#!/usr/bin/env bash
# What a new user meets: a bare system of Debian or Ubuntu below build-root-SUITE, a clone of the last commit in it, and
# there `make test`. Wants root and debootstrap; takes 15 minutes on two cores.
#   sudo scripts/bare-root.sh bookworm|trixie|jammy|noble
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${1:?a suite is wanted: bookworm, trixie, jammy, noble}
root=$PWD/build-root-$suite
case $suite in
  jammy | noble) mirror=http://archive.ubuntu.com/ubuntu components=main,universe like=jammy ;;
  *) mirror=http://deb.debian.org/debian components=main like=bookworm ;;
esac
script=/usr/share/debootstrap/scripts/$suite
[[ -e $script ]] || script=${script%/*}/$like  # a suite that is newer than this debootstrap
keyring=()
[[ $mirror == *ubuntu && ! -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ]] && keyring=(--no-check-gpg)

# Its /proc is the machine's own: never remove the folder under a mount.
leave() { umount "$root"/{proc,sys,dev} 2>/dev/null || true; }
trap leave EXIT
leave
if [[ ! -e $root/complete ]]; then
  rm -rf --one-file-system "$root"
  debootstrap "${keyring[@]}" --variant=minbase --components=$components "$suite" "$root" "$mirror" "$script"
  if [[ $mirror == *ubuntu ]]; then  # as on a user's machine, where compilers are newer than the libraries
    echo "deb $mirror $suite-updates ${components/,/ }" >> "$root/etc/apt/sources.list"
  fi
  touch "$root/complete"
fi
cp /etc/resolv.conf "$root/etc/"
for folder in proc sys dev; do mount --bind /$folder "$root/$folder"; done
rm -rf "$root/root/lora"
git clone --quiet . "$root/root/lora"
chroot "$root" /root/lora/.ci/run
