#!/usr/bin/env bash
# scaling.sh BUILD [FLAGS of lora bench --profile...]: how many times as fast as one thread a training step would be by 8 to 128, as
# a Markdown table, from what is measured here with two: seconds outside of parallel loops, which stay; seconds in them, which
# are shared out; and what each of the loops takes to begin and to end, which grows with the threads, since each of them
# fetches the same lines of memory (a third column of speeds: where that takes three times as long, as from another socket).
# What it leaves out: memory's bandwidth, caches, and loops of fewer tasks than threads.
set -euo pipefail
export LC_ALL=C
build=${1:?a build folder is wanted}
shift
"$build/lora" bench --profile --json -t 2 "$@" | sed -nE 's/^ *"(profiled_step_s|loops|loops_s|loop_overhead_s)": ([0-9.e-]+).*/\1 \2/p' |
  awk '
    { is[$1] = $2 }
    END {
      alone = is["profiled_step_s"] - is["loops_s"]
      shared = 2 * (is["loops_s"] - is["loops"] * is["loop_overhead_s"])
      printf "%d loops, of %.2f us each to begin and to end; %.2f%% of the step outside of them\n\n",
        is["loops"], 1e6 * is["loop_overhead_s"], 100 * alone / is["profiled_step_s"]
      print "| threads | us of a loop | times one thread | lines three times as slow |"
      print "|---|---|---|---|"
      for (n = 8; n <= 128; n *= 2) {
        overhead = is["loop_overhead_s"] * n / 2
        for (k = 1; k <= 3; k += 2) speed[k] = (alone + shared) / (alone + shared / n + is["loops"] * k * overhead)
        printf "| %d | %.1f | %.1f | %.1f |\n", n, 1e6 * overhead, speed[1], speed[3]
      }
    }'
