// What commands say of tensors whose rows a type's block does not divide.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "quant/types.h"

namespace lora::cli {

// Tensors in another type than was asked for, by kind.
class Fallbacks {
 public:
  // shape: "896 x 4864", rows first.
  void add(std::string_view shape, Type wanted, Type to);
  // "Q5_0 in place of Q4_K for 48 tensors: 256 does not divide rows of 896", a line for each kind.
  std::vector<std::string> lines() const;

 private:
  std::map<std::tuple<Type, Type, std::string>, int64_t> counts_;  // wanted, to, length of rows
};

}  // namespace lora::cli
