#include "train/layer_choice.h"

#include <numeric>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/numbers.h"

namespace lora {
namespace {

std::string ranges_text(std::span<const std::pair<int64_t, int64_t>> ranges) {
  std::string text;
  for (const auto& [first, last] : ranges) {
    const bool is_one = first == last && ranges.size() > 1;
    text += fmt::format("{}{}", text.empty() ? "" : ",", first);
    if (!is_one) text += fmt::format("-{}", last);
  }
  return text;
}

}  // namespace

LayerChoice parse_layers(std::string_view text) {
  constexpr int64_t kMost = 1'000'000;
  if (text == "all") return {};
  const auto refuse = [&] {
    fail("expected all, N for the last N blocks, or a list as 0,3,10-15 (5-5 is one block), found '{}'",
         text);
  };
  std::string_view rest = text;
  const auto number = [&] {
    const std::optional<int64_t> n = take_number<int64_t>(rest);
    if (!n || *n < 0 || *n > kMost) refuse();
    return *n;
  };
  LayerChoice choice;
  if (const auto n = number_in<int64_t>(text)) {
    choice.n_last = number();
    if (choice.n_last == 0) refuse();
    return choice;
  }
  for (bool more = true; more;) {
    const int64_t first = number();
    int64_t last = first;
    if (rest.starts_with('-')) {
      rest.remove_prefix(1);
      last = number();
    }
    if (last < first) refuse();
    choice.ranges.emplace_back(first, last);
    more = rest.starts_with(',');
    if (more) rest.remove_prefix(1);
  }
  if (!rest.empty()) refuse();
  return choice;
}

std::string to_text(const LayerChoice& choice) {
  if (choice.is_all()) return "all";
  return choice.n_last > 0 ? std::to_string(choice.n_last) : ranges_text(choice.ranges);
}

std::vector<int64_t> chosen_layers(const LayerChoice& choice, int64_t n_layer) {
  if (choice.n_last > n_layer)
    fail("--layers: {} are more than the {} blocks of the model", choice.n_last, n_layer);
  if (choice.ranges.empty()) {
    std::vector<int64_t> layers(size_t(choice.n_last > 0 ? choice.n_last : n_layer));
    std::iota(layers.begin(), layers.end(), n_layer - int64_t(layers.size()));
    return layers;
  }
  std::set<int64_t> layers;
  for (const auto& [first, last] : choice.ranges) {
    if (last >= n_layer) fail("--layers: there is no block {}, the model has 0 to {}", last, n_layer - 1);
    for (int64_t i = first; i <= last; ++i) layers.insert(i);
  }
  return {layers.begin(), layers.end()};
}

std::string layers_text(std::span<const int64_t> layers) {
  if (layers.empty()) return "none";
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (const int64_t i : layers) {
    if (!ranges.empty() && ranges.back().second + 1 == i) {
      ranges.back().second = i;
    } else {
      ranges.emplace_back(i, i);
    }
  }
  return ranges_text(ranges);
}

}  // namespace lora
