// Rows of a Hugging Face tensor as f32: 16-bit and 8-bit floats decoded, FP8 multiplied by its scales, rows
// in GGUF's order.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "arch/hf.h"
#include "gguf/safetensors.h"

namespace lora {

struct Source {
  SafeTensor tensor;
  SafeTensor block_scales;  // of `tensor`, if that is of MXFP4 blocks
  std::string path;         // of the file it lies in, for messages; "": of none
  int64_t n_rows = 1, n_cols = 1;
  std::vector<int64_t> rows;          // of `tensor`, one for each row; empty: they stay
  bool transposed = false;            // `tensor` has a column for each row
  std::vector<int64_t> columns{};     // of `tensor`, one for each column, likewise
  float add = 0;                      // to every value
  std::vector<RowFactors> factors{};  // of each row, for its values; empty: none
  bool negated_exp = false;           // values are -exp of the tensor's

  // Of an FP8 tensor: value (r, c) is multiplied by scales[r / block_rows, c / block_cols].
  std::vector<float> scales;
  int64_t block_rows = 0, block_cols = 0, scale_cols = 0;

  // The type's name if the rows can be copied as bytes; "" if values have to be computed.
  std::string_view plain_type() const;
  int64_t row_of_tensor(int64_t row) const { return rows.empty() ? row : rows[size_t(row)]; }
  const std::byte* row_bytes(int64_t row) const;  // of a plain type
  void read_rows(int64_t begin, int64_t end, float* values) const;
  // GGUF's MXFP4 blocks of a row, from tensor and block_scales.
  void repack_mxfp4(int64_t row, std::byte* blocks) const;

 private:
  void read_row(int64_t row, float* values) const;
  void read_columns(int64_t begin, int64_t end, float* values) const;
};

// The slice-th of n in a tensor whose first dimension is the slices.
SafeTensor slice_of(const SafeTensor& tensor, int64_t slice);

// `scale` is the FP8 tensor's weight_scale or weight_scale_inv: one number, one per row, or one per block of
// `block` rows and columns. Error naming the tensor if dtype or scale cannot be used.
Source make_source(SafeTensor tensor, int64_t n_rows, int64_t n_cols, const SafeTensor* scale,
                   const int64_t block[2]);

// exp(x), to the bit as PyTorch computes it of an array (by Shibata & Petrogalli, "SLEEF", 2020: within 1
// ulp), so that equal models are equal files.
float exp_as_pytorch(float x);

// One value of the 8-bit floats: e4m3 without infinities (0x7f and 0xff are NaN), e5m2 as the upper half of
// f16.
float fp8_e4m3(uint8_t bits);
float fp8_e5m2(uint8_t bits);

}  // namespace lora
