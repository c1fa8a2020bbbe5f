// Any bytes as the small files of a Hugging Face folder: tokenizer.model, tokenizer.json, config.json. Read
// or refused with lora::Error, nothing else; what is read can be written as GGUF.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "convert/hf_config.h"
#include "convert/hf_vocabulary.h"
#include "convert/metadata.h"

namespace {

template <class Action>
void ignore_error(Action&& action) {
  try {
    action();
  } catch (const lora::Error&) {
  }
}

void use(const lora::HfVocabulary& vocabulary) {
  lora::GgufWriter writer;
  vocabulary.set_keys(writer);
}

void use(const lora::HfConfig& config) {
  lora::GgufWriter writer;
  lora::set_architecture_keys(writer, config);
  lora::rope_tensors(config);
  if (config.n_head % config.n_head_kv != 0 || config.size(lora::Dim::qkv) <= 0) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ignore_error([&] {
    use(lora::vocabulary_of_sentencepiece(std::as_bytes(std::span(data, size)), "tokenizer.model"));
  });
  ignore_error([&] {
    lora::AddedTokens added;
    use(lora::vocabulary_of_tokenizer_json(text, "tokenizer.json", added));
  });
  ignore_error([&] { use(lora::parse_hf_config(text, "config.json")); });
  return 0;
}
