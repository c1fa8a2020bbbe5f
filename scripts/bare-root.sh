#!/usr/bin/env bash
# What a new user meets: a bare system of Debian or Ubuntu below build-root-SUITE, a clone of the last commit in it, and
# there .ci/run, or the targets of make that are given, timed. Wants root and debootstrap.
#   sudo scripts/bare-root.sh bookworm|trixie|jammy|noble [TARGET...]
#   sudo scripts/bare-root.sh bookworm windows windows-test windows-dist
set -euo pipefail
# The mounts below are seen by this script alone, and end with it: nobody deletes through them.
[[ ${OWN_MOUNTS:-} ]] || OWN_MOUNTS=1 exec unshare --mount "$0" "$@"
cd "$(dirname "$0")/.."
suite=${1:?a suite is wanted: bookworm, trixie, jammy, noble}
root=$PWD/build-root-$suite
case $suite in
  jammy | noble) mirror=http://archive.ubuntu.com/ubuntu components=main,universe like=jammy ;;
  bookworm | trixie) mirror=http://deb.debian.org/debian components=main like=bookworm ;;
  *) echo "error: $suite: not a suite that is supported; there are: bookworm, trixie, jammy, noble" >&2; exit 2 ;;
esac
script=/usr/share/debootstrap/scripts/$suite
[[ -e $script ]] || script=${script%/*}/$like  # a suite that is newer than this debootstrap
keyring=()
[[ $mirror == *ubuntu && ! -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ]] && keyring=(--no-check-gpg)
[[ ${keyring[*]} ]] && echo "warning: no keyring of Ubuntu here, so its packages' signatures are not checked" >&2

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
if (($# == 1)); then
  chroot "$root" /root/lora/.ci/run
  exit
fi
# A bare machine has no make, and no settings.
# shellcheck disable=SC2016
chroot "$root" /usr/bin/env -i PATH="$PATH" HOME=/root bash -euc '
  cd ~/lora
  scripts/install-deps.sh
  for target in "$@"; do
    begin=$SECONDS
    make "$target"
    echo "bare-root: make $target: $((SECONDS - begin)) s"
  done' bare-root "${@:2}"
