#!/usr/bin/env bash
# guide_page_test.sh LORA_PROGRAM PAGE: docs/from-the-cpu-lora-guide.md names every flag of `lora finetune`.
set -euo pipefail
export LC_ALL=C
lora=$1 page=$2
help=$("$lora" finetune --help-all)
flags_in() { { grep -oE -- '--[a-z][a-z0-9-]*' || true; } | sort -u; }

offered=$(grep -E '^ +-' <<<"$help" | flags_in)
[[ $(wc -l <<<"$offered") -gt 30 ]] || { echo "no flags found in the help"; exit 1; }
missing=$(comm -23 <(echo "$offered") <(flags_in <"$page"))
[[ -z $missing ]] || { echo "the page does not name: $missing"; exit 1; }
