#!/usr/bin/env bash
# int8.sh [LORA_PROGRAM [FOLDER [PRECISION]]]: what --precision int8, or another, costs in accuracy, as a Markdown table. On each
# model and text, 300 iterations in f32 and in it with the same samples: the largest difference of the losses, smoothed over 20
# iterations, at any point; that of the held-out losses at the end; and how long it took beside f32. Runs lie in FOLDER
# (build/int8); one that has ended is not run again.
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/.." && pwd)
lora=${1-$root/build/lora} out=${2-$root/build/int8} precision=${3-int8}
mkdir -p "$out"

small=$root/models/tiny-q8_0.gguf mixed=$out/tiny-q4_k_m.gguf
[[ -f $mixed ]] || "$lora" quantize --allow-requantize "$small" "$mixed" Q4_K_M > "$out/quantize.log" 2>&1
texts=("$root/examples/demo/train.txt" "$root/../shared/data/shakespeare.txt" "$root/examples/data/instructions.jsonl")

run() {  # MODEL TEXT PRECISION: its metrics
  local name
  name=$(basename "$1" .gguf)-$(basename "${2%.*}")-$3
  if ! [[ -f $out/$name.end ]]; then
    rm -f "$out/$name".*
    local start=$EPOCHREALTIME
    "$lora" finetune --model-base "$1" --train-data "$2" --precision "$3" --adam-iter 300 --val-split 0.1 --seed 1 \
      --lora-out "$out/$name.gguf" --checkpoint-out "" --metrics "$out/$name.jsonl" > "$out/$name.log" 2>&1
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }' > "$out/$name.end"
  fi
  echo "$out/$name"
}

echo "| model | text | smoothed loss, largest difference | held-out loss at the end, f32 and $precision | difference | time of f32 / $precision |"
echo "|---|---|---|---|---|---|"
for model in "$small" "$mixed"; do
  for text in "${texts[@]}"; do
    [[ -f $text ]] || continue
    f32=$(run "$model" "$text" f32) other=$(run "$model" "$text" "$precision")
    awk -v model="$(basename "$model" .gguf)" -v text="$(basename "$text")" \
      -v seconds="$(awk 'NR == 1 { a = $1 } END { printf "%.2f", a / $1 }' "$f32.end" "$other.end")" '
      function field(name) { return match($0, "\"" name "\":[-0-9.e+]+") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) : "" }
      {
        which = FILENAME !~ /-f32\.jsonl$/
        if ((v = field("val_loss")) != "") held[which] = v
        if ((v = field("loss")) == "") next
        sum[which] += v; loss[which, ++n[which]] = v
        if (n[which] > 20) sum[which] -= loss[which, n[which] - 20]
        if (n[which] >= 20) smooth[which, n[which]] = sum[which] / 20
      }
      END {
        if (n[0] != n[1] || n[0] < 20) { print "the runs differ in length: " n[0] ", " n[1] > "/dev/stderr"; exit 1 }
        for (i = 20; i <= n[0]; ++i) { d = smooth[1, i] / smooth[0, i] - 1; if (d < 0) d = -d; if (d > worst) worst = d }
        printf "| %s | %s | %.3f%% | %.4f, %.4f | %+.3f%% | %s |\n", model, text, 100 * worst, held[0], held[1], 100 * (held[1] / held[0] - 1), seconds
      }' "$f32.jsonl" "$other.jsonl"
  done
done
