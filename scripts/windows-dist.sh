#!/usr/bin/env bash
# scripts/windows-dist.sh BUILD_FOLDER: packs the program that was built there into lora-VERSION-windows-x64.zip in it,
# with the demo, files to drop a text on, the pages of docs/ and the licenses of the libraries inside.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:?the folder of a build for Windows is wanted}")
version=$(sed -nE 's/^project\(lora VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)
name=lora-$version-windows-x64
folder=$build/dist/$name
rm -rf "$build/dist"
mkdir -p "$folder"/{demo,docs,licenses}

cp "$build/lora.exe" "$folder"
x86_64-w64-mingw32-strip "$folder/lora.exe"
# The C library of every Windows, and what belongs to the system: no other DLL may be wanted.
x86_64-w64-mingw32-objdump -p "$folder/lora.exe" | sed -n 's/.*DLL Name: //p' | while read -r dll; do
  case ${dll,,} in
    kernel32.dll | msvcrt.dll | ucrtbase.dll | api-ms-win-*.dll | advapi32.dll | user32.dll | shell32.dll | psapi.dll | \
      bcrypt.dll | ntdll.dll | ole32.dll) ;;
    *) echo "error: lora.exe: wants $dll, which is not part of Windows" >&2; exit 1 ;;
  esac
done

to_crlf() { sed 's/$/\r/' "$1" > "$2"; }
for file in windows/*; do to_crlf "$file" "$folder/${file##*/}"; done
for file in README.md CHANGELOG.md LICENSE; do to_crlf "$file" "$folder/$file"; done
for file in docs/*.md; do to_crlf "$file" "$folder/$file"; done
cp docs/*.svg "$folder/docs"
cp models/tiny-q8_0.gguf "$folder/demo"
to_crlf examples/demo/train.txt "$folder/demo/train.txt"
to_crlf examples/demo/heldout.txt "$folder/demo/heldout.txt"
# The first page's question; of a prompt file's end one line feed is dropped.
{ sed '/^### Response:$/q' examples/demo/heldout.txt; echo; } > "$folder/demo/prompt.txt"
for package in libfmt-dev libhwy-dev libpcre2-dev libutf8proc-dev libzip-dev libz-mingw-w64-dev nlohmann-json3-dev \
  libcli11-dev g++-mingw-w64-x86-64-posix mingw-w64-x86-64-dev; do
  cp -L "/usr/share/doc/$package/copyright" "$folder/licenses/$package.txt"
done

rm -f "$build/$name.zip"
(cd "$build/dist" && zip -q -r -9 -X "$build/$name.zip" "$name")
echo "$build/$name.zip"
