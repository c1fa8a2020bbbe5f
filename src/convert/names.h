// Several names in a line of a report.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/plural.h"
#include "base/printable.h"

namespace lora {

// "a and b", "a, b, c and 7 more"
inline std::string some_of(const std::vector<std::string_view>& names) {
  std::vector<std::string> shown;
  for (const std::string_view name : names) shown.push_back(printable(name));
  return list_of(shown, 3, " and ");
}

}  // namespace lora
