// Names of Hugging Face modules in GGUF, for the tensors that a LoRA may sit on, and the rows of both.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/adapter.h"
#include "arch/architecture.h"
#include "arch/hf.h"

namespace lora {

// A GGUF tensor that holds a module, or a part of it; or that it is a part of (HfModule::of_hf, of_gguf).
struct PeftTarget {
  std::string base;  // "blk.0.attn_q.weight"
  const HfModule* module = nullptr;
  int64_t expert = -1;  // of the tensor's matrices; none: it is one
};
// A module's name behind that of its layer, "model.layers.3.": nullopt outside of layers.
struct PeftInLayer {
  uint32_t layer = 0;
  std::string_view module;
};
std::optional<PeftInLayer> peft_in_layer(const HfFamily& family, std::string_view module);

// Of a module's name without "base_model.model.", e.g. "model.layers.0.self_attn.q_proj"; none if the
// architecture has no such module.
std::vector<PeftTarget> peft_targets(std::string_view architecture, std::string_view module);

// The other way round.
struct PeftModule {
  std::string name;  // "model.layers.0.self_attn.q_proj"
  const HfModule* module = nullptr;
};
std::optional<PeftModule> peft_module(std::string_view architecture, std::string_view base);

// Error naming `path` and the architectures that are known, unless this is one.
void check_peft_knows(const std::string& path, std::string_view architecture);

// Of gate or up, n rows, the rows of both together; of others all.
std::vector<int64_t> rows_of_part(const HfModule& module, int64_t n);

// The row of the module at Hugging Face that each row of the GGUF tensor is; empty: the same. `n_rows` are
// the GGUF tensor's (or with all_of_hf, the module's). Error naming `what` if the heads do not divide them.
struct PeftHeads {
  int64_t n_head = 0, n_head_kv = 0;
  DeltaHeads delta{};
  // What products of rows and these stay within 64 bits for.
  bool make_sense() const {
    return n_head_kv >= 1 && n_head <= int64_t{1} << 24 && n_head >= n_head_kv && n_head % n_head_kv == 0;
  }
};
std::vector<int64_t> peft_rows(std::string_view architecture, const HfModule& module, int64_t n_rows,
                               bool all_of_hf, const PeftHeads& heads, const std::string& what);
// The same of its n_cols columns, which are the columns of A.
std::vector<int64_t> peft_columns(const HfModule& module, int64_t n_cols, const PeftHeads& heads,
                                  const std::string& what);

// Where a family's weights hold factors that nothing tells (a GGUF of llama.cpp's converter): what that
// means.
std::string unknown_factors(const PeftBase& base);

// Each row of `values` times its factors, or divided by them.
void multiply_rows(std::vector<float>& values, int64_t n_cols, const std::vector<RowFactors>& factors,
                   bool divide);

// Rows of `n_cols`: result[i] = values[rows[i]], and result[rows[i]] = values[i]. Empty rows: values.
std::vector<float> gather_rows(const std::vector<float>& values, int64_t n_cols,
                               const std::vector<int64_t>& rows);
std::vector<float> scatter_rows(const std::vector<float>& values, int64_t n_cols,
                                const std::vector<int64_t>& rows);
// Columns likewise, of as many as there are columns.
std::vector<float> gather_columns(const std::vector<float>& values, const std::vector<int64_t>& columns);
std::vector<float> scatter_columns(const std::vector<float>& values, const std::vector<int64_t>& columns);

}  // namespace lora
