#!/usr/bin/env bash
# pipeline.sh BUILD FOLDER [ITERATIONS] [BATCHES...]: a pipeline of two processes of one thread (--pipeline 2) beside one process of
# two threads, by Open MPI on this machine, in turns, for each number of batches in an iteration (4 and 8): the median
# seconds of an iteration, their quotient, and what waiting alone would make of it, M / (M + 1); then the bytes of the
# model's file that each process has mapped in. The model (6 layers of a 1B in Q8_0) is made in FOLDER unless there is
# one. Close other programs meanwhile.
# LIMIT_MB (as root): the pipeline's processes as on machines of their own with so much memory: a control group and a
# host's name for each; then the most that each group had of it, the file's pages included.
set -euo pipefail
export LC_ALL=C OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
build=${1:?a build folder is wanted} folder=${2:?a folder for the model is wanted} n_iter=${3:-4}
batches=("${@:4}")
((${#batches[@]})) || batches=(4 8)
. "$(dirname "$0")/files.sh"
lora=$(realpath "$build")/lora
make_files "$build" "$folder" 6 llama-1b
# Of each process of the run, once it is in its second iteration: the file's pages that are mapped in.
watch() {
  until grep -q '"iter":1,' "$folder/run.jsonl" 2> /dev/null || ! kill -0 "$1" 2> /dev/null; do sleep 0.2; done
  for pid in $(pgrep -x lora -P "$1"); do
    awk '/^[0-9a-f]+-/ { is = /model\.gguf$/ } is && /^Rss:/ { n += $2 } END { printf "%.0f MiB\n", n / 1024 }' "/proc/$pid/smaps"
  done | sort -n | tr '\n' ' ' > "$folder/mapped"
}
run() {  # NAME BATCHES COMMAND...
  rm -f "$folder/run."*
  "${@:3}" finetune --model-base "$folder/model.gguf" --train-data "$folder/text.txt" --sample-start= --seed 1 --ctx 64 \
    --batch 1 --grad-acc "$2" --adam-iter "$n_iter" --lora-out "$folder/run.gguf" --checkpoint-out '' \
    --metrics "$folder/run.jsonl" "${flags[@]}" > "$folder/run.log" 2>&1 &
  watch $!
  wait $! || { tail -3 "$folder/run.log" >&2; exit 1; }
  sed -nE 's/.*"dt_s":([0-9.]+).*/\1/p' "$folder/run.jsonl" | tail -n +2 > "$folder/$1"
  cp "$folder/run.gguf" "$folder/$1.gguf"
}
for m in "${batches[@]}"; do
  flags=(-t 2) && run one "$m" "$lora"
  flags=(-t 1 --pipeline 2) && run two "$m" mpirun --oversubscribe --bind-to none -n 2 "$lora"
  cmp "$folder/one.gguf" "$folder/two.gguf"
  awk -v m="$m" -v one="$(median "$folder/one")" -v two="$(median "$folder/two")" -v mapped="$(cat "$folder/mapped")" 'BEGIN {
    printf "%d batches: one process %.2f s, a pipeline of two %.2f s: %.2f (waiting alone: %.2f); mapped in: %s\n",
      m, one, two, one / two, m / (m + 1), mapped }'
  [[ -n ${LIMIT_MB:-} ]] || continue
  groups=()
  for stage in 0 1; do groups+=("$(group "$LIMIT_MB" "lora-stage-$$-$stage")"); done
  forget "$folder/model.gguf"
  # shellcheck disable=SC2016
  run limited "$m" mpirun --oversubscribe --bind-to none -n 2 unshare --uts sh -c 'stage=$OMPI_COMM_WORLD_RANK
    hostname "stage$stage" && echo $$ > "$0$stage/cgroup.procs" && exec "$@"' "${groups[0]%0}" "$lora"
  cmp "$folder/one.gguf" "$folder/limited.gguf"
  cat "${groups[@]/%//memory.max_usage_in_bytes}" "${groups[@]/%//memory.peak}" 2> /dev/null |
    awk -v limit="$LIMIT_MB" -v file="$(stat -c %s "$folder/model.gguf")" -v seconds="$(median "$folder/limited")" '
      { most = most (NR > 1 ? " and " : "") sprintf("%.0f MB", $1 / 1e6) }
      END { printf "within %d MB each, of a file of %.0f MB: %.2f s, at most %s\n", limit, file / 1e6, seconds, most }' || true
  rmdir "${groups[@]}"
done
