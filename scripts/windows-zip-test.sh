#!/usr/bin/env bash
# scripts/windows-zip-test.sh BUILD_FOLDER: follows README.txt of the zip that `make windows-dist` has made, as its reader
# would: unpacks it, and starts each .bat under Wine's cmd with what people drop on it and type. The folder and the names are
# the awkward ones. Two minutes on two cores.
set -euo pipefail
export LC_ALL=C.UTF-8  # by which Wine reads names
cd "$(dirname "$0")/.."
build=$(realpath "${1:?the folder of a build for Windows is wanted}")
version=$(sed -nE 's/^project\(lora VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)
zip=$build/lora-$version-windows-x64.zip
[[ -e $zip ]] || { echo "error: $zip: not there; make windows-dist makes it" >&2; exit 1; }
wine=$PWD/scripts/wine.sh

root=$build/zip-test
rm -rf "$root"
mkdir -p "$root/Программы (64 бита)" "$root/Мои тексты 文"
cd "$root/Программы (64 бита)"
cmake -E tar xf "$zip"
cd lora-*
here=$PWD
log=$root/log
n_checks=0

to_windows() { local path=Z:${1//\//\\}; printf '%s' "$path"; }
# start BAT [DROPPED...]: as the Explorer starts it, from another folder; what is typed comes from stdin. The demo, which is
# the longest, takes two minutes of a machine that does nothing else; the limit is for what would never end.
limit=1800
start() {
  local bat=$1 dropped=() status=0
  shift
  for file in "$@"; do dropped+=("$(to_windows "$file")"); done
  : > "$log"
  touch "$root/running"
  (cd / && timeout $limit "$wine" "$(to_windows "$here/$bat")" "${dropped[@]}") >>"$log" 2>&1 || status=$?
  rm "$root/running"
  ((status != 124)) || fail "$bat: had not ended after $limit s"
}
# typed LINE...: each once it is asked for: Wine's cmd takes all that is there for one line.
typed() {
  local line n_asked=0
  until [[ -e $root/running ]]; do sleep 0.1; done
  for line in "$@"; do
    n_asked=$((n_asked + 1))
    while [[ -e $root/running ]] && (($(grep -oE 'press Enter: |Enter alone ends\)' "$log" | wc -l) < n_asked)); do
      sleep 0.1
    done
    printf '%s\n' "$line"
  done
}
fail() {
  echo "error: $1; the program said:" >&2
  tail -30 "$log" >&2
  exit 1
}
said() { grep -qF -- "$1" "$log" || fail "'$1' was not said"; n_checks=$((n_checks + 1)); }
not_said() { ! grep -qF -- "$1" "$log" || fail "'$1' was said"; n_checks=$((n_checks + 1)); }
made() {
  local file
  for file in "$@"; do [[ -s $file ]] || fail "$file: was not made"; n_checks=$((n_checks + 1)); done
}
nothing_half_written() {
  local left
  left=$(find "$root" -name '*.tmp' -o -name '*.lora-lock')
  [[ -z $left ]] || fail "left behind: $left"
  n_checks=$((n_checks + 1))
}

# Every file that the texts name is there.
for file in lora.exe demo.bat train-on-this.bat try-adapter.bat guide-names.bat README.txt docs/windows.md; do made "$file"; done

start demo.bat </dev/null
said "### Response"
not_said "error:"
made demo/my-lora.gguf demo/my-lora.md demo/my-lora.svg
nothing_half_written

text="$root/Мои тексты 文/роман (1) & Ко.txt"
head -c 5000 demo/heldout.txt | sed 's/$/\r/' > "$text"
# What is typed has ASCII alone: Wine's cmd reads a pipe in a code page of old. A name with a space comes quoted when it is
# dragged into the window.
mkdir "$root/my models (1) & more"
cp demo/tiny-q8_0.gguf "$root/my models (1) & more/tiny.gguf"
model='"'$(to_windows "$root/my models (1) & more/tiny.gguf")'"'
start train-on-this.bat "$text" < <(typed "$model")
not_said "error:"
adapter=${text%.txt}-lora
made "$adapter.gguf" "$adapter.md" "$adapter.svg"
nothing_half_written
cp "$adapter.gguf" "$root/first.gguf"

# The same again: it is told that this is done, or goes on, and nothing of it is lost.
start train-on-this.bat "$text" < <(typed "$model")
not_said "error:"
cmp "$adapter.gguf" "$root/first.gguf"

# Wrong names: said, and asked again; a text that is not there; none.
start train-on-this.bat "$text" < <(typed 'C:\no such model.gguf' '')
said 'There is no file "C:\no such model.gguf".'
start train-on-this.bat "$root/no such text.txt" </dev/null
said "There is no file"
start train-on-this.bat </dev/null
said "Nothing to train on"
start try-adapter.bat </dev/null
said "No adapter"

# A model without a form for conversations goes on with a text.
start try-adapter.bat "$adapter.gguf" < <(typed "$model" '### Instruction: "Keep the log"' '')
said "it goes on with a text that you begin"
said "### Instruction: 'Keep the log'"
not_said "error:"
# A folder of texts.
mkdir "$root/Мои тексты 文/записки"
head -c 3000 demo/train.txt > "$root/Мои тексты 文/записки/а.txt"
head -c 4000 demo/train.txt > "$root/Мои тексты 文/записки/б.txt"
start train-on-this.bat "$root/Мои тексты 文/записки" < <(typed "$model")
not_said "error:"
made "$root/Мои тексты 文/записки-lora.gguf"

start guide-names.bat </dev/null
made finetune.exe main.exe perplexity.exe quantize.exe export-lora.exe
(cd "$root" && "$wine" "$here/quantize.exe" --allow-requantize "$here/demo/tiny-q8_0.gguf" small.gguf q4_0) >"$log" 2>&1 || fail quantize.exe
made "$root/small.gguf"
"$wine" "$here/main.exe" -m "$root/small.gguf" -p "The ship" -n 4 --temp 0 >"$log" 2>&1 || fail main.exe
said "The ship"

# Started from the zip's own view in the Explorer: the file alone.
mv lora.exe away.exe
for bat in demo.bat train-on-this.bat try-adapter.bat guide-names.bat; do
  start $bat "$text" </dev/null
  said "Unpack the whole zip"
done
nothing_half_written
echo "windows-zip-test: all $n_checks checks passed"
rm -rf "$root"
