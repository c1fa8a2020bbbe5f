// `--tensor-type PATTERN=TYPE`: types of single tensors, by name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/pattern.h"
#include "quant/types.h"

namespace lora {

struct TensorType {
  std::string text;  // PATTERN=TYPE, as it was given
  Pattern pattern;   // found anywhere in a tensor's name, in any case
  Type type;

  // Error naming the pattern if it takes too long to match.
  bool names(std::string_view tensor) const;
};

// In the order given, of which the first that names a tensor holds.
class TensorTypes {
 public:
  // Error, without naming the flag, for what is not PATTERN=TYPE, or a TYPE that nothing can be stored as.
  void add(std::string_view text);

  const TensorType* find(std::string_view tensor) const;  // nullptr: none names it
  const std::vector<TensorType>& rows() const { return rows_; }

 private:
  std::vector<TensorType> rows_;
};

// The type of that name in any case. Error that lists those which values can be encoded in, if it is none.
Type encodable_type(std::string_view name);

}  // namespace lora
