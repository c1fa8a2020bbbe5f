#!/usr/bin/env bash
# run.sh LORA_PROGRAM WORK_DIR: an adapter trained here, or converted from PEFT, does in llama.cpp what it does here.
# llama.cpp comes prebuilt in the npm package node-llama-cpp. The base is F32: on quantized weights llama.cpp also rounds
# the activations.
set -euo pipefail
lora=$1 work=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
base=$root/../shared/models/tiny-f32.gguf

source "$here/llama_cpp.sh"
[[ -f $base ]] || skip "$base is not here"
install_llama_cpp "$work"
cp "$here"/llama-greedy.mjs "$work"
cd "$work"

"$lora" finetune --model-base "$base" --train-data "$root/examples/demo/train.txt" --sample-start '<s>' --ctx 128 \
  --batch 4 --adam-iter 30 --warmup 5 --adam-alpha 0.002 --lora-r 8 --lora-alpha 16 --seed 1 --precision f32 \
  --checkpoint-in '' --checkpoint-out '' --lora-out adapter.gguf

llama_cpp() { node llama-greedy.mjs "$base" "$@" | tail -n +2; }
ours() {  # PROMPT N [flags]
  "$lora" generate --model "$base" --prompt "$1" --n-predict "$2" "${@:3}" --temp 0 --no-echo --precision f32
}
same() {  # WHAT EXPECTED FOUND
  [[ $2 == "$3" ]] || { printf '%s\n--- expected\n%s\n--- found\n%s\n' "$1" "$2" "$3"; exit 1; }
}

changed=0
while IFS= read -r prompt; do
  prompt=${prompt//\\n/$'\n'}
  plain=$(ours "$prompt" 48)
  adapted=$(ours "$prompt" 48 --lora adapter.gguf)
  same "base, $prompt" "$(llama_cpp "$prompt" 48)" "$plain"
  same "adapter, $prompt" "$(llama_cpp "$prompt" 48 adapter.gguf)" "$adapted"
  same "half the adapter, $prompt" "$(llama_cpp "$prompt" 48 adapter.gguf 0.5)" \
    "$(ours "$prompt" 48 --lora-scaled adapter.gguf 0.5)"
  same "adapter at scale 0, $prompt" "$plain" "$(ours "$prompt" 48 --lora-scaled adapter.gguf 0)"
  [[ $plain == "$adapted" ]] || changed=1
done <<'PROMPTS'
The old king said
### Instruction:\nWrite the log of the cook. Weather: fog. Sight: a whale.\n\n### Response:\n
My fellow Americans,
PROMPTS
for name in tiny-peft tiny-peft-rslora tiny-peft-pattern; do
  "$lora" convert-lora "$root/tests/golden/$name" --base "$base" -o "$name.gguf"
  prompt='The old king said'
  same "$name" "$(llama_cpp "$prompt" 48 "$name.gguf")" "$(ours "$prompt" 48 --lora "$root/tests/golden/$name")"
done
((changed)) || { echo "the adapter changes no continuation, so nothing was compared"; exit 1; }
