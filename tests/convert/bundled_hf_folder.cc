// bundled_hf_folder MODEL.gguf FOLDER: a Llama model as it would lie on Hugging Face, in F32, for what begins
// with such a folder.
#include <cstdio>
#include <exception>

#include "arch/architecture.h"
#include "arch/hf.h"
#include "base/error.h"
#include "gguf/gguf.h"
#include "hf_models.h"

namespace lora::test {
namespace {

// "blk.3.attn_q.weight" to "model.layers.3.self_attn.q_proj.weight", and how its rows are ordered.
std::pair<std::string, RowOrder> hf_name(const Architecture& architecture, const std::string& name) {
  constexpr std::string_view weight = ".weight";
  std::string part = name.substr(0, name.size() - weight.size()), layer;
  if (part.starts_with("blk.")) {
    const size_t dot = part.find('.', 4);
    layer = "layers." + part.substr(4, dot - 3);
    part = part.substr(dot + 1);
  }
  std::pair<std::string, RowOrder> found;
  const auto look_at = [&](const HfModule& m) {
    if (m.gguf != part || !found.first.empty()) return;
    const std::string model = m.hf == "lm_head" ? "" : "model.";
    found = {model + layer + std::string(m.hf) + std::string(weight), m.order};
  };
  for (const HfModule& m : hf::kRoot) look_at(m);
  for_each_layer_module(*architecture.hf, look_at);
  if (found.first.empty()) fail("{}: not a tensor of a {} model", name, architecture.name);
  return found;
}

HfModel hf_model_of(const Gguf& gguf) {
  const auto number = [&](const char* key) { return gguf.get_int(std::string("llama.") + key).value(); };
  const Architecture& architecture = *find_hf_family("llama");
  HfModel model;
  model.config = {{"architectures", {architecture.hf->classes.begin()->name}},
                  {"hidden_size", number("embedding_length")},
                  {"intermediate_size", number("feed_forward_length")},
                  {"num_hidden_layers", number("block_count")},
                  {"num_attention_heads", number("attention.head_count")},
                  {"num_key_value_heads", number("attention.head_count_kv")},
                  {"vocab_size", gguf.tensor("token_embd.weight").ne[1]},
                  {"rms_norm_eps", gguf.get_float("llama.attention.layer_norm_rms_epsilon").value()},
                  {"max_position_embeddings", number("context_length")},
                  {"rope_theta", gguf.get_float("llama.rope.freq_base").value_or(10000)},
                  {"tie_word_embeddings", gguf.find_tensor("output.weight") == nullptr},
                  {"bos_token_id", gguf.get_int("tokenizer.ggml.bos_token_id").value()},
                  {"eos_token_id", gguf.get_int("tokenizer.ggml.eos_token_id").value()}};
  for (const GgufTensor& tensor : gguf.tensors()) {
    const auto [name, order] = hf_name(architecture, tensor.name);
    const MatrixView matrix = tensor.matrix();
    HfStored stored{"F32", {matrix.n_cols}, {}, std::vector<float>(size_t(tensor.n_elements()))};
    if (tensor.n_dims > 1) stored.shape.insert(stored.shape.begin(), matrix.n_rows);
    const char* heads = order == RowOrder::heads ? "attention.head_count" : "attention.head_count_kv";
    for (int64_t r = 0; r < matrix.n_rows; ++r) {
      const int64_t to = order == RowOrder::as_is ? r : hf_row(r, matrix.n_rows / number(heads));
      decode_row(stored.values.data() + to * matrix.n_cols, matrix, r, 0, matrix.n_cols);
    }
    stored.bytes.assign(reinterpret_cast<const char*>(stored.values.data()),
                        stored.values.size() * sizeof(float));
    model.tensors[name] = std::move(stored);
  }
  return model;
}

}  // namespace
}  // namespace lora::test

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s MODEL.gguf FOLDER\n", argv[0]);
    return 2;
  }
  try {
    lora::test::write_hf_folder(lora::test::hf_model_of(lora::Gguf::open(argv[1])), argv[2], argv[1]);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
