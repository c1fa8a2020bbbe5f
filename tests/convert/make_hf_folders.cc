// make_hf_folders VOCABULARY FOLDER: writes FOLDER/NAME, a small Hugging Face model, for every architecture
// that is converted, and FOLDER/NAME/reference.json: token ids, and the loss that the model's formulas give.
#include <cstdio>
#include <fstream>

#include "hf_models.h"

int main(int argc, char** argv) {
  using namespace lora::test;
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s VOCABULARY.gguf FOLDER\n", argv[0]);
    return 2;
  }
  for (const HfModel& model : make_hf_models()) {
    const std::string folder = std::string(argv[2]) + "/" + model.name;
    write_hf_folder(model, folder, argv[1]);
    const std::vector<int32_t> ids = some_tokens(model, 40);
    const nlohmann::json reference = {{"ids", ids}, {"nll", reference_loss(model, ids)}};
    std::ofstream(folder + "/reference.json") << reference;
  }
  return 0;
}
