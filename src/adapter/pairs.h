// What the readers of all adapter formats share: halves of pairs, brought into the layout of LoraPair
// by the reader of their format, put together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/adapter.h"

namespace lora {

// One tensor of an adapter file, in the layout of LoraPair.
struct LoraHalf {
  std::string base;
  std::string tensor;  // its name in the file, printable, for messages
  bool is_b = false;
  int64_t n_rows = 0, n_cols = 0;
  std::vector<float> values;  // (n_slices, n_rows, n_cols): a is (rank, n_in), b is (n_out, rank)
  int64_t n_slices = 1;
};

// Error naming the tensor if it has no row or no column. Readers ask before they walk over a shape: beside a
// zero, the other extent may be any number.
void check_not_empty(const LoraHalf& half, const std::string& path);

// (n_cols, n_rows) from (n_rows, n_cols).
std::vector<float> transposed(const std::vector<float>& values, int64_t n_rows, int64_t n_cols);

// Fills adapter.pairs in the order of the file, and adapter.ignored with norm pairs. Error naming the tensor
// if a half is missing or there twice, ranks differ, or nothing is there at all.
void pair_up(Adapter& adapter, std::vector<LoraHalf> halves, const std::string& path);

// Multiplies b so that adapter.scale(pair) has the effect of `wanted`.
void fold_scale(const Adapter& adapter, LoraPair& pair, double wanted);

// Sets alpha so that alpha / rank is wanted(pair) for as many pairs as one number can, and multiplies the B
// of the others.
void set_scales(Adapter& adapter, const std::function<double(const LoraPair&)>& wanted);

// Error for something an adapter has no place for; with `left_out`, it is added there instead. `path` is for
// messages.
void leave_out(std::vector<LeftOut>* left_out, const std::string& path, const std::string& what,
               const std::string& why);

// Error naming the file and the tensor if a value is not finite, or beyond what the type, F32 or F16, holds.
void check_values(const std::vector<float>& values, Type type, const std::string& path,
                  const std::string& tensor);
// A matrix as it is written, checked.
std::vector<std::byte> encode_matrix(const std::vector<float>& values, Type type, const std::string& path,
                                     const std::string& tensor);

}  // namespace lora
