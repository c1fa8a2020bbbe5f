// Typed access to the metadata of one architecture: key("block_count") is "llama.block_count".
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "gguf/gguf.h"

namespace lora {

struct Keys {
  const Gguf& gguf;
  std::string prefix;
  mutable std::set<std::string, std::less<>> asked_for =
      {};  // of what else the file has, something may matter

  std::string key(std::string_view name) const {
    asked_for.emplace(name);
    return fmt::format("{}.{}", prefix, name);
  }

  // Error for less than 1 and for what no model has. Of an array, one value for each layer, all must be the
  // same.
  std::optional<int64_t> size(std::string_view name) const {
    const GgufValue* found = gguf.find(key(name));
    std::optional<int64_t> value;
    if (found && found->type == GgufValueType::array) {
      const std::vector<int64_t> values = gguf.get_ints(key(name)).value_or(std::vector<int64_t>());
      for (const int64_t of_layer : values) {
        if (of_layer != values.front())
          fail("{}: {}: layers that differ ({} and {}) are not supported", gguf.path(), key(name),
               values.front(), of_layer);
      }
      if (values.empty()) fail("{}: {}: an empty list", gguf.path(), key(name));
      value = values.front();
    } else {
      value = gguf.get_int(key(name));
    }
    if (value && (*value < 1 || *value > (int64_t{1} << 31))) makes_no_sense(name, *value);
    return value;
  }
  // One value for each of n layers, or one for all; 0 is allowed. Empty without the key.
  std::vector<int64_t> sizes_of_layers(std::string_view name, int64_t n) const {
    const GgufValue* found = gguf.find(key(name));
    if (!found) return {};
    std::vector<int64_t> values;
    if (found->type == GgufValueType::array) {
      values = gguf.get_ints(key(name)).value_or(std::vector<int64_t>());
      if (int64_t(values.size()) != n)
        fail("{}: {}: {} values for {} layers", gguf.path(), key(name), values.size(), n);
    } else {
      values.assign(size_t(n), gguf.get_int(key(name)).value_or(0));
    }
    for (const int64_t value : values) {
      if (value < 0 || value > (int64_t{1} << 31)) makes_no_sense(name, value);
    }
    return values;
  }
  // Of each of n layers, yes or no. Empty without the key. Error for what is neither, and for a key of one
  // value.
  std::vector<bool> flags_of_layers(std::string_view name, int64_t n) const {
    const auto values = gguf.get_ints(key(name));
    if (!values) return {};
    if (int64_t(values->size()) != n)
      fail("{}: {}: {} values for {} layers", gguf.path(), key(name), values->size(), n);
    std::vector<bool> flags;
    for (const int64_t value : *values) {
      if (value != 0 && value != 1) makes_no_sense(name, value);
      flags.push_back(value == 1);
    }
    return flags;
  }
  int64_t required_size(std::string_view name) const {
    const auto value = size(name);
    if (!value) fail("{}: {}: missing", gguf.path(), key(name));
    return *value;
  }
  std::optional<double> number(std::string_view name) const {
    const auto value = gguf.get_float(key(name));
    if (value && !std::isfinite(*value)) makes_no_sense(name, *value);
    return value;
  }
  double number_or(std::string_view name, double standard) const { return number(name).value_or(standard); }
  double positive_or(std::string_view name, double standard) const {
    const double value = number_or(name, standard);
    if (!(float(value) > 0) || !std::isfinite(float(value)))
      makes_no_sense(name, value);  // as it is computed with
    return value;
  }

  template <class Value>
  [[noreturn]] void makes_no_sense(std::string_view name, const Value& value) const {
    fail("{}: {}: {} makes no sense", gguf.path(), key(name), value);
  }
};

}  // namespace lora
