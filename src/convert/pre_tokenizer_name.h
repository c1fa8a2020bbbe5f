// Which name tokenizer.ggml.pre has for the pre-tokenizer of a tokenizer.json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lora {

// `pre_tokenizer` is that object of tokenizer.json; ignore_merges that of its model. Error naming `path` and
// the steps found where no row of the table has them.
std::string pre_tokenizer_name(const nlohmann::json& pre_tokenizer, bool ignore_merges,
                               const std::string& path);

}  // namespace lora
