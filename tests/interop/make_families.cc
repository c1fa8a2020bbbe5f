// make_families VOCABULARY.gguf FOLDER: FOLDER/NAME.gguf of each model family that is built in, tiny and
// random, with that file's tokens; and NAME.lora, an adapter on all of its blocks.
#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "adapter/adapter.h"
#include "tiny_models.h"

int main(int argc, char** argv) try {
  using namespace lora;
  if (argc != 3) {
    fmt::print(stderr, "usage: make_families VOCABULARY.gguf FOLDER\n");
    return 2;
  }
  const Gguf vocabulary = Gguf::open(argv[1]);
  for (const Architecture* architecture : architectures()) {
    const std::string name = fmt::format("{}/{}", argv[2], architecture->name);
    const test::TinyModel written(*architecture, name + ".gguf",
                                  {.vocabulary = &vocabulary, .for_llama_cpp = true});
    const Model model = load_model(name + ".gguf");
    write_adapter_gguf(to_adapter(test::all_pairs(model, false), model), name + ".lora");
  }
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
