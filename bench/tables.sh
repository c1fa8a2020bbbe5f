#!/usr/bin/env bash
# tables.sh [--quick] [--layers N] [LORA_PROGRAM]: the tables of docs/performance.md for the machine at hand, as Markdown,
# for each kernel set that it has. The model is the guide's 3B in Q8_0 with random weights. --quick: 2 of its layers and
# fewer rows, some minutes; without it the whole model, which may take hours. Close other programs meanwhile. Progress
# goes to stderr.
set -euo pipefail
export LC_ALL=C
lora=build/lora layers=() quick=false iterations=2
while (($#)); do
  case $1 in
    --quick) quick=true layers=(--layers 2) iterations=3 ;;
    --layers) layers=(--layers "$2") && shift ;;
    -*) echo "usage: $0 [--quick] [--layers N] [LORA_PROGRAM]" >&2 && exit 2 ;;
    *) lora=$1 ;;
  esac
  shift
done

figures=
measure() {  # FLAGS...: into $figures
  echo "lora bench $*" >&2
  figures=$("$lora" bench --json --iterations $iterations "$@")
}
get() { sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" <<<"$figures"; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }
model=(--synthetic llama-3b --type q8_0 "${layers[@]}")

# What the guide measured for the whole 3B: hours and minutes for 256 iterations, and GB beyond the file.
guide_of() {
  case $1 in
    "--ctx 64") echo 1:49 1.55 ;;
    "--ctx 128") echo 2:44 2.06 ;;
    "--ctx 256" | "--batch 1" | "--lora-r 4" | "--use-checkpointing") echo 4:33 3.02 ;;
    "--ctx 512") echo 8:38 5.20 ;;
    "--ctx 1024") echo 17:15 9.18 ;;
    "--ctx 2048") echo 39:18 11.0 ;;
    "--ctx 4096") echo 126:33 13.9 ;;
    "--batch 2") echo 8:27 5.20 ;;
    "--batch 4") echo 15:57 9.18 ;;
    "--batch 8") echo 32:20 11.0 ;;
    "--lora-r 8") echo 4:47 3.14 ;;
    "--lora-r 16") echo 4:50 3.39 ;;
    "--lora-r 32") echo 4:51 3.89 ;;
    "--lora-r 64") echo 5:03 4.88 ;;
    "--no-checkpointing") echo 4:03 15.1 ;;
    "--threads 1") echo 22:12 3.02 ;;
    "--threads 2") echo 11:56 3.02 ;;
    "--threads 4") echo 6:32 3.02 ;;
    "--threads 8") echo 5:30 3.02 ;;
  esac
}

# The kernel sets of this machine, weakest first: LORA_ISA and --precision of each column.
columns=()
for set in $("$lora" --version -v | sed -n 's/^kernel sets supported by this machine: //p' | tr ',' ' '); do
  [[ $set == scalar ]] && continue
  [[ $set == avx2 ]] || columns+=("$set bf16")
  [[ $set == amx ]] || columns+=("$set f32")
done

header() {  # TITLE, FIRST COLUMN
  printf '\n### %s\n\n| %s |' "$1" "$2"
  for column in "${columns[@]}"; do printf ' %s: s/step | of peak |' "$column"; done
  printf ' layers kept | GB beyond the model | guide: s/step | GB |\n|---|'
  for column in "${columns[@]}"; do printf -- '---|---|'; done
  printf -- '---|---|---|---|\n'
}
training_row() {  # NAME, GUIDE'S NAME, FLAGS...
  local name=$1 guide=$2 time=– memory=– column=
  shift 2
  printf '| %s |' "$name"
  for column in "${columns[@]}"; do
    read -r set precision <<<"$column"
    LORA_ISA=$set measure "${model[@]}" "$@" --precision "$precision"
    printf ' %s | %s%% |' "$(calc %.3g "$(get step_s)")" "$(calc %.0f "100 * $(get share_of_peak)")"
    # Memory and plan are the first column's: f32 takes the most.
    [[ $column == "${columns[0]}" ]] && first=$figures
  done
  figures=$first
  if [[ $(get n_layer) == "$(get n_layer_whole)" && -n $(guide_of "$guide") ]]; then
    read -r time memory <<<"$(guide_of "$guide")"
    time=$(awk -F: '{ printf "%.0f", ($1 * 60 + $2) * 60 / 256 }' <<<"$time")
  fi
  printf ' %s of %s | %s | %s | %s |\n' "$(get layers_kept)" "$(get n_layer)" \
    "$(calc %.2f "$(get bytes_beyond_model) / 1e9")" "$time" "$memory"
}

