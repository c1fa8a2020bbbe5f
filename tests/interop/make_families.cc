// make_families VOCABULARY.gguf FOLDER: FOLDER/NAME.gguf of each model family that is built in, tiny and
// random (with experts, too, where it may have them), with that file's tokens; and NAME.lora, an adapter on
// all of its blocks.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <set>
#include <string_view>

#include "adapter/adapter.h"
#include "tiny_models.h"

int main(int argc, char** argv) try {
  using namespace lora;
  if (argc != 3) {
    fmt::print(stderr, "usage: make_families VOCABULARY.gguf FOLDER\n");
    return 2;
  }
  const Gguf vocabulary = Gguf::open(argv[1]);
  const auto make = [&](const Architecture& architecture, bool experts) {
    const std::string name =
        fmt::format("{}/{}{}", argv[2], architecture.name, experts ? "-with-experts" : "");
    // With the usual numbers Llama's router finds a token's third and fourth expert equal to six digits, and
    // which one is chosen is up to the last bits.
    const uint64_t seed = experts ? 6 : 5;
    const test::TinyModel written(
        architecture, name + ".gguf",
        {.vocabulary = &vocabulary, .for_llama_cpp = true, .experts = experts, .seed = seed});
    const Model model = load_model(name + ".gguf");
    Adapter adapter = to_adapter(test::all_pairs(model, false), model);
    // llama.cpp computes attention over latents without adapters but for its output.
    if (architecture.name == "deepseek2") {
      std::erase_if(adapter.pairs, [](const LoraPair& pair) {
        return pair.base.find(".attn_") != std::string::npos && !pair.base.ends_with(".attn_output.weight");
      });
    }
    write_adapter_gguf(adapter, name + ".lora");
  };
  // llama.cpp refuses sizes or keys of these tiny ones, crashes on Falcon-H1's adapter, and norms keys of
  // delta nets with the file's epsilon, where PyTorch has 1e-6: theirs are the numbers of the golden tests.
  const std::set<std::string_view> left_out = {"falcon-h1",  "granitehybrid", "lfm2moe",   "mamba2",
                                               "nemotron_h", "qwen35",        "qwen35moe", "qwen3next"};
  for (const Architecture* architecture : architectures()) {
    if (left_out.contains(architecture->name)) continue;
    make(*architecture, false);
    // Of Gemma 4's experts llama.cpp adds only a part of an adapter; merged it computes the same.
    const bool adds_all = architecture->name != std::string_view("gemma4");
    if (test::may_have_experts(*architecture) && adds_all) make(*architecture, true);
  }
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
