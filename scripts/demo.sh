#!/usr/bin/env bash
# demo.sh LORA_PROGRAM: fine-tunes the bundled model on pages of a whaler's log, and shows what it learned on pages
# that it was not given. Writes below build/demo/ only.
set -euo pipefail
lora=$1
model=models/tiny-q8_0.gguf
train=examples/demo/train.txt
heldout=examples/demo/heldout.txt
out=build/demo
adapter=$out/demo-lora.gguf
mkdir -p "$out"

# The first page of the held-out text: the question it asks, and the answer that was kept from the model.
prompt=$(sed '/^### Response:$/q' "$heldout")$'\n'
answer=$(sed -n '/^### Response:$/{n;p;q}' "$heldout")

printf '%s\n' "$prompt" >"$out/prompt.txt"  # of a prompt file's end one line feed is dropped

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[[ -t 1 ]] || say() { printf '\n%s\n' "$*"; }

perplexity() {
  "$lora" eval -m "$model" -f "$heldout" -c 128 --json "$@" 2>>"$out/log" |
    sed -n 's/.*"perplexity": *\([0-9]*\.\{0,1\}[0-9]\{0,2\}\).*/\1/p' | head -1
}
continuation() { "$lora" generate -m "$model" -p "$prompt" -n 64 --temp 0 --no-echo "$@" 2>>"$out/log"; }

: >"$out/log"
say "The model"
echo "$model: 6.8 million parameters, quantized to 8 bits. It has read speeches, novels and fairy tales,"
echo "but never a ship's log. $train has $(grep -c '^<s>' "$train") pages of one; $heldout has"
echo "$(grep -c '^### Response:' "$heldout") pages with pairs of weather and sight that are in none of those."

say "Before training"
before=$(perplexity)
before_text=$(continuation)
printf '%s%s\n' "$prompt" "$before_text"

say "Training"
command=("$lora" train "$model" "$train" -o "$out/demo-lora" --checkpoint-in '')
printf '%q ' "${command[@]}"
echo
"${command[@]}"

say "After training"
after=$(perplexity --lora "$adapter")
after_text=$(continuation --lora "$adapter")
printf '%s%s\n' "$prompt" "$after_text"

say "What was learned"
echo "perplexity of the held-out pages: $before before, $after after"
echo "continuation before: $(tr '\n' ' ' <<<"$before_text")"
echo "continuation after:  $(tr '\n' ' ' <<<"$after_text")"
echo "the held-out page:   $answer"

say "The adapter lies in $adapter"
cat <<TEXT
$out/demo-lora.md says how good it became, $out/demo-lora.svg shows it, $out/demo-lora.toml how it was trained.
Ask it again:
  $lora generate -m $model --lora $adapter --temp 0 -f $out/prompt.txt
TEXT
