#!/usr/bin/env bash
# convert.sh LORA_PROGRAM FOLDER THREADS TYPE... : seconds, MB of the weights per second and core, and peak memory beside
# mapped files, of `lora convert`; then, where LLAMA_CONVERT names llama.cpp's convert_hf_to_gguf.py, of that. The weights
# are read once before, so that both find them in memory where they fit; the output goes beside them and is removed.
set -euo pipefail
. "$(dirname "$0")/measure.sh"
lora=$1 folder=$2 threads=$3
out=$folder/converted.gguf
trap 'rm -f "$out" "$out".*.tmp "$out".lora-lock' EXIT
megabytes=$(cat "$folder"/*.safetensors | wc -c | awk '{print int($1 / 1000000)}')
for type in "${@:4}"; do
  measure "$type lora" "$lora" convert "$folder" --outtype "$type" --outfile "$out" --concurrency "$threads"
  rm -f "$out"
  [[ -z ${LLAMA_CONVERT:-} ]] || measure "$type llama.cpp" $LLAMA_CONVERT "$folder" --outtype "$type" --outfile "$out"
  rm -f "$out"
done
