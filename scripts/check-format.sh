#!/usr/bin/env bash
# Fails where a source is not as `make format` would write it. Versions of clang-format differ in taste, so only the one
# that the project is written with is asked; where the distribution has another, that is said and nothing is checked.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=14
found=$(clang-format --version | sed -n 's/.*version \([0-9]*\).*/\1/p')
[[ $found == "$wanted" ]] || { echo "format: not checked: clang-format is version $found, not $wanted"; exit 0; }
git ls-files '*.h' '*.cc' | xargs clang-format --dry-run --Werror
