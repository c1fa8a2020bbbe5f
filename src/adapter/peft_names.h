// Names of Hugging Face modules in GGUF, for the tensors that a LoRA may sit on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/hf_names.h"

namespace lora {

struct PeftTarget {
  std::string base;  // "blk.0.attn_q.weight"
  RowOrder order = RowOrder::as_is;
};

// Of a module's name without "base_model.model.", e.g. "model.layers.0.self_attn.q_proj"; nullopt if the
// architecture has no such module.
std::optional<PeftTarget> peft_target(std::string_view architecture, std::string_view module);

// The other way round.
struct PeftModule {
  std::string name;  // "model.layers.0.self_attn.q_proj"
  RowOrder order = RowOrder::as_is;
};
std::optional<PeftModule> peft_module(std::string_view architecture, std::string_view base);

// Error naming `path` and the architectures that are known, unless this is one.
void check_peft_knows(const std::string& path, std::string_view architecture);

// Brings the rows of B (n_rows, n_cols) from Hugging Face's order into GGUF's (hf_names.h), or back. False if
// the heads do not divide them.
enum class RowsTo { gguf, hf };
bool reorder_rows(std::vector<float>& b, int64_t n_rows, int64_t n_cols, int64_t n_head, RowsTo to);

}  // namespace lora
