#!/usr/bin/env bash
# families.sh LORA_PROGRAM MAKE_FAMILIES WORK_DIR: llama.cpp computes the same losses and continuations as lora on a tiny
# model of each family, with an adapter on all of its blocks, and with that adapter merged.
set -euo pipefail
lora=$1 make_families=$2 work=$3
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
source "$here/llama_cpp.sh"
install_llama_cpp "$work"
cp "$here/compare.mjs" "$work"

models=$work/families
rm -rf "$models"
mkdir -p "$models"
[[ ${KEEP:-} ]] || trap 'rm -rf "$models"' EXIT
"$make_families" "$root/models/tiny-q8_0.gguf" "$models"
for model in "$models"/*.gguf; do
  "$lora" export-lora --model-base "$model" --lora "${model%.gguf}.lora" -o "${model%.gguf}.merged.gguf" 2>/dev/null
done
head -c 600 "$root/examples/demo/heldout.txt" >"$models/text.txt"
node "$work/compare.mjs" "$lora" "$models"
