// Which name tokenizer.ggml.pre has for the pre-tokenizer of a tokenizer.json. llama.cpp's conversion goes by
// a hash of the ids of one text; here the steps themselves are compared, so that any vocabulary will do.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lora {

// `pre_tokenizer` is that object of tokenizer.json; `composes` whether its normalizer is NFC, ignore_merges
// that of its model. Of several names with the same steps the one whose row (tokenizer/pre_tokenizers.h)
// agrees in most of the two, the first among equals. Error naming `path` and the steps found where no name
// has them.
std::string pre_tokenizer_name(const nlohmann::json& pre_tokenizer, bool composes, bool ignore_merges,
                               const std::string& path);

}  // namespace lora
