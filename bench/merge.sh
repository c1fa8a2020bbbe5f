#!/usr/bin/env bash
# merge.sh LORA_PROGRAM ADAPTER THREADS MODEL... : seconds, MB of the model per second and core, and peak memory beside
# the mapped files, of `lora export-lora`. Each model is read once before, so that it
# is found in memory where it fits; the output goes beside it and is removed.
set -euo pipefail
. "$(dirname "$0")/measure.sh"
lora=$1 adapter=$2 threads=$3
trap 'rm -f "$out" "$out".*.tmp "$out".lora-lock' EXIT
for model in "${@:4}"; do
  out=$model.merged
  megabytes=$(($(stat -c %s "$model") / 1000000))
  cat "$model" >/dev/null
  measure "${model##*/}" "$lora" export-lora --model-base "$model" --lora "$adapter" --model-out "$out" --threads "$threads"
  rm -f "$out"
done
