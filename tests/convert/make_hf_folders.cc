// make_hf_folders VOCABULARY FOLDER FAMILIES: writes FOLDER/NAME, a small Hugging Face model, for some
// architectures and ways to store them, FOLDER/NAME/peft, a LoRA on all its matrices, and
// FOLDER/NAME/reference.json: token ids, and the losses that the model's formulas give, without and with the
// LoRA. FAMILIES/NAME/model and FAMILIES/NAME/model/peft are the same for every family, from its table,
// without losses.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>

#include "adapter/peft_test_files.h"
#include "arch/hf.h"
#include "family_models.h"
#include "hf_models.h"

namespace lora::test {
namespace {

constexpr int kRank = 4;
constexpr float kScale = 0.25f;

// Adds scale x B A to the matrix and A and B to the files. `transposed`: the matrix is (n_in, n_out).
void adapt(const std::string& module, HfStored& matrix, PeftFiles& peft, bool transposed) {
  const int64_t n_rows = matrix.shape[0], n_cols = matrix.shape[1];
  const std::string name = "base_model.model." + module;
  const bool is_embedding = module.ends_with("embed_tokens"), flips = is_embedding || transposed;
  const int64_t n_in = flips ? n_rows : n_cols, n_out = flips ? n_cols : n_rows;
  const std::vector<float> a = peft.a_of(name, kRank * n_in), b = peft.b_of(name, n_out * kRank);
  peft.tensor(name + (is_embedding ? ".lora_embedding_A" : ".lora_A.weight"), {kRank, n_in}, a);
  peft.tensor(name + (is_embedding ? ".lora_embedding_B" : ".lora_B.weight"), {n_out, kRank}, b);
  for (int64_t row = 0; row < n_rows; ++row) {
    for (int64_t col = 0; col < n_cols; ++col) {
      const int64_t in = flips ? row : col, out = flips ? col : row;
      float sum = 0;
      for (int64_t r = 0; r < kRank; ++r) sum += b[size_t(out * kRank + r)] * a[size_t(r * n_in + in)];
      matrix.values[size_t(row * n_cols + col)] += kScale * sum;
    }
  }
}

// Writes the LoRA and returns the model with it; of a family not on its tables.
HfModel adapted(HfModel model, const std::string& folder, const HfFamily* family = nullptr) {
  PeftFiles peft;
  peft.config = plain_config(kRank, kRank * double(kScale));
  const bool is_tied = !model.tensors.contains("lm_head.weight");
  for (auto& [name, tensor] : model.tensors) {
    if (!name.ends_with(".weight") || tensor.shape.size() != 2) continue;
    const std::string module = name.substr(0, name.size() - std::string(".weight").size());
    // Of a matrix that is the output too, PEFT and llama.cpp adapt the embedding alone.
    if (is_tied && module.ends_with("embed_tokens")) continue;
    bool is_table = false, transposed = false;
    if (family) {
      for (const HfModule& root : family->root.first(family->root.size() - 1))
        is_table = is_table || module.ends_with(root.hf);
      for_each_layer_module(*family, [&](const HfModule& m) {
        transposed = transposed || (m.transposed && !is_of_heads(m.stack) && module.ends_with(m.hf));
      });
    }
    if (!is_table) adapt(module, tensor, peft, transposed);
  }
  std::filesystem::create_directories(folder);
  peft.write(folder);
  return model;
}

}  // namespace
}  // namespace lora::test

int main(int argc, char** argv) {
  using namespace lora::test;
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s VOCABULARY.gguf FOLDER FAMILIES\n", argv[0]);
    return 2;
  }
  for (const HfModel& model : make_hf_models()) {
    const std::string folder = std::string(argv[2]) + "/" + model.name;
    write_hf_folder(model, folder, argv[1]);
    const std::vector<int32_t> ids = some_tokens(model, 40);
    const nlohmann::json reference = {{"ids", ids},
                                      {"nll", reference_loss(model, ids)},
                                      {"nll_lora", reference_loss(adapted(model, folder + "/peft"), ids)}};
    std::ofstream(folder + "/reference.json") << reference;
  }
  // llama.cpp refuses or computes otherwise: delta nets of uneven heads, experts that are weighed as
  // config.json says, sizes of states (granitehybrid); adapters of latents; it looks GELU up coarsely.
  const std::set<std::string_view> left_out = {"deepseek2", "falcon-h1", "gemma4", "granitehybrid",
                                               "lfm2moe",   "mamba2",    "qwen35", "nemotron_h",
                                               "qwen35moe", "qwen3next"};
  for (const lora::Architecture* family : hf_families()) {
    if (left_out.contains(family->name)) continue;
    // llama.cpp knows a Baichuan of 7B by its layers, and a Phi 3 by its name, which is the folder's.
    HfModel model = family_model(*family, family->name == "baichuan" ? 32 : 2);
    // The YaRN of its class does not round where llama.cpp's does (rope.scaling.yarn_truncate).
    if (family->name == "gpt-oss") model.config["rope_scaling"] = {{"rope_type", "default"}};
    const std::string folder = std::string(argv[3]) + "/" + model.name + "/model";
    write_hf_folder(model, folder, argv[1]);
    adapted(model, folder + "/peft", family->hf);
  }
  return 0;
}
