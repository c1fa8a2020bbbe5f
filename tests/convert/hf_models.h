// Small Hugging Face models with random weights, one per architecture and way of storing it, and what they
// compute: the plain formulas of the models' papers and classes, in double precision, on the weights as the
// folder has them. Tests compare conversions with it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lora::test {

struct HfStored {
  std::string dtype;  // as safetensors names it
  std::vector<int64_t> shape;
  std::string bytes;
  std::vector<float> values;  // what the bytes mean, FP8 multiplied by its scales
};

// What differs between the models; the rest is in config.
struct HfTraits {
  bool norm_plus_one = false;     // x (1 + w)
  bool four_norms = false;        // after attention and MLP too
  bool head_norms = false;        // of q and k
  bool biases = false;            // of q, k and v
  bool fused = false;             // qkv_proj, gate_up_proj
  bool gelu = false;              // tanh approximation in place of SiLU
  bool scaled_embedding = false;  // by the root of hidden_size
  int sliding_period = 0;         // 0: none; n: every n-th layer is global, the others slide
};

struct HfModel {
  std::string name;          // of the folder
  std::string architecture;  // general.architecture
  nlohmann::ordered_json config;
  HfTraits traits;
  std::string store = "F32";  // of matrices: F32, F16, BF16, F8_E4M3
  bool block_scales = false;  // FP8: weight_scale_inv per 32 x 32 block; else weight_scale per row
  bool pickle = false;        // pytorch_model.bin
  int n_files = 1;
  bool byte_level = false;           // tokenizer.json; else tokenizer.model
  std::map<int, std::string> added;  // tokens of tokenizer_config.json, by id
  std::map<std::string, HfStored> tensors;

  int64_t number(const char* key) const { return config.at(key).get<int64_t>(); }
};

std::vector<HfModel> make_hf_models();

// config.json, weights, tokenizer files. `vocabulary` is a GGUF with pieces and scores, for tokenizer.model.
void write_hf_folder(const HfModel& model, const std::string& folder, const std::string& vocabulary);
// The bytes of a tokenizer.model with the pieces, scores and kinds of a GGUF's vocabulary. type: 1 unigram, 2
// BPE.
std::string sentencepiece_bytes(const std::string& gguf, int type = 2);
// A tokenizer.json of byte-level BPE: the letters of the 256 bytes and a few merges; 300 tokens.
nlohmann::ordered_json byte_level_tokenizer();

// Logits (n, vocab_size) of the tokens, and the mean of -ln p over all but the first.
std::vector<double> reference_logits(const HfModel& model, const std::vector<int32_t>& ids);
double reference_loss(const HfModel& model, const std::vector<int32_t>& ids);
std::vector<int32_t> some_tokens(const HfModel& model, int n);

}  // namespace lora::test
