// Models that are only a shape: random weights in memory, of the dimensions that known models have, for
// measuring speed and memory without a file. They have no vocabulary and their text means nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/parallel.h"
#include "model/model.h"

namespace lora {

struct SyntheticShape {
  std::string_view name;
  int64_t n_layer, n_embd, n_ff, n_head, n_head_kv, n_vocab, n_ctx_train;
  double rope_freq_base;
  std::string_view architecture = "llama";
  int64_t head_dim = 0;  // 0: n_embd over the heads
  struct Key {
    std::string_view name;  // behind "ARCHITECTURE."; empty: none
    int64_t value;
  } keys[9] = {};  // of the family's own
  // Which layers have attention, an 'a' in a character for each; empty: all. Others have no heads of keys.
  std::string_view attention = {};
  // How many first layers have keys and values of their own, and how wide the MLP of the others is; 0: all
  // have.
  struct {
    int64_t n_layer = 0, n_ff = 0;
  } own_kv = {};
};

std::span<const SyntheticShape> synthetic_shapes();
// Error that lists the known names.
const SyntheticShape& find_synthetic_shape(std::string_view name);

// The keys of a file of that shape.
std::vector<std::pair<std::string, GgufValue>> synthetic_keys(const SyntheticShape& shape);

struct SyntheticModel {
  Model model;  // model.gguf is empty
  Buffer<std::byte> storage;
  // Types that do not divide a row, as "Q5_0 in place of Q4_K (rows of 3200)".
  std::vector<std::string> replaced;
};

// `type`: a tensor type in any case for all weights, or q4_k_m, llama.cpp's mixture. Error for an unknown
// one, or if the weights do not fit the memory that is available; then nothing was allocated.
SyntheticModel make_synthetic(const SyntheticShape& shape, std::string_view type, ThreadPool& pool);

}  // namespace lora
