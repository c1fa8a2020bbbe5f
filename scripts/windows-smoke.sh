#!/usr/bin/env bash
# scripts/windows-smoke.sh LINUX_BUILD WINDOWS_BUILD: what lora.exe writes under Wine has the same bytes as what lora writes
# here: training, going on, generation, conversion, quantization and merging, in folders of Cyrillic and Chinese names.
# Wants the targets lora and bundled_hf_folder of the first and lora of the second.
set -euo pipefail
cd "$(dirname "$0")/.."
linux=$(realpath "${1:?the folder of a build for this system is wanted}")
windows=$(realpath "${2:?the folder of a build for Windows is wanted}")
wine=$PWD/scripts/wine.sh
model=$PWD/models/tiny-q8_0.gguf
text=$PWD/examples/demo/train.txt
export LORA_ISA=${LORA_ISA-avx2}  # what Wine's processors have in every place

root=$windows/smoke
rm -rf "$root"
mkdir -p "$root"
n_same=0
lora() { "$linux/lora" "$@"; }
lora_exe() { "$wine" "$windows/lora.exe" "$@"; }

# both DIRECTORY COMMAND...: the command, by each program in a folder of its own; what it prints is kept.
both() {
  local system program
  for system in linux windows; do
    program=lora
    [[ $system == windows ]] && program=lora_exe
    if ! (cd "$root/$system/$folder" && "$program" "$@" >printed 2>said </dev/null); then
      echo "error: $system: lora $*" >&2
      tail -5 "$root/$system/$folder/said" >&2
      exit 1
    fi
  done
}
same() {
  local file
  for file in "$@"; do
    cmp "$root/linux/$folder/$file" "$root/windows/$folder/$file"
    n_same=$((n_same + 1))
  done
}

folder='Модель 模型'
for system in linux windows; do
  mkdir -p "$root/$system/$folder"
  cp "$model" "$root/$system/$folder/модель.gguf"
  sed 's/$/\r/' "$text" > "$root/$system/$folder/航海 日志.txt"
  "$linux/tests/convert/bundled_hf_folder" "$model" "$root/$system/$folder/папка" 2>/dev/null
done

finetune=(finetune --model-base модель.gguf --train-data '航海 日志.txt' --sample-start '<s>' --ctx 64 --batch 4 --seed 1
  --lora-r 8 --lora-dropout 0.1 --warmup 1 --save-every 0 --checkpoint-out точка.gguf --threads 2)
both "${finetune[@]}" --adam-iter 6 --lora-out адаптер.gguf --val-split 0.1 --metrics metrics.jsonl
same адаптер.gguf точка.gguf
both "${finetune[@]}" --adam-iter 3 --lora-out 半.gguf --checkpoint-out 半点.gguf --checkpoint-in ''
both "${finetune[@]}" --adam-iter 6 --lora-out 半.gguf --checkpoint-out 半点.gguf
same 半.gguf
both generate -m модель.gguf --lora адаптер.gguf -p 'Погода: ' -n 24 --temp 0.8 --seed 7
same printed
both convert папка --outtype f16 --outfile 变.gguf
same 变.gguf
both quantize 变.gguf малая.gguf Q4_K_M
same малая.gguf
both export-lora --model-base модель.gguf --lora адаптер.gguf --model-out 合.gguf
same 合.gguf
head -c 3000 "$text" | tee "$root/linux/$folder/проба.txt" > "$root/windows/$folder/проба.txt"
both eval -m 合.gguf -f проба.txt -c 64
same printed
echo "windows-smoke: $n_same files have the same bytes"
rm -rf "$root"