contexts=(64 128 256 512 1024 2048 4096) batches=(1 2 4 8) ranks=(4 8 16 32 64) types=(q8_0 q4_k_m f16)
$quick && contexts=(64 256 1024) batches=(1 4) ranks=(4 64) types=(q8_0)
base=(--ctx 256 --batch 1)

measure "${model[@]}" "${base[@]}"
printf '%s; %s threads; %s, %s of %s layers in %s.\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" \
  "$(get threads)" "$(get model)" "$(get n_layer)" "$(get n_layer_whole)" "$(get types)"
printf 'Where nothing else is said: `--ctx 256 --batch 1 --lora-r 4`, as much kept as memory allows.\n'

printf '\n### Kernel sets\n\n'
printf '| set, inputs | s/step | tokens/s | useful GFLOP/s | of peak | GFLOP/s with recomputation |\n|---|---|---|---|---|---|\n'
for column in "${columns[@]}"; do
  read -r set precision <<<"$column"
  LORA_ISA=$set measure "${model[@]}" "${base[@]}" --precision "$precision"
  printf '| %s, %s | %s | %s | %s | %s%% | %s |\n' "$set" "$precision" "$(calc %.3g "$(get step_s)")" \
    "$(calc %.0f "$(get train_tok_per_s)")" "$(calc %.0f "$(get gflops)")" \
    "$(calc %.0f "100 * $(get share_of_peak)")" "$(calc %.0f "$(get executed_gflops)")"
done
header "Context" "--ctx"
for n in "${contexts[@]}"; do training_row "$n" "--ctx $n" --batch 1 --ctx "$n"; done
header "Batch" "--batch"
for n in "${batches[@]}"; do training_row "$n" "--batch $n" --ctx 256 --batch "$n"; done
header "Rank" "--lora-r"
for n in "${ranks[@]}"; do training_row "$n" "--lora-r $n" "${base[@]}" --lora-r "$n"; done
header "Checkpointing" "flag"
for flag in --use-checkpointing --no-checkpointing; do training_row "\`$flag\`" "$flag" "${base[@]}" $flag; done
header "Threads" "--threads"
measure "${model[@]}" "${base[@]}"
all=$(get threads)
for ((n = 1; n <= all; n *= 2)); do training_row "$n" "--threads $n" "${base[@]}" --threads "$n"; done

printf '\n### Generation\n\n'
printf '| type | prompt tokens/s (512) | of peak | tokens/s | GB/s of weights | of what reading reaches |\n'
printf '|---|---|---|---|---|---|\n'
for type in "${types[@]}"; do
  measure --synthetic llama-3b --type "$type" "${layers[@]}" --generate
  printf '| %s (%s) | %s | %s%% | %s | %s | %s%% |\n' "$type" "$(sed -n 's/^ *"types": "\(.*\)",$/\1/p' <<<"$figures")" \
    "$(calc %.0f "$(get prompt_tok_per_s)")" "$(calc %.0f "100 * $(get prompt_share_of_peak)")" \
    "$(calc %.1f "$(get generate_tok_per_s)")" "$(calc %.1f "$(get generate_gb_per_s)")" \
    "$(calc %.0f "100 * $(get share_of_bandwidth)")"
done

printf '\n### Where a step goes\n\n```\n'
echo "lora bench --profile" >&2
"$lora" bench "${model[@]}" "${base[@]}" --iterations 1 --profile | sed -n '/^one step/,$p'
printf '```\n'
