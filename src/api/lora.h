// The library in one header: load a GGUF model, attach adapters, compute a loss and its gradients, train,
// generate.
//
//   lora::LanguageModel model("model.gguf");
//   model.add_lora({.rank = 8, .alpha = 16});
//   const auto sample = model.tokenize("Call me Ishmael.");
//   for (int i = 0; i < 20; ++i) {
//     model.zero_gradients();
//     double loss = model.loss_and_gradients({sample});
//     model.adamw_step({.lr = 1e-3});
//   }
//   model.save_adapter("ishmael.gguf");
//   std::string text = model.generate("Call me", {.n_predict = 16});
//
// Every function throws an exception derived from std::runtime_error whose message names the file or argument
// at fault. Nothing is printed. One object may be used by one thread at a time; it computes with many.
//
// No signal handler is installed. A model's file is mapped while an object uses it: replace it by a rename.
// One that is cut short or overwritten in place, or whose disk fails, ends the program by SIGBUS, as mapped
// files do. If less than a page is cut off, no signal comes: then nothing can be saved until the object is
// gone; others work on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

struct LanguageModelOptions {
  int threads = 0;    // 0: the physical cores this process may use
  bool bf16 = false;  // multiply in bf16 (sums in f32): faster where the CPU has instructions for it
};

struct LoraOptions {
  int64_t rank = 4;
  float alpha = 4;    // the adapter is applied times alpha / rank
  uint64_t seed = 1;  // of A's start values; B starts at zero
};

struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double decay = 0;
  double max_grad_norm = 0;  // 0: no clipping
};

struct ContinuationOptions {
  int64_t n_predict = 128;  // tokens at most; fewer where the model ends its text
  double temp = 0;          // 0: always the likeliest token
  uint64_t seed = 1;
};

// One matrix of the trained adapter; row-major, A (rank, n_in) or B (n_out, rank); of experts, those of
// all, one below the other.
struct TrainedTensor {
  std::string name;  // "blk.0.attn_q.weight.lora_a"
  int64_t n_rows, n_cols;
  std::span<float> values;
  std::span<float> gradients;
};

class LanguageModel {
 public:
  // Maps the file; its weights stay quantized there.
  explicit LanguageModel(const std::string& path, const LanguageModelOptions& options = {});
  ~LanguageModel();
  LanguageModel(LanguageModel&&) noexcept;
  LanguageModel& operator=(LanguageModel&&) noexcept;

  // Applies an adapter GGUF, a `ggla` file or a folder of PEFT or MLX at run time, beside those attached
  // before.
  void attach_adapter(const std::string& path, double scale = 1);

  // Adds a fresh adapter to every linear layer of every block, to be trained. Once per model.
  void add_lora(const LoraOptions& options = {});

  // Token ids with the model's begin-of-sequence token before, and back to text.
  std::vector<int32_t> tokenize(std::string_view text) const;
  std::string detokenize(const std::vector<int32_t>& tokens) const;

  // Mean negative log-likelihood per predicted token, in nats; every token after a sample's first is
  // predicted. The second form adds the gradients of that mean to the trained adapter's.
  double loss(const std::vector<std::vector<int32_t>>& samples);
  double loss_and_gradients(const std::vector<std::vector<int32_t>>& samples);

  void zero_gradients();
  std::vector<TrainedTensor> trained_tensors();
  // One step with the gradients as they are; returns their norm before clipping.
  double adamw_step(const AdamWOptions& options = {});
  // An adapter GGUF that llama.cpp and `lora generate --lora` load.
  void save_adapter(const std::string& path) const;

  // The continuation of the prompt, without the prompt.
  std::string generate(std::string_view prompt, const ContinuationOptions& options = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lora
