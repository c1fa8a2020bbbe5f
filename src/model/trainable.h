// What of a model file can be trained, for people to look at before they begin.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gguf/gguf.h"

namespace lora {

struct Trainable {
  std::string architecture;
  std::string_view models;                 // that the family has; empty if it is not one of those built in
  std::string refused;                     // why the file cannot be trained or run here; empty: it can
  std::vector<std::string> linear_layers;  // of its blocks, by name of tensor, as --rank takes them
  std::vector<std::string> others;         // beside these: routers and experts, embedding, output, norms
};

// Of a GGUF that says it is a model.
Trainable what_can_be_trained(const std::string& path, const Gguf& gguf);

}  // namespace lora
