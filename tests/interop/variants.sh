#!/usr/bin/env bash
# variants.sh LORA_PROGRAM MAKE_VARIANTS WORK_DIR: llama.cpp computes the same losses and continuations as lora on
# models with other heads, rotary settings, tables and vocabularies than the bundled one (make_variants.cc), and
# with adapters of rank 1 and 64, for some of the tensors, trained on, and several at once.
set -euo pipefail
lora=$1 make_variants=$2 work=$3
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
source "$here/llama_cpp.sh"
install_llama_cpp "$work"
cp "$here/compare.mjs" "$work"

models=$work/models
rm -rf "$models"
mkdir -p "$models"
trap 'rm -rf "$models"' EXIT  # half a gigabyte
vocabulary=$root/../shared/vocab/ggml-vocab-deepseek-coder.gguf
[[ -f $vocabulary ]] || vocabulary=
"$make_variants" "$root/models/tiny-q8_0.gguf" "$models" ${vocabulary:+"$vocabulary"}

train() {  # OUT [flags]
  "$lora" finetune --model-base "$models/plain.gguf" --train-data "$root/examples/demo/train.txt" --sample-start '<s>' \
    --ctx 64 --batch 2 --adam-iter 8 --warmup 2 --adam-alpha 0.003 --seed 1 --precision f32 --checkpoint-in '' \
    --checkpoint-out '' --lora-out "$models/$1.lora" "${@:2}" 2>/dev/null
}
train rank_1 --lora-r 1 --lora-alpha 2
train rank_64 --lora-r 64 --lora-alpha 64
train some_tensors --lora-r 8 --rank-wq 0 --rank-wk 0 --rank-wo 0 --rank-w1 0 --rank-w3 16 --lora-alpha 8
train trained_on --lora-init "$models/rank_1.lora"

head -c 2000 "$root/examples/demo/heldout.txt" >"$models/text.txt"
node "$work/compare.mjs" "$lora" "$models"
