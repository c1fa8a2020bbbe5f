#!/usr/bin/env bash
# cluster_model.sh: the speed of up to 64 machines against one, by the formula of docs/cluster.md, as an SVG; with `table`
# as text.
set -euo pipefail
awk -v table="${1:-}" -v parameters=42e6 -v batches=64 -v seconds=30 -v latency=0.0005 '
  function ceil(x) { return x == int(x) ? x : int(x) + 1 }
  function time(n, rate) {
    return seconds * ceil(batches / n) + (n > 1 ? 8 * latency + 8 * parameters * (1 - 1 / n) / rate : 0)
  }
  function speed(n, rate) { return time(1, rate) / time(n, rate) }
  function x(n) { return 60 + 8 * n }
  function y(s) { return 560 - 8 * s }
  BEGIN {
    n_rates = split("12.5e6 125e6 1250e6", rates, " "); split("100 Mbit/s,1 Gbit/s,10 Gbit/s", names, ",")
    split("#c0392b #2471a3 #1e8449", colours, " ")
    if (table) {
      for (n = 1; n <= 64; n *= 2) {
        printf "%2d", n
        for (r = 1; r <= n_rates; ++r) printf "  %6.2f", speed(n, rates[r])
        print ""
      }
      exit
    }
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 620\" font-family=\"sans-serif\" font-size=\"14\">"
    print "<rect width=\"680\" height=\"620\" fill=\"white\"/>"
    for (n = 0; n <= 64; n += 8) {
      printf "<path d=\"M%g %gH%gM%g %gV%g\" stroke=\"#ddd\"/>", x(0), y(n), x(64), x(n), y(0), y(64)
      printf "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%d</text>", x(n), y(0) + 20, n
      printf "<text x=\"%g\" y=\"%g\" text-anchor=\"end\">%d</text>\n", x(0) - 8, y(n) + 5, n
    }
    print "<text x=\"316\" y=\"605\" text-anchor=\"middle\">machines</text>"
    print "<text x=\"60\" y=\"30\">times as fast as one</text>"
    for (r = 1; r <= n_rates; ++r) {
      path = ""
      for (n = 1; n <= 64; n *= 2) path = path (n == 1 ? "M" : "L") x(n) " " y(speed(n, rates[r]))
      printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>", path, colours[r]
      printf "<text x=\"%g\" y=\"%g\" fill=\"%s\">%s</text>\n", x(64) + 6, y(speed(64, rates[r])) + 5, colours[r], names[r]
    }
    print "</svg>"
  }'
