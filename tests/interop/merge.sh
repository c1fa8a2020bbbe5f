#!/usr/bin/env bash
# merge.sh LORA_PROGRAM WORK_DIR: llama.cpp continues prompts with a merged model as lora does with the model and its
# adapters beside it, and merged quantized files have there the loss that they have here.
set -euo pipefail
lora=$1 work=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
source "$here/llama_cpp.sh"
install_llama_cpp "$work"
cp "$here"/{llama-greedy,compare}.mjs "$work"

models=$work/merged
rm -rf "$models"
mkdir -p "$models"
trap 'rm -rf "$models"' EXIT
cd "$models"
"$lora" quantize "$root/models/tiny-q8_0.gguf" base.gguf F32 --allow-requantize
"$lora" finetune --model-base base.gguf --train-data "$root/examples/demo/train.txt" --sample-start '<s>' --ctx 128 \
  --batch 4 --adam-iter 30 --warmup 5 --adam-alpha 0.002 --lora-r 8 --lora-alpha 16 --rank-tok-embd 2 --rank-out 4 \
  --seed 1 --precision f32 --checkpoint-in '' --checkpoint-out '' --lora-out adapter.gguf
adapters=(--lora adapter.gguf --lora-scaled "$root/tests/golden/tiny-peft" 0.5)
"$lora" export-lora --model-base base.gguf --model-out merged.gguf "${adapters[@]}"

changed=0
while IFS= read -r prompt; do
  prompt=${prompt//\\n/$'\n'}
  ours() { "$lora" generate --model base.gguf --prompt "$prompt" -n 48 --temp 0 --no-echo --precision f32 "$@"; }
  expected=$(ours "${adapters[@]}")
  found=$(node "$work/llama-greedy.mjs" merged.gguf "$prompt" 48 | tail -n +2)
  [[ $expected == "$found" ]] || { printf '%s\n--- expected\n%s\n--- found\n%s\n' "$prompt" "$expected" "$found"; exit 1; }
  [[ $expected == "$(ours)" ]] || changed=1
done <<'PROMPTS'
The old king said
### Instruction:\nWrite the log of the cook. Weather: fog. Sight: a whale.\n\n### Response:\n
My fellow Americans,
PROMPTS
((changed)) || { echo "the adapters change no continuation, so nothing was compared"; exit 1; }

mkdir quantized
for type in Q8_0 Q4_K_M; do
  "$lora" quantize base.gguf "$type.gguf" "$type"
  "$lora" export-lora --model-base "$type.gguf" --model-out "quantized/$type.gguf" "${adapters[@]}"
done
"$lora" export-lora --model-base Q4_K_M.gguf --model-out quantized/mixed.gguf "${adapters[@]}" --outtype q8_0
head -c 2000 "$root/examples/demo/heldout.txt" >quantized/text.txt
# llama.cpp's 8-bit activations are worth 0.0007 at most, measured.
node "$work/compare.mjs" "$lora" quantized 0.002
