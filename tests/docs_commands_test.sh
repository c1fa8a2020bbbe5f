#!/usr/bin/env bash
# docs_commands_test.sh LORA_PROGRAM SOURCE_DIR: every command line of ours in README.md, CONTRIBUTING.md, docs/ and
# examples/ names a command that there is, and flags that this command has.
set -euo pipefail
export LC_ALL=C
lora=$1 root=$2
source "$root/tests/docs_commands.sh"

declare -A flags_of
while read -r command; do
  flags_of[$command]=" $("$lora" "$command" --help-all | sed -n 's/^ \{1,\}\(-[^ ].*\)/\1/p' |
    grep -oE -- '(^|[ ,])-{1,2}[a-zA-Z][a-z0-9-]*' | tr -d ' ,' | sort -u | tr '\n' ' ')"
done < <("$lora" --help | sed -n 's/^ \{1,\}\([a-z][a-z-]*\) .*/\1/p')
((${#flags_of[@]} >= 12)) || { echo "found only the commands ${!flags_of[*]}"; exit 1; }

# WHERE COMMAND-LINE: the flags are what begins with a dash and a letter outside quotes.
wrong=0 n_lines=0 n_flags=0
check() {
  local command flag words
  words=$(sed -E "s/\"[^\"]*\"|'[^']*'/X/g; s/[|>;&#].*//" <<<"$2")
  read -r _ command _ <<<"$words "
  [[ $command =~ ^[a-z] ]] || return 0  # `lora --help`, `lora COMMAND`
  if [[ -z ${flags_of[$command]:-} ]]; then
    echo "$1: lora $command: no such command"
    wrong=1
    return 0
  fi
  n_lines=$((n_lines + 1))
  for flag in $(grep -oE -- '(^| )-{1,2}[a-zA-Z][a-z0-9-]*' <<<"$words" || true); do
    n_flags=$((n_flags + 1))
    [[ ${flags_of[$command]} == *" $flag "* ]] || { echo "$1: lora $command has no flag $flag"; wrong=1; }
  done
}
while IFS=$'\t' read -r where line; do check "$where" "$line"; done < <(docs_commands "$root" lora)
((n_lines >= 60 && n_flags >= 100)) || { echo "found only $n_lines command lines with $n_flags flags"; exit 1; }
echo "$n_lines command lines, $n_flags flags"
exit $wrong
