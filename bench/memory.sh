#!/usr/bin/env bash
# memory.sh BUILD FOLDER [LAYERS [LIMIT_MB...]]: training a model larger than memory beside the same run with memory enough, as
# a Markdown table by tokens of a batch. The model (the guide's 3B in Q8_0, 12 of its 26 layers: 1.6 GB) is made in FOLDER,
# on the disk that is to be measured. Root, for a control group of its own; both runs recompute all activations, so that
# their plans are the same; then what `lora estimate` says within the same memory. CONTEXTS: tokens (128 to 2048). Some
# minutes a row.
set -euo pipefail
export LC_ALL=C
build=${1:?a build folder is wanted} folder=${2:?a folder for the model is wanted} layers=${3:-12}
shift $(($# < 3 ? $# : 3))
limits=("$@")
((${#limits[@]})) || limits=(600)
. "$(dirname "$0")/files.sh"
lora=$(realpath "$build")/lora
make_files "$build" "$folder" "$layers" llama-3b

within() {  # LIMIT_MB or 0, COMMAND...
  local to=/dev/null cgroup=
  (($1)) && cgroup=$(group "$1" "lora-memory-$$") && to=$cgroup/cgroup.procs
  forget "$folder/model.gguf"
  (echo $BASHPID > "$to" && exec "${@:2}" 2> "$folder/run.log") || { tail -3 "$folder/run.log" >&2; exit 1; }
  [[ -z $cgroup ]] || rmdir "$cgroup"
}
# COMMAND LIMIT_MB or 0, CONTEXT, MORE...
lora() {
  within "$2" "$lora" "$1" --model-base "$folder/model.gguf" --train-data "$folder/text.txt" --sample-start= --seed 1 \
    --ctx "$3" --batch 1 --use-checkpointing --adam-iter 5 --checkpoint-in= --checkpoint-out= --lora-out "$folder/run.gguf" \
    "${@:4}"
}
run() {  # LIMIT_MB or 0, CONTEXT: median seconds of an iteration
  rm -f "$folder"/run.*
  lora finetune "$1" "$2" --metrics "$folder/run.jsonl"
  cp "$folder/run.gguf" "$folder/adapter.$1"
  sed -nE 's/.*"dt_s":([0-9.]+).*/\1/p' "$folder/run.jsonl" | tail -n +2 | sort -n | sed -n 2p
}
estimated() {  # KEY: a number that the estimate has
  sed -nE "s/.*\"$1\": ([0-9.e+]+).*/\1/p" "$folder/estimate.json"
}

echo "| tokens | memory, MB | of the file | s an iteration | with memory enough | slowdown | by the estimate, s | disk, MB/s | a twentieth from |"
echo "|---|---|---|---|---|---|---|---|---|"
for context in ${CONTEXTS:-128 256 512 1024 2048}; do
  for limit in "${limits[@]}"; do
    limited=$(run "$limit" "$context")
    whole=$(run 0 "$context")
    cmp "$folder/adapter.$limit" "$folder/adapter.0"
    lora estimate "$limit" "$context" --json > "$folder/estimate.json"
    awk -v tokens="$context" -v limit="$limit" -v s="$limited" -v whole="$whole" -v said="$(estimated iteration_s)" \
      -v rate="$(estimated read_bytes_per_s)" -v from="$(estimated hidden_from_batch_tokens)" \
      -v bytes="$(stat -c %s "$folder/model.gguf")" 'BEGIN {
        printf "| %d | %d | %.2f | %.2f | %.2f | %.2f | %.2f | %.0f | %.0f tokens |\n",
          tokens, limit, limit * 1e6 / bytes, s, whole, s / whole, said, rate / 1e6, from }'
  done
done
