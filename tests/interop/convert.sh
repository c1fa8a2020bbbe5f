#!/usr/bin/env bash
# convert.sh LORA_PROGRAM MAKE_HF_FOLDERS WORK_DIR: llama.cpp loads what lora converts, models and PEFT folders, for each
# architecture, and computes what the model's formulas give on the weights of the Hugging Face folder, plus those of the
# LoRA (tests/convert/). Of every family, it computes what lora computes with the converted files. On the bundled model's own folder, where it is at hand, it continues a text as lora does.
set -euo pipefail
lora=$1 make_hf_folders=$2 work=$3
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
source "$here/llama_cpp.sh"
install_llama_cpp "$work"
cp "$here"/convert.mjs "$here"/compare.mjs "$here"/llama-greedy.mjs "$work"

models=$work/converted families=$work/converted-families
rm -rf "$models" "$families"
mkdir -p "$models" "$families"
[[ ${KEEP:-} ]] || trap 'rm -rf "$models" "$families"' EXIT
"$make_hf_folders" "$root/models/tiny-q8_0.gguf" "$models" "$families/hf"
for folder in "$models"/*/; do
  name=$(basename "$folder")
  split=()
  if [[ $name == mistral ]]; then split=(--split-max-size 1M); fi
  "$lora" convert "$folder" --outtype f32 -o "$models/$name.gguf" "${split[@]}"
  "$lora" convert-lora "$folder/peft" --base "$folder" -o "$models/$name.lora"
done
(cd "$work" && node convert.mjs "$models")

for folder in "$families"/hf/*/; do
  name=$(basename "$folder")
  "$lora" convert "$folder/model" --outtype f32 -o "$families/$name.gguf" 2>/dev/null
  "$lora" convert-lora "$folder/model/peft" --base "$folder/model" -o "$families/$name.lora" 2>/dev/null
done
head -c 600 "$root/examples/demo/heldout.txt" >"$families/text.txt"
node "$work/compare.mjs" "$lora" "$families"

hf=$root/../shared/models/tiny-hf
[[ -d $hf ]] || exit 0
"$lora" convert "$hf" --outtype f32 -o "$models/tiny.gguf"
prompt='The old king said'
expected=$(cd "$work" && node llama-greedy.mjs "$models/tiny.gguf" "$prompt" 48 | tail -n +2)
found=$("$lora" generate -m "$models/tiny.gguf" -p "$prompt" -n 48 --temp 0 --no-echo --precision f32)
[[ $expected == "$found" ]] || { printf -- '--- llama.cpp\n%s\n--- lora\n%s\n' "$expected" "$found"; exit 1; }
