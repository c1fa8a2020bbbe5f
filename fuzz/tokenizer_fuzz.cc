// Any bytes encode without a crash, decode to themselves (accents composed where the model does so), and mean
// the same in one call or many. The vocabulary is that of LORA_FUZZ_MODEL, by default models/tiny-q8_0.gguf.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "tokenizer/compose.h"
#include "tokenizer/tokenizer.h"

namespace {

const lora::Tokenizer& tokenizer() {
  static const lora::Tokenizer instance = [] {
    const char* path = std::getenv("LORA_FUZZ_MODEL");
    return lora::Tokenizer(lora::Gguf::open(path ? path : "models/tiny-q8_0.gguf"));
  }();
  return instance;
}

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Vocabularies of SentencePiece write the space as U+2581 and cannot tell the two apart.
  const bool has_space_mark = text.find("\xe2\x96\x81") != std::string_view::npos;
  for (const bool parse_special : {false, true}) {
    const std::vector<lora::Token> tokens = tokenizer().encode(text, parse_special);
    for (const lora::Token token : tokens) require(token >= 0 && token < tokenizer().n_vocab());
    const std::string decoded = tokenizer().decode(tokens, true);
    std::string one, other;
    require(has_space_mark || decoded == text || lora::composed(decoded, one) == lora::composed(text, other));
    const std::vector<lora::Token> with_bos = tokenizer().encode_with_bos(text, parse_special);
    require(with_bos.size() - tokens.size() <= 1);
    require(std::equal(tokens.rbegin(), tokens.rend(), with_bos.rbegin()));
  }
  const lora::Token special = tokenizer().find_special_spelling(text);
  if (special >= 0) require(text.find(tokenizer().piece(special)) != std::string_view::npos);
  return 0;
}
