#!/usr/bin/env bash
# generate.sh LORA_PROGRAM MODEL PROMPT N THREADS [ROUNDS]: tokens/s of `lora` and of llama.cpp (from npm, as in
# tests/interop) on the same file, in turn. Both are the median token; the prompt has PROMPT tokens.
set -euo pipefail
lora=$(realpath "$1") model=$(realpath "$2") prompt=$3 n=$4 threads=$5
here=$(cd "$(dirname "$0")" && pwd)
work=${TMPDIR:-/tmp}/lora-bench-llama.cpp
source "$here/../tests/interop/llama_cpp.sh"
install_llama_cpp "$work" >&2
cp "$here/generate.mjs" "$work"
for ((round = 0; round < ${6:-2}; ++round)); do
  "$lora" bench -m "$model" --generate --prompt "$prompt" -n "$n" -t "$threads" --json |
    awk -F'[:,]' '/"prompt_tok_per_s"/ { p = $2 } /"generate_tok_per_s"/ { g = $2 }
      END { printf "lora       prompt %.1f tokens/s, generation %.1f tokens/s\n", p, g }'
  (cd "$work" && node generate.mjs "$model" "$prompt" "$n" "$threads")
done
