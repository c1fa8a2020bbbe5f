#!/usr/bin/env bash
# quantize.sh LORA_PROGRAM MODEL THREADS TYPE... : seconds, MB of the model per second and core, and peak memory beside
# the mapped file, of `lora quantize`; then, where LLAMA_QUANTIZE names llama.cpp's program, of that. The model is read
# once before, so that both find it in memory where it fits; the outputs go beside it and are removed.
set -euo pipefail
lora=$1 model=$2 threads=$3
out=$model.quantized
trap 'rm -f "$out" "$out.tmp"' EXIT
megabytes=$(($(stat -c %s "$model") / 1000000))
cat "$model" >/dev/null

measure() {  # WHAT COMMAND...
  local peak=0 now pid begin=$EPOCHREALTIME end
  rm -f "$out"
  "${@:2}" >"$out.log" 2>&1 &
  pid=$!
  while now=$(awk '/^RssAnon/ {print $2}' "/proc/$pid/status" 2>/dev/null) && [[ -n $now ]]; do
    ((now > peak)) && peak=$now
    sleep 0.02
  done
  wait "$pid" || { cat "$out.log"; exit 1; }
  end=$EPOCHREALTIME
  rm -f "$out.log"
  awk -v what="$1" -v s="$(awk "BEGIN {print $end - $begin}")" -v mb="$megabytes" -v threads="$threads" -v kib="$peak" \
    'BEGIN { printf "%-22s %7.2f s %7.0f MB/s per core %7.0f MiB\n", what, s, mb / s / threads, kib / 1024 }'
}
for type in "${@:4}"; do
  measure "$type lora" "$lora" quantize "$model" "$out" "$type" "$threads"
  [[ -z ${LLAMA_QUANTIZE:-} ]] || measure "$type llama.cpp" $LLAMA_QUANTIZE "$model" "$out" "$type" "$threads"
done
