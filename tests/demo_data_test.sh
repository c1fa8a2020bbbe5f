#!/usr/bin/env bash
# demo_data_test.sh SOURCE_DIR WORK_DIR: the committed demo texts and records are what their generators write, and the
# held-out pages are new to a model trained on the others.
set -euo pipefail
export LC_ALL=C
demo=$1/examples/demo work=$2
mkdir -p "$work"

"$demo/make-demo-data.sh" "$work"
cmp "$demo/train.txt" "$work/train.txt"
cmp "$demo/heldout.txt" "$work/heldout.txt"
"$1/examples/data/make-instructions.sh" "$work"
cmp "$1/examples/data/instructions.jsonl" "$work/instructions.jsonl"

# The first two sentences of a response are the weather and the sight.
facts() { awk -F '[.] ' 'previous == "### Response:" { print $1 "|" $2 } { previous = $0 }' "$1" | sort -u; }
facts "$demo/train.txt" >"$work/train-pairs"
facts "$demo/heldout.txt" >"$work/heldout-pairs"
[[ $(wc -l <"$work/heldout-pairs") -gt 0 ]]

both=$(comm -12 "$work/train-pairs" "$work/heldout-pairs")
[[ -z $both ]] || { echo "held-out pairs that are in train.txt: $both"; exit 1; }
for field in 1 2; do
  unseen=$(comm -13 <(cut -d'|' -f$field "$work/train-pairs" | sort -u) <(cut -d'|' -f$field "$work/heldout-pairs" | sort -u))
  [[ -z $unseen ]] || { echo "sentences that train.txt never shows: $unseen"; exit 1; }
done
repeated=$(grep -v -e '^<s>' -e '^###' -e '^$' "$demo/train.txt" | sort | uniq -d)
[[ -z $repeated ]] || { echo "repeated: $repeated"; exit 1; }
