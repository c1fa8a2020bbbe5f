// How quantize and export-lora say that tensors got another type than asked for, since its block does not
// divide their rows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "quant/types.h"

namespace lora::cli {

// shape: "300 x 256", the length of the rows first.
std::string fallback_of(std::string_view name, std::string_view shape, Type wanted, Type to);
// A line of how many; "" of none.
std::string fallback_summary(int64_t n);

}  // namespace lora::cli
