#!/usr/bin/env bash
# scripts/check-skips.sh BUILD_FOLDER: says which tests of the last ctest run there were skipped, and why; fails where a
# reason is none of tests/skips.txt, or does not hold on this machine. A test that nobody runs cannot fail.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?the folder of a build whose tests have run}
log=$build/Testing/Temporary/LastTest.log
[[ -e $log ]] || { echo "error: $log: not there; run ctest first" >&2; exit 1; }

# "TEST<tab>REASON" of each skip: GoogleTest's, a kernel set's, a script's.
skips=$(awk '
  { sub(/\r$/, "") }  # as programs for Windows end lines
  / Testing: / { test = $3 }
  /: Skipped$/ { getline; sub(/\r$/, ""); print test "\t" $0 }
  /LORA_ISA=[a-z0-9_]*: not supported by this CPU or build/ && test != last {
    match($0, /LORA_ISA=.*build/); print test "\t" substr($0, RSTART, RLENGTH); last = test
  }
  /^skipped: / { print test "\t" substr($0, 10) }' "$log" | sort -u)

declare -A holds
failed=0
while IFS=$'\t' read -r test reason; do
  [[ $test ]] || continue
  if [[ ! ${holds[$reason]:-} ]]; then
    holds[$reason]=unknown
    while IFS=$'\t' read -r pattern condition; do
      [[ $pattern != \#* && $reason =~ ^($pattern)$ ]] || continue
      holds[$reason]="not so"
      if (set -- "$build"; eval "$condition"); then holds[$reason]=yes; break; fi
    done < tests/skips.txt
  fi
  case ${holds[$reason]} in
    yes) continue ;;
    unknown) echo "error: $test: skipped for a reason that tests/skips.txt does not have: $reason" >&2 ;;
    *) echo "error: $test: skipped for a reason that does not hold here: $reason" >&2 ;;
  esac
  failed=1
done <<<"$skips"
((failed == 0)) || exit 1
[[ $skips ]] || { echo "skipped: none"; exit 0; }
echo "skipped: $(cut -f1 <<<"$skips" | sort -u | wc -l) tests; how often each reason was given:"
cut -f2 <<<"$skips" | sort | uniq -c
