#!/usr/bin/env bash
# busy.sh BUILD [PAIRS [MODEL...]]: how long training steps and tokens take by two threads beside one, while another program has
# one of two processors, as a Markdown table: milliseconds, medians of PAIRS (5) runs of two seconds in turn, each the mean of its later
# half. Of the bundled model, of those given, and of a layer of a large one. Nothing else should run.
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:?a build folder is wanted} pairs=${2-5}
shift "$(($# < 2 ? $# : 2))"
hog=
trap '[[ -z $hog ]] || kill "$hog"' EXIT

stop() {
  [[ -z $hog ]] || { kill "$hog"; wait "$hog" || true; }
  hog=
}
always() { while :; do :; done; }
half() { while :; do timeout 0.05 sh -c 'while :; do :; done' || sleep 0.05; done; }
start() {  # none, free, pinned, half
  case $1 in
    none) return ;;
    free) always & ;;
    pinned) always & ;;
    half) half & ;;
  esac
  hog=$!
  [[ $1 != pinned ]] || taskset -pc 1 "$hog" > /dev/null
}

milliseconds() {  # THREADS FLAGS...
  "$build/lora" bench --json -t "$@" | sed -nE 's/^ *"late_(step|token)_s": ([0-9.e-]+).*/\2/p' | awk '{ print 1000 * $1 }'
}
median() { sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

row() {  # WHAT FLAGS...
  local what=$1 one two
  shift
  for other in none free pinned half; do
    start "$other"
    one=() two=()
    for ((i = 0; i < pairs; ++i)); do
      one+=("$(milliseconds 1 "$@")")
      two+=("$(milliseconds 2 "$@")")
    done
    stop
    awk -v what="$what" -v other="$other" -v a="$(printf '%s\n' "${one[@]}" | median)" \
      -v b="$(printf '%s\n' "${two[@]}" | median)" \
      'BEGIN { printf "| %s | %s | %.4g | %.4g | %.2f |\n", what, other, a, b, b / a }'
  done
}

echo "| what | other program | one thread | two threads | two / one |"
echo "|---|---|---|---|---|"
for model in "$root/models/tiny-q8_0.gguf" "$@"; do
  name=$(basename "$model" .gguf) n=75
  [[ $(stat -c %s "$model") -gt 4000000 ]] || n=500
  row "$name, training" --model "$model" --ctx 64 --batch 4 --iterations "$n"
  row "$name, generation" --model "$model" --generate --prompt 16 -n 500 --iterations $((n / 10 + 1))
done
row "llama-1b, one layer, training" --synthetic llama-1b --layers 1 --ctx 128 --batch 2 --iterations 8
