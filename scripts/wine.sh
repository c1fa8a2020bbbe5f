#!/usr/bin/env bash
# scripts/wine.sh PROGRAM.exe [ARGUMENT...]: runs a program for Windows under Wine, in a folder of settings of the
# project's own, without Wine's messages and without what it would install for web pages.
set -euo pipefail
export WINEPREFIX=${WINEPREFIX:-$(realpath -m "$(dirname "$0")/../build-windows/wine")}
export WINEDEBUG=${WINEDEBUG:--all} WINEDLLOVERRIDES=${WINEDLLOVERRIDES:-mscoree,mshtml,winemenubuilder.exe,winedbg.exe,explorer.exe=}
export WINEARCH=win64
[[ $(locale charmap) == UTF-8 ]] || export LC_ALL=C.UTF-8  # the names of files are
mkdir -p "${WINEPREFIX%/*}"
find() {
  local name
  for name in "$@"; do command -v "$name" && return; done
  echo "error: wine: not found" >&2
  exit 1
}
wine=$(find /usr/lib/wine/wine64 wine64 wine)
server=$(find /usr/lib/wine/wineserver64 wineserver64 wineserver)
# Wine's services take seconds to start. They stay for half a minute after the last program, and are started by themselves:
# whoever reads what the first program prints would else wait for them to end.
(
  flock 9
  "$server" -p30 9>&- && "$wine" cmd /c exit 9>&-
) 9>"$WINEPREFIX.lock" </dev/null >/dev/null 2>&1 || true
exec "$wine" "$@"
