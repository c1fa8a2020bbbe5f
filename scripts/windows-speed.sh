#!/usr/bin/env bash
# scripts/windows-speed.sh LINUX_BUILD WINDOWS_BUILD [PAIRS]: how fast lora.exe trains and generates under Wine beside lora
# here, measured in turns, so that what else the machine does falls on both. Prints the best speed of each, which others'
# work has disturbed least, with their quotient, and the median of the pairs' quotients; fails where the first is below
# LORA_LEAST (0.90). Two layers of the guide's 3B in Q8_0; LORA_ISA as both have it. Wants the target lora of both; each pair
# takes a minute on two cores that nobody else uses.
set -euo pipefail
export LC_ALL=C LORA_ISA=${LORA_ISA-avx2}
cd "$(dirname "$0")/.."
linux=$(realpath "${1:?the folder of a build for this system is wanted}")
windows=$(realpath "${2:?the folder of a build for Windows is wanted}")
n_pairs=${3:-5}
least=${LORA_LEAST:-0.90}

bench() {  # SYSTEM FLAGS...
  local system=$1 program=("$linux/lora")
  [[ $system == windows ]] && program=(scripts/wine.sh "$windows/lora.exe")
  "${program[@]}" bench --json --synthetic llama-3b --layers 2 --type q8_0 "${@:2}" 2>/dev/null | tr -d '\r'
}
figures=$(mktemp)
trap 'rm -f "$figures"' EXIT
for ((pair = 1; pair <= n_pairs; ++pair)); do
  # Who begins changes, too: a machine may slow down as it gets warm.
  systems=(linux windows)
  ((pair % 2)) || systems=(windows linux)
  for system in "${systems[@]}"; do
    {
      bench "$system" --train --ctx 128 --batch 2 --iterations 4
      bench "$system" --generate --prompt 128 -n 32 --iterations 2
    } | awk '/"min_step_s"/ { step = $2 + 0 } /"tokens"/ { n = $2 + 0 }
             /"train_tok_per_s"/ { print "\"train_tok_per_s\": " n / step; next } { print }' |
      sed -nE "s/^ *\"(train|prompt|generate)_tok_per_s\": ([0-9.e+]+),?$/$pair $system \1 \2/p" >> "$figures"
  done
done

awk -v least="$least" -v n_pairs="$n_pairs" -v isa="$LORA_ISA" '
  function median(values, n,   i, j, t) {
    for (i = 2; i <= n; ++i)
      for (j = i; j > 1 && values[j] < values[j - 1]; --j) { t = values[j]; values[j] = values[j - 1]; values[j - 1] = t }
    return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
  }
  { speed[$1, $2, $3] = $4 }
  END {
    printf "tokens/s, LORA_ISA=%s, %d pairs: the best of Linux, of Wine, their quotient, the pairs\047\n", isa, n_pairs
    n = split("train prompt generate", kinds, " ")
    for (k = 1; k <= n; ++k) {
      best = best_there = 0
      for (p = 1; p <= n_pairs; ++p) {
        a = speed[p, "linux", kinds[k]]; b = speed[p, "windows", kinds[k]]
        if (!(a > 0 && b > 0)) { print "error: " kinds[k] ": no figure of pair " p; exit 1 }
        if (a > best) best = a
        if (b > best_there) best_there = b
        q[p] = b / a
      }
      middle = median(q, n_pairs)
      printf "%-9s %7.1f %7.1f   %.3f   %.3f (%.3f - %.3f)\n", kinds[k], best, best_there, best_there / best, middle, q[1], q[n_pairs]
      if (best_there / best < least) slow = slow " " kinds[k]
    }
    if (slow) { print "error: slower than " least " of Linux:" slow; exit 1 }
  }' "$figures"
