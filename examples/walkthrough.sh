#!/usr/bin/env bash
# walkthrough.sh LORA_PROGRAM HF_FOLDER OUT_FOLDER: the whole way from a model as Hugging Face has it to one quantized
# file that has learned a text and that any llama.cpp runs. Take the commands as a pattern for your own model: each is
# printed before it runs. Files come to lie in OUT_FOLDER; what is there already is written anew.
#
# Without a folder of your own, make one of the bundled model:
#   ninja -C build lora bundled_hf_folder
#   build/tests/convert/bundled_hf_folder models/tiny-q8_0.gguf /tmp/tiny-hf
#   examples/walkthrough.sh build/lora /tmp/tiny-hf /tmp/walkthrough
#
# ITERATIONS (60) is how long it trains: half a minute with the bundled model. A real run takes hundreds.
set -euo pipefail
[[ $# == 3 ]] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
lora=$1 hf=$2 out=$3
iterations=${ITERATIONS:-60}
here=$(cd "$(dirname "$0")" && pwd)
train=$here/demo/train.txt heldout=$here/demo/heldout.txt
mkdir -p "$out"

step() { printf '\n== %s\n' "$*"; }
run() { printf '%q ' "$@"; echo; "$@"; }
perplexity() {  # what is left to learn of a text that is not trained on; less is better
  printf '%-46s ' "perplexity of ${1##*/}${3:+ with ${3##*/}}:"
  "$lora" eval -m "$1" -f "$heldout" -c 128 "${@:2}" 2>/dev/null | awk '/^perplexity/ {print $2}'
}

step "1. Convert: one file of the folder, in 16 bits"
run "$lora" convert "$hf" --outtype f16 --outfile "$out/model-F16.gguf"

step "2. Quantize: the file to train on, half as large"
run "$lora" quantize "$out/model-F16.gguf" "$out/model-Q8_0.gguf" Q8_0

step "3. Train: a LoRA on the quantized file"
run "$lora" finetune --model-base "$out/model-Q8_0.gguf" --train-data "$train" --sample-start '<s>' \
  --ctx 128 --batch 8 --lora-r 8 --lora-alpha 16 --adam-iter "$iterations" --adam-alpha 0.003 \
  --warmup $((iterations / 10)) --cos-decay-steps "$iterations" --seed 1 --save-every 0 \
  --checkpoint-in '' --checkpoint-out '' --lora-out "$out/lora.gguf"
perplexity "$out/model-Q8_0.gguf"
perplexity "$out/model-Q8_0.gguf" --lora "$out/lora.gguf"

step "4. To Python's PEFT and back, as LoRAs from elsewhere come"
run "$lora" convert-lora "$out/lora.gguf" --base "$out/model-F16.gguf" --to-peft "$out/lora-peft"
run "$lora" convert-lora "$out/lora-peft" --base "$hf" --outfile "$out/lora-back.gguf"
perplexity "$out/model-Q8_0.gguf" --lora "$out/lora-back.gguf"

step "5. Merge: the LoRA into the weights, in 16 bits, so that nothing of it is rounded away"
run "$lora" export-lora --model-base "$out/model-F16.gguf" --model-out "$out/merged-F16.gguf" \
  --lora-scaled "$out/lora.gguf" 1.0
perplexity "$out/merged-F16.gguf"

step "6. Quantize the merged model: the file to use and to share"
run "$lora" quantize "$out/merged-F16.gguf" "$out/merged-Q4_K_M.gguf" Q4_K_M
perplexity "$out/merged-Q4_K_M.gguf"

step "7. Or merge into the quantized file, which needs no other; what rounding costs is said"
run "$lora" export-lora --model-base "$out/model-Q8_0.gguf" --model-out "$out/merged-Q8_0.gguf" --lora "$out/lora.gguf"
perplexity "$out/merged-Q8_0.gguf"

step "8. Use it"
sed '/^### Response:$/q' "$heldout" >"$out/prompt.txt"
echo >>"$out/prompt.txt"  # of a prompt file's end one line feed is dropped
run "$lora" generate -m "$out/merged-Q4_K_M.gguf" -f "$out/prompt.txt" -n 64 --temp 0

step "In llama.cpp: llama-cli -m $out/merged-Q4_K_M.gguf"
