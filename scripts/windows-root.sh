#!/usr/bin/env bash
# Lays the libraries that building for Windows needs below the folder FOLDER, built static by cmake/windows.cmake's
# compiler from this distribution's own source packages, in the versions that are installed here.
#   scripts/windows-root.sh FOLDER [tests]
# `tests`: what the tests need, too. What is there already is left as it is.
set -euo pipefail
folder=$(realpath -m "${1:?a folder is wanted}")
cd "$(dirname "$0")/.."

# PACKAGE (installed here: its source and version are taken), then what CMake is told.
libraries=(
  "libfmt-dev -DFMT_TEST=OFF -DFMT_DOC=OFF"
  "libhwy-dev -DHWY_ENABLE_CONTRIB=OFF -DHWY_ENABLE_EXAMPLES=OFF -DHWY_ENABLE_TESTS=OFF -DBUILD_TESTING=OFF"
  "libpcre2-dev -DPCRE2_BUILD_PCRE2GREP=OFF -DPCRE2_BUILD_TESTS=OFF -DPCRE2_SUPPORT_UNICODE=ON -DPCRE2_SUPPORT_JIT=ON"
  "libutf8proc-dev"
  "libzip-dev -DENABLE_BZIP2=OFF -DENABLE_LZMA=OFF -DENABLE_ZSTD=OFF -DENABLE_COMMONCRYPTO=OFF -DENABLE_GNUTLS=OFF
   -DENABLE_MBEDTLS=OFF -DENABLE_OPENSSL=OFF -DENABLE_WINDOWS_CRYPTO=OFF -DBUILD_TOOLS=OFF -DBUILD_REGRESS=OFF
   -DBUILD_EXAMPLES=OFF -DBUILD_DOC=OFF"
)
case ${2:-} in
  '') ;;
  tests) libraries+=("googletest") ;;
  *) echo "error: $2: neither nothing nor tests" >&2; exit 2 ;;
esac
header_packages=(nlohmann-json3-dev libcli11-dev)

source_of() { dpkg-query -W -f '${source:Package}=${source:Version}' "$1"; }
# Its first line is how they are built, each other a source that has been.
complete=$folder/complete
key=$(sha256sum cmake/windows.cmake "$0" | sha256sum)
if [[ $(head -1 "$complete" 2>/dev/null) != "$key" ]]; then
  if [[ -e $folder && ! -e $folder/made-by-windows-root ]]; then
    echo "error: $folder: there already, and not made by this script" >&2
    exit 1
  fi
  rm -rf "$folder"
  mkdir -p "$folder"/{include,sources}
  touch "$folder/made-by-windows-root"
  echo "$key" > "$complete"
fi
is_complete() { grep -qxF "$1" "$complete"; }
missing=()
for library in "${libraries[@]}"; do is_complete "$(source_of "${library%% *}")" || missing+=("$library"); done
for package in "${header_packages[@]}"; do
  source=$(source_of "$package")
  is_complete "$source" && continue
  dpkg -L "$package" | sed -nE 's:^/usr/((include|share/cmake|lib/cmake)/.*):\1:p' |
    tar -C /usr --no-recursion -T - -cf - | tar -C "$folder" -xf -
  echo "$source" >> "$complete"
done
((${#missing[@]})) || exit 0
rm -rf "$folder"/{apt,build}
mkdir -p "$folder"/{apt/lists/partial,build}
log=$folder/build/log

# What clang expects below a root: the C library under its target's name, GCC's libraries under their version's.
gcc=x86_64-w64-mingw32-g++-posix
version=$("$gcc" -dumpversion)
mkdir -p "$folder/lib/gcc/x86_64-w64-mingw32"
ln -sfn /usr/x86_64-w64-mingw32 "$folder/x86_64-w64-mingw32"
ln -sfn "$(dirname "$("$gcc" -print-libgcc-file-name)")" "$folder/lib/gcc/x86_64-w64-mingw32/${version%%-*}"

# The system's own lists of packages, of sources this time, in a folder of their own; apt checks their signatures.
sources() {
  local list
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [[ -e $list ]] && sed -n 's/^deb /deb-src /p' "$list" >> "$folder/apt/sources.list"
  done
  mkdir -p "$folder/apt/sources.list.d"
  for list in /etc/apt/sources.list.d/*.sources; do
    [[ -e $list ]] && sed 's/^Types:.*/Types: deb-src/' "$list" > "$folder/apt/sources.list.d/${list##*/}"
  done
  touch "$folder/apt/sources.list"
}
apt_do() {
  local program=$1
  shift
  "$program" -o Dir::Etc::SourceList="$folder/apt/sources.list" -o Dir::Etc::SourceParts="$folder/apt/sources.list.d" \
    -o Dir::State::Lists="$folder/apt/lists" -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@"
}
echo "windows-root: building libraries below $folder" >&2
sources
apt_do apt-get -qq update
# fetch NAME=VERSION: prints the version that came: a mirror may have dropped the sources of one that is installed.
fetch() {
  local name=${1%%=*} wanted=${1#*=} version
  for version in "$wanted" $(apt_do apt-cache showsrc --only-source "$name" | sed -n 's/^Version: //p' | sort -rV); do
    (cd "$folder/sources" && apt_do apt-get -qq source --download-only "$name=$version" >>"$log" 2>&1) || continue
    [[ $version == "$wanted" ]] || echo "windows-root: $name: no sources of $wanted here, $version in its place" >&2
    echo "$version"
    return
  done
  cat "$log" >&2
  echo "error: $name: its sources cannot be had" >&2
  return 1
}

for library in "${missing[@]}"; do
  read -r -d '' -a words <<<"$library" || true
  source=$(source_of "${words[0]}")
  name=${source%%=*}
  version=$(fetch "$source")
  echo "windows-root: $name $version" >&2
  {
    dpkg-source --no-check -x "$folder/sources/${name}_${version#*:}.dsc" "$folder/build/$name"  # apt has checked it
    cmake -G Ninja -S "$folder/build/$name" -B "$folder/build/$name-build" -DCMAKE_BUILD_TYPE=Release \
      -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/windows.cmake" -DLORA_WINDOWS_ROOT="$folder" \
      -DCMAKE_INSTALL_PREFIX="$folder" -DCMAKE_INSTALL_LIBDIR=lib -DBUILD_SHARED_LIBS=OFF "${words[@]:1}"
    cmake --build "$folder/build/$name-build"
    cmake --install "$folder/build/$name-build"
  } >"$log" 2>&1 || { tail -30 "$log" >&2; echo "error: $name: not built; all it said is in $log" >&2; exit 1; }
  rm -rf "$folder/build/$name" "$folder/build/$name-build"
  echo "$source" >> "$complete"
done
rm -rf "$folder"/{apt,build}
