#!/usr/bin/env bash
# quantize.sh LORA_PROGRAM MODEL THREADS TYPE... : seconds, MB of the model per second and core, and peak memory beside
# the mapped file, of `lora quantize`; then, where LLAMA_QUANTIZE names llama.cpp's program, of that. The model is read
# once before, so that both find it in memory where it fits; the outputs go beside it and are removed.
set -euo pipefail
. "$(dirname "$0")/measure.sh"
lora=$1 model=$2 threads=$3
out=$model.quantized
trap 'rm -f "$out" "$out".*.tmp "$out".lora-lock' EXIT
megabytes=$(($(stat -c %s "$model") / 1000000))
cat "$model" >/dev/null
for type in "${@:4}"; do
  measure "$type lora" "$lora" quantize "$model" "$out" "$type" "$threads"
  rm -f "$out"
  [[ -z ${LLAMA_QUANTIZE:-} ]] || measure "$type llama.cpp" $LLAMA_QUANTIZE "$model" "$out" "$type" "$threads"
  rm -f "$out"
done
