#!/usr/bin/env bash
# docs.sh LORA_PROGRAM WORK_DIR: every command line that the documentation shows for llama.cpp and koboldcpp does what it
# says, with the bundled model and an adapter under the names of the files there. Programs that are not on this machine
# are named.
set -euo pipefail
lora=$1 work=$2/docs
root=$(cd "$(dirname "$0")/../.." && pwd)
source "$root/tests/docs_commands.sh"
skip() { echo "skipped: $1"; exit 77; }
programs=(llama-cli llama-server koboldcpp)

mapfile -t lines < <(docs_commands "$root" "${programs[@]}" | grep ' ')  # not the bare name of a program
((${#lines[@]} >= 4)) || { printf 'found only these command lines:\n%s\n' "${lines[*]}"; exit 1; }
here=() missing=()
for program in "${programs[@]}"; do
  if command -v "$program" >/dev/null; then here+=("$program"); else missing+=("$program"); fi
done
((${#here[@]})) || skip "${missing[*]} are not here"

rm -rf "$work"
mkdir -p "$work"
cd "$work"
"$lora" finetune --model-base "$root/models/tiny-q8_0.gguf" --train-data "$root/examples/demo/train.txt" \
  --sample-start '<s>' --ctx 64 --batch 2 --adam-iter 2 --seed 1 --checkpoint-in '' --checkpoint-out '' \
  --lora-out adapter 2>/dev/null

# As long as the server is running, until it answers.
serves() {  # URL COMMAND...
  local url=$1 pid is_up=1
  "${@:2}" >server.log 2>&1 </dev/null &
  pid=$!
  for ((i = 0; i < 120 && is_up; ++i)); do
    sleep 0.5
    kill -0 $pid 2>/dev/null || break
    curl -sf -o answer "$url" && is_up=0
  done
  kill $pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
  ((!is_up)) || { tail -5 server.log; return 1; }
}
port=$((20000 + RANDOM % 20000))
failed=0
for entry in "${lines[@]}"; do
  where=${entry%%$'\t'*} line=${entry#*$'\t'}
  read -ra words <<<"${line%%#*}"
  for word in "${words[@]}"; do
    [[ $word =~ ^([^:,]*\.gguf) ]] || continue
    file=${BASH_REMATCH[1]}
    if [[ $file == *lora* ]]; then ln -sf adapter "$file"; else ln -sf "$root/models/tiny-q8_0.gguf" "$file"; fi
  done
  [[ " ${here[*]} " == *" ${words[0]} "* ]] || continue
  case ${words[0]} in
    llama-cli) timeout 120 "${words[@]}" -p Hello -n 4 --single-turn </dev/null >cli.log 2>&1 ||
      { tail -5 cli.log; false; } ;;
    llama-server) serves "http://127.0.0.1:$port/health" "${words[@]}" --port "$port" ;;
    koboldcpp) serves "http://127.0.0.1:$port/api/v1/model" "${words[@]}" --port "$port" --skiplauncher ;;
  esac || { echo "$where: failed: $line"; failed=1; }
done
((${#missing[@]} == 0)) || echo "not here, so not tried: ${missing[*]}"
exit $failed
