#!/usr/bin/env bash
# quality_test.sh SOURCE_DIR LORA_PROGRAM WORK_DIR: bench/quality.sh, in small, makes both tables; a run that is over is
# not run again; what overtrains is stopped, and its best adapter handed over.
set -euo pipefail
export LC_ALL=C
source=$1 lora=$2 work=$3
rm -rf "$work"
mkdir -p "$work"
quality=("$source/bench/quality.sh" --small --model "$source/models/tiny-q8_0.gguf" --set chats --set overtrained "$lora" "$work/runs")

"${quality[@]}" >"$work/table" 2>"$work/log" || { tail -5 "$work/log"; exit 1; }
cat "$work/table"
# | model | data | before | best of the grid | rank, rate, passes | lora train | of the grid |
awk -F ' *[|] *' '$3 == "chats" { found = $4 > 4 && $5 < $4 && $6 ~ /^8, [13]e-3, 1$/ && $7 > 1 && $7 < $4 && $8 > 0.5 && $8 < 1.5 }
  END { exit !found }' "$work/table" || { echo "no row of a grid, or a strange one"; exit 1; }
# | model | passes asked for | done | before | best | at pass | last | handed over |
awk -F ' *[|] *' '$3 == 40 { found = $4 < 40 && $6 < $5 && $6 < $8 && $7 < $4 && ($9 - $6) ^ 2 < 1e-4 }
  END { exit !found }' "$work/table" || { echo "not stopped, or another adapter than the best handed over"; exit 1; }

"${quality[@]}" >"$work/again" 2>"$work/log-again"
cmp "$work/table" "$work/again"
[[ ! -s $work/log-again ]] || { echo "run again:"; cat "$work/log-again"; exit 1; }
