// A folder with a LoRA for the bundled model, and the program to convert it.
#pragma once

#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/peft_test_files.h"
#include "cli_test.h"

namespace lora::test {

inline const std::string kLoraLayer = "base_model.model.model.layers.0.";

// A PEFT folder "peft" for the bundled model, of two modules.
struct LoraFolder : Folder {
  PeftFiles peft;

  LoraFolder() {
    std::filesystem::create_directories(at("peft"));
    peft.pair(kLoraLayer + "self_attn.k_proj", 256, 128, 2);
    peft.pair(kLoraLayer + "mlp.up_proj", 256, 768, 2);
  }
  void write_peft() const { peft.write(at("peft")); }
  RunResult convert(const std::vector<std::string>& more = {}) const {
    write_peft();
    return lora(std::vector<std::string>{"convert-lora", "peft", "--base", "model.gguf"} + more);
  }
  Adapter converted(const std::string& name = "peft-lora-F32.gguf") const {
    return read_adapter_gguf(at(name));
  }
};

}  // namespace lora::test
