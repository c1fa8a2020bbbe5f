// Generation's forward pass: a few new tokens after those whose keys and values are in the cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/network.h"

namespace lora {

inline constexpr int64_t kPromptBatch = 512;  // prompt tokens that go through the layers at once

struct DecoderOptions {
  int64_t n_ctx;                   // room for so many tokens
  int64_t n_batch = kPromptBatch;  // at most so many go through the layers at once (longer inputs in pieces)
  // Unless it is f32, a few tokens meet quantized weights in integers (kernels/dot/dot.h).
  Precision precision = Precision::automatic;
  // Of cached keys and values. F16 takes half of the memory, but where quantized weights meet activations of
  // 8 bits its last bits decide roundings: one greedy text of four is another one after 64 tokens
  // (docs/accuracy.md). Layers with a window cache that and a batch.
  Type cache_type = Type::F32;
};

class Decoder {
 public:
  // Error for a type whose blocks do not divide a token's keys.
  Decoder(const Model& model, const DecoderOptions& options, ThreadPool& pool);

  // What keys, values and rotary tables take.
  static uint64_t cache_bytes(const Model& model, const DecoderOptions& options);
  // All that a Decoder made with these takes.
  static uint64_t memory_bytes(const Model& model, const DecoderOptions& options, int n_threads);

  // Appends the tokens and returns the logits (n_vocab) that follow the last one, valid until the
  // next call. Error if they do not fit, or are none, or are not in the vocabulary.
  std::span<const float> append(std::span<const int32_t> ids);

  // Forgets all but the first n tokens; all of them where layers with a window no longer have what the last
  // of these saw, or have a state, which goes only forward. Returns how many are left.
  int64_t keep(int64_t n);

  // Bytes of workspace that were in use at once so far, and that are there.
  int64_t peak_bytes() const { return arena_.peak(); }
  int64_t planned_bytes() const { return arena_.capacity(); }
  int64_t n_past() const { return n_past_; }
  int64_t n_ctx() const { return n_ctx_; }

 private:
  struct BodyPast {
    PastShape shape;
    MatrixView k, v;
    Buffer<std::byte> k_data, v_data;
    Buffer<float> state;
  };

  const Model& model_;
  int64_t n_ctx_, n_batch_, n_past_ = 0;
  std::vector<RopeTable> ropes_;
  std::vector<std::vector<BodyPast>> past_;  // of each layer its bodies
  Buffer<float> logits_;
  Arena arena_;
  GemmScratch scratch_;
  NnContext nn_;
};

}  // namespace lora
