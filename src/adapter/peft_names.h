// Names of Hugging Face modules in GGUF, for the tensors that a LoRA may sit on.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "gguf/hf_names.h"

namespace lora {

struct PeftTarget {
  std::string base;  // "blk.0.attn_q.weight"
  RowOrder order = RowOrder::as_is;
};

// Whether adapters of PEFT for this general.architecture can be read.
bool peft_knows(std::string_view architecture);

// Of a module's name without "base_model.model.", e.g. "model.layers.0.self_attn.q_proj"; nullopt if the
// architecture has no such module.
std::optional<PeftTarget> peft_target(std::string_view architecture, std::string_view module);

}  // namespace lora
