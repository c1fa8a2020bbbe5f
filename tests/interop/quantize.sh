#!/usr/bin/env bash
# quantize.sh LORA_PROGRAM WORK_DIR: every type that `lora quantize` writes loads in llama.cpp and has there the loss
# that it has here; and the perplexity of Q4_K_M is within 0.5% of that of llama.cpp's own quantization, or below.
set -euo pipefail
lora=$1 work=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
source "$here/llama_cpp.sh"
install_llama_cpp "$work"
cp "$here/compare.mjs" "$work"

models=$work/quantized
rm -rf "$models"
mkdir -p "$models"
trap 'rm -rf "$models"' EXIT
original=$root/../shared/models/tiny-f32.gguf
if [[ ! -f $original ]]; then
  original=$work/original.gguf
  "$lora" quantize "$root/models/tiny-q8_0.gguf" "$original" F32 --allow-requantize
fi
for type in Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4 F16 BF16; do
  "$lora" quantize "$original" "$models/$type.gguf" $type
done
head -c 2000 "$root/examples/demo/heldout.txt" >"$models/text.txt"
# llama.cpp's 8-bit activations are worth 0.00025 at most, measured.
node "$work/compare.mjs" "$lora" "$models" 0.001

theirs=$root/../shared/models/tiny-q4_k_m.gguf text=$root/../shared/models/tiny-val.txt
if [[ -f $theirs && -f $text ]]; then
  perplexity() { "$lora" eval -m "$1" -f "$text" --precision f32 2>/dev/null | awk '/^perplexity/ {print $2}'; }
  awk -v ours="$(perplexity "$models/Q4_K_M.gguf")" -v theirs="$(perplexity "$theirs")" \
    'BEGIN { print "perplexity of Q4_K_M: " ours ", llama.cpp " theirs; exit !(ours > 1 && ours <= theirs * 1.005) }'
fi
