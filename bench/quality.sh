#!/usr/bin/env bash
# quality.sh [--model FILE]... [--set NAME]... [--small] [LORA_PROGRAM [FOLDER]]: the tables of docs/training-quality.md, as
# Markdown. On each model and each small set of examples/ runs `lora train` without a flag, and twelve runs of
# `lora finetune` by hand (rank, learning rate, passes) on the same samples, cut and held out in the same way; then a run
# that overtrains. --small: a grid of two short runs. Runs lie in FOLDER (build/quality); one that has ended is not run
# again. Progress goes to stderr.
set -euo pipefail
export LC_ALL=C
usage() { echo "usage: $0 [--model FILE]... [--set demo|prose|chats|records|overtrained]... [--small] [LORA_PROGRAM [FOLDER]]" >&2; exit 2; }
models=() sets=() arguments=() small=false
while (($#)); do
  case $1 in
    --model) models+=("${2?}") && shift ;;
    --set) sets+=("${2?}") && shift ;;
    --small) small=true ;;
    -*) usage ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
root=$(cd "$(dirname "$0")/.." && pwd)
lora=${arguments[0]-$root/build/lora} out=${arguments[1]-$root/build/quality}
if ((${#models[@]} == 0)); then models=("$root/models/tiny-q8_0.gguf" "$root/../shared/models/stories260K.gguf"); fi
if ((${#sets[@]} == 0)); then sets=(demo prose chats records overtrained); fi
mkdir -p "$out"

ranks=(8 32) rates=(1e-3 3e-3 1e-2)
# The passes of the grid: around where each set is best, so that the grid is hard to beat.
describe() {  # SET: data, passes
  case $1 in
    demo) data=$root/examples/demo/train.txt passes=(3 6) ;;
    prose) data=$root/examples/data/ferry.txt passes=(2 6) ;;
    chats) data=$root/examples/data/chats passes=(4 12) ;;
    records) data=$root/examples/data/instructions.jsonl passes=(4 8) ;;
    overtrained) data=$out/few.jsonl passes=() ;;
    *) usage ;;
  esac
  if $small; then passes=(1); fi
}
# A run in small has one pass.
if $small; then ranks=(8) rates=(1e-3 3e-3) one_pass=(--epochs 1); else one_pass=(); fi

field() { sed -n "s/.*\"$1\": *\([^,}]*\).*/\1/p" "${@:2}"; }  # NAME [METRICS]: a value a line
least() { field val_loss "$1" | sort -g | head -1; }
part() { awk "BEGIN { printf \"%.3f\", $1 / $2 }"; }

run() {  # LOG COMMAND...
  local log=$1
  shift
  echo "${*/#$root\//}" >&2
  "$@" >"$log" 2>&1 || { tail -5 "$log" >&2; exit 1; }
}

train() {  # NAME FLAGS...: $name.gguf, .jsonl, .toml
  name=$out/$1
  shift
  [[ -e $name.done ]] && return
  run "$name.log" "$lora" train "$model" "$data" -o "$name" "$@"
  touch "$name.done"
}

by_hand() {  # RANK RATE PASSES: $metrics
  metrics=$name-r$1-lr$2-e$3.jsonl
  [[ -e $metrics ]] && return
  # The samples are those of `lora train`; what the grid sets, and the files, are not.
  grep -Ev '^"?(lora|adam-alpha|epochs|warmup|cos-decay|eval-every|patience|save|best|checkpoint|metrics|sample-prompt|keep)' \
    "$name.toml" >"$name-samples.toml"
  # Twelve evaluations; in small the last alone.
  local every steps_of_pass
  steps_of_pass=$(tail -1 "$name.jsonl" | awk -F '[:,]' '{ for (i = 1; i < NF; ++i) at[$i] = $(i + 1); print at["{\"iter\""] / at["\"epoch\""] }')
  every=$(awk "BEGIN { every = int($3 * $steps_of_pass / 12); print (every > 1 ? every : 1) }")
  if $small; then every=0; fi
  run "$metrics.log" "$lora" finetune --config "$name-samples.toml" --lora-r "$1" --lora-alpha 32 --adam-alpha "$2" \
    --epochs "$3" --warmup auto --cos-decay-steps auto --eval-every "$every" --save-every 0 --checkpoint-in '' \
    --checkpoint-out '' --lora-out '' --metrics "$metrics.part"
  mv "$metrics.part" "$metrics"
}

grid_table() {
  local rank rate pass kind before best_of_grid where ours
  printf '| model | data | before | best of the grid | rank, rate, passes | `lora train` | of the grid |\n'
  printf -- '|---|---|---|---|---|---|---|\n'
  for model in "${models[@]}"; do
    for kind in "${sets[@]}"; do
      describe "$kind"
      [[ $kind != overtrained ]] || continue
      train "$(basename "$model" .gguf)-$kind" "${one_pass[@]}"
      ours=$(least "$name.jsonl") before=$(field val_loss_before "$name.jsonl") best_of_grid=
      for pass in "${passes[@]}"; do
        for rank in "${ranks[@]}"; do
          for rate in "${rates[@]}"; do
            by_hand "$rank" "$rate" "$pass"
            loss=$(least "$metrics")
            if [[ -z $best_of_grid ]] || awk "BEGIN { exit !($loss < $best_of_grid) }"; then
              best_of_grid=$loss where="$rank, $rate, $pass"
            fi
          done
        done
      done
      printf '| %s | %s | %.3f | %.3f | %s | %.3f | %s |\n' "$(basename "$model")" "$kind" "$before" \
        "$best_of_grid" "$where" "$ours" "$(part "$ours" "$best_of_grid")"
    done
  done
}

# Thirty records, and many times the passes that fit them; others are held out.
overtrained_table() {
  local records=$root/examples/data/instructions.jsonl epochs=60 n_samples=30 n_others=20 last best ctx
  if $small; then epochs=40 n_samples=8 n_others=6; fi
  printf '| model | passes asked for | passes done | before | best | at pass | last | handed over |\n|---|---|---|---|---|---|---|---|\n'
  head -$n_samples "$records" >"$out/few.jsonl"
  tail -$n_others "$records" >"$out/others.jsonl"
  for model in "${models[@]}"; do
    describe overtrained
    train "$(basename "$model" .gguf)-overtrained" --val-data "$out/others.jsonl" --epochs $epochs
    ctx=$(sed -n "s/^ctx = //p" "$name.toml")  # nothing: finetune's default
    best=$(least "$name.jsonl") last=$(grep '"val_loss":' "$name.jsonl" | tail -1)
    printf '| %s | %s | %.1f | %.3f | %.3f | %.1f | %.3f | %.3f |\n' "$(basename "$model")" $epochs \
      "$(field epoch <<<"$last")" "$(field val_loss_before "$name.jsonl")" "$best" \
      "$(grep -F "\"val_loss\":$best" "$name.jsonl" | head -1 | field epoch)" "$(field val_loss <<<"$last")" \
      "$("$lora" eval -m "$model" --train-data "$out/others.jsonl" -c "${ctx:-128}" --lora "$name.gguf" --json 2>/dev/null | field nll)"
  done
}

[[ ${sets[*]} == overtrained ]] || grid_table
if [[ " ${sets[*]} " == *" overtrained "* ]]; then echo && overtrained_table; fi
