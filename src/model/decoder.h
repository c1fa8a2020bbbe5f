// Generation's forward pass: a few new tokens after those whose keys and values are in the cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "model/network.h"

namespace lora {

inline constexpr int64_t kPromptBatch = 512;  // prompt tokens that go through the layers at once

class Decoder {
 public:
  // Room for n_ctx tokens; at most n_batch go through the layers at once (longer inputs in pieces). Unless
  // the precision is f32, a few tokens meet quantized weights in integers (kernels/dot/dot.h).
  Decoder(const Model& model, int64_t n_ctx, int64_t n_batch, Precision precision, ThreadPool& pool);

  // What a context of n_ctx takes once it is full: keys, values and the rotary table.
  static uint64_t cache_bytes(const Model& model, int64_t n_ctx);
  // All that a Decoder made with these takes.
  static uint64_t memory_bytes(const Model& model, int64_t n_ctx, int64_t n_batch, Precision precision,
                               int n_threads);

  // Appends the tokens and returns the logits (n_vocab) that follow the last one, valid until the
  // next call. Error if they do not fit, or are none, or are not in the vocabulary.
  std::span<const float> append(std::span<const int32_t> ids);

  // Forgets all but the first n tokens, n <= n_past().
  void keep(int64_t n) { n_past_ = std::min(n, n_past_); }

  int64_t n_past() const { return n_past_; }
  int64_t n_ctx() const { return n_ctx_; }

 private:
  const Model& model_;
  int64_t n_ctx_, n_batch_, n_past_ = 0;
  std::vector<RopeTable> ropes_;
  std::vector<Buffer<float>> k_, v_;  // per layer (n_ctx, n_embd_kv)
  Buffer<float> logits_;
  Arena arena_;
  GemmScratch scratch_;
  NnContext nn_;
};

}  // namespace lora
