// For tests of PEFT adapters: a folder as PEFT writes it, for the small base.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "adapter/adapter.h"
#include "adapter/adapter_test_util.h"

namespace lora::test {

inline constexpr const char* kLayer = "base_model.model.model.layers.0.";

// A PEFT folder for the small base.
struct PeftFolder : PeftFiles {
  ScratchFolder scratch;

  Adapter read() const {
    write(scratch.path());
    return read_adapter(scratch.path(), small_base(scratch));
  }
  std::string error() const {
    return error_of([&] { read(); });
  }
};

inline std::string layer(const std::string& module) {
  return kLayer + module;
}

}  // namespace lora::test
