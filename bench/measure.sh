# measure WHAT COMMAND...: prints the seconds that a command takes, $megabytes per second and core of $threads, and its
# peak memory beside mapped files. For other scripts to read.
measure() {  # WHAT COMMAND...
  local peak=0 now pid log begin=$EPOCHREALTIME end
  log=$(mktemp)
  "${@:2}" >"$log" 2>&1 &
  pid=$!
  while now=$(awk '/^RssAnon/ {print $2}' "/proc/$pid/status" 2>/dev/null) && [[ -n $now ]]; do
    ((now > peak)) && peak=$now
    sleep 0.02
  done
  wait "$pid" || { cat "$log"; exit 1; }
  end=$EPOCHREALTIME
  rm -f "$log"
  awk -v what="$1" -v s="$(awk "BEGIN {print $end - $begin}")" -v mb="$megabytes" -v threads="$threads" -v kib="$peak" \
    'BEGIN { printf "%-22s %7.2f s %7.0f MB/s per core %7.0f MiB\n", what, s, mb / s / threads, kib / 1024 }'
}
