// Which blocks get adapters: --layers.
//
//   all
//   N              the last N
//   0,3,10-15      these, counted from 0; one alone is 5-5
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lora {

// As it was asked for, before the model is known; neither of these: all.
struct LayerChoice {
  int64_t n_last = 0;
  std::vector<std::pair<int64_t, int64_t>> ranges{};  // first and last

  bool is_all() const { return n_last == 0 && ranges.empty(); }
};

// Error for anything but the above. The other way round: to_text().
LayerChoice parse_layers(std::string_view text);
std::string to_text(const LayerChoice& choice);

// The blocks of n_layer, in ascending order, each once. Error naming one that the model does not have.
std::vector<int64_t> chosen_layers(const LayerChoice& choice, int64_t n_layer);

// Of blocks in ascending order: "0,3,10-15", "5-5", "none".
std::string layers_text(std::span<const int64_t> layers);

}  // namespace lora
