#!/usr/bin/env bash
# walkthrough_test.sh LORA_PROGRAM BUNDLED_HF_FOLDER_PROGRAM WORK_DIR: examples/walkthrough.sh runs from the bundled
# model's folder to merged, quantized files, and these have learned what the adapter has.
set -euo pipefail
export LC_ALL=C
lora=$1 make_folder=$2 work=$3
root=$(cd "$(dirname "$0")/.." && pwd)
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

"$make_folder" "$root/models/tiny-q8_0.gguf" "$work/tiny-hf"
ITERATIONS=20 "$root/examples/walkthrough.sh" "$lora" "$work/tiny-hf" "$work/out" 2>&1 | tee "$work/log"

figure() { awk -v of="perplexity of $1:" 'index($0, of) == 1 {print $NF; exit}' "$work/log"; }
near() {  # WHAT A B PART
  awk -v a="$2" -v b="$3" -v part="$4" 'BEGIN {exit !(a > 1 && b > 1 && a < b * (1 + part) && a > b * (1 - part))}' ||
    { echo "$1: $2 and $3 differ by more than $4"; exit 1; }
}
adapted=$(figure "model-Q8_0.gguf with lora.gguf")
near "the folder's model" "$(figure model-Q8_0.gguf)" \
  "$("$lora" eval -m "$root/models/tiny-q8_0.gguf" -f "$root/examples/demo/heldout.txt" -c 128 2>/dev/null |
    awk '/^perplexity/ {print $2}')" 0.005
[[ $(figure "model-Q8_0.gguf with lora-back.gguf") == "$adapted" ]] || { echo "PEFT and back is another adapter"; exit 1; }
near "merged in 16 bits" "$(figure merged-F16.gguf)" "$adapted" 0.01
near "merged into Q8_0" "$(figure merged-Q8_0.gguf)" "$adapted" 0.01
near "merged, then Q4_K_M" "$(figure merged-Q4_K_M.gguf)" "$adapted" 0.05
awk -v before="$(figure model-Q8_0.gguf)" -v after="$adapted" 'BEGIN {exit !(after < 0.5 * before)}' ||
  { echo "nothing was learned"; exit 1; }
grep -q '^### Response:$' "$work/log" || { echo "nothing was generated"; exit 1; }
left=$(find "$work" -name '*.tmp')
[[ -z $left ]] || { echo "left behind: $left"; exit 1; }
