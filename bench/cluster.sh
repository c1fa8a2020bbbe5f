#!/usr/bin/env bash
# cluster.sh BUILD FOLDER [PAIRS]: two processes of one thread beside one process of two threads, by Open MPI on this machine, in
# turns: the median seconds of an iteration of each and their quotient, for two contexts. The model (4 layers of the guide's 3B
# in Q8_0) is made in FOLDER. Close other programs meanwhile.
set -euo pipefail
export LC_ALL=C OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
build=${1:?a build folder is wanted} folder=${2:?a folder for the model is wanted} n_pairs=${3:-3}
. "$(dirname "$0")/files.sh"
lora=$(realpath "$build")/lora
make_files "$build" "$folder" 4 llama-3b
run() {  # NAME CONTEXT COMMAND...: adds its iterations' seconds to NAME.CONTEXT
  rm -f "$folder/run."*
  "${@:3}" finetune --model-base "$folder/model.gguf" --train-data "$folder/text.txt" --sample-start= --seed 1 --ctx "$2" \
    --batch 1 --grad-acc 2 --adam-iter 8 --lora-out "$folder/run.gguf" --checkpoint-out '' --metrics "$folder/run.jsonl" \
    "${threads[@]}" > "$folder/run.log" 2>&1 || { tail -3 "$folder/run.log" >&2; exit 1; }
  sed -nE 's/.*"dt_s":([0-9.]+).*/\1/p' "$folder/run.jsonl" >> "$folder/$1.$2"
  cp "$folder/run.gguf" "$folder/$1.gguf"
}
for context in 256 512; do
  rm -f "$folder"/{one,two}.$context
  for ((pair = 0; pair < n_pairs; ++pair)); do
    threads=(-t 2) && run one "$context" "$lora"
    threads=(-t 1) && run two "$context" mpirun --oversubscribe --bind-to none -n 2 "$lora"
    cmp "$folder/one.gguf" "$folder/two.gguf"
  done
  one=$(median "$folder/one.$context") two=$(median "$folder/two.$context")
  awk -v c="$context" -v one="$one" -v two="$two" 'BEGIN {
    printf "%d tokens: one process %.2f s, two processes %.2f s, efficiency %.2f\n", c, one, two, one / two }'
done
