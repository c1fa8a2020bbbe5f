#include "convert/source.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/elementary.h"
#include "base/error.h"
#include "base/half.h"
#include "base/printable.h"
#include "quant/types.h"

namespace lora {
namespace {

using Table = std::array<float, 256>;

template <class Decode>
Table make_table(Decode decode) {
  Table table;
  for (int i = 0; i < 256; ++i) table[size_t(i)] = decode(uint8_t(i));
  return table;
}

const Table* fp8_table(std::string_view dtype) {
  static const Table e4m3 = make_table(fp8_e4m3), e5m2 = make_table(fp8_e5m2);
  return dtype == "F8_E4M3" ? &e4m3 : dtype == "F8_E5M2" ? &e5m2 : nullptr;
}

int64_t blocks(int64_t n, int64_t block) {
  return (n + block - 1) / block;
}

void set_scales(Source& source, const SafeTensor& scale, const int64_t block[2]) {
  source.scales = scale.to_f32();
  const int64_t n = int64_t(source.scales.size());
  source.scale_cols = 1;
  source.block_cols = source.n_cols;
  if (n == 1) {
    source.block_rows = source.n_rows;
  } else if (n == source.n_rows && (scale.shape.size() == 1 || scale.shape.back() == 1)) {
    source.block_rows = 1;
  } else if (scale.shape.size() == 2 && scale.shape[0] == blocks(source.n_rows, block[0]) &&
             scale.shape[1] == blocks(source.n_cols, block[1])) {
    source.block_rows = block[0];
    source.block_cols = block[1];
    source.scale_cols = scale.shape[1];
  } else {
    fail("tensor '{}': {} scales do not fit {} x {} values in blocks of {} x {}", printable(scale.name), n,
         source.n_rows, source.n_cols, block[0], block[1]);
  }
}

}  // namespace

float fp8_e4m3(uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const float sign = bits & 0x80 ? -1.f : 1.f;
  if (exponent == 15 && mantissa == 7) return std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) return sign * std::ldexp(float(mantissa), -9);
  return sign * std::ldexp(float(8 + mantissa), exponent - 10);
}

float fp8_e5m2(uint8_t bits) {
  return to_f32(f16{uint16_t(bits << 8)});
}

Source make_source(SafeTensor tensor, int64_t n_rows, int64_t n_cols, const SafeTensor* scale,
                   const int64_t block[2]) {
  Source source;
  source.tensor = std::move(tensor);
  source.n_rows = n_rows;
  source.n_cols = n_cols;
  const std::string& dtype = source.tensor.dtype;
  if (dtype != "F32" && dtype != "F16" && dtype != "BF16" && !fp8_table(dtype)) {
    fail("tensor '{}': dtype {} holds no weights; expected F32, F16, BF16 or FP8",
         printable(source.tensor.name), dtype);
  }
  if (scale) set_scales(source, *scale, block);
  return source;
}

float exp_as_pytorch(float x) {
  if (!(std::fabs(x) < 80)) return elementary::exp(x);
  const float q = std::nearbyint(x * 1.44269502f);
  float r = elementary::fma(q, -0.693145752f, x);  // ln 2 in two parts
  r = elementary::fma(q, -1.42860677e-06f, r);
  float p = 0.000198527618f;
  for (const float c : {0.00139304355f, 0.00833336077f, 0.0416664854f, 0.166666672f, 0.5f})
    p = elementary::fma(p, r, c);
  return std::ldexp(1.0f + elementary::fma(r * r, p, r), int(q));
}

SafeTensor slice_of(const SafeTensor& tensor, int64_t slice) {
  SafeTensor one = tensor;
  const size_t bytes = tensor.data.size() / size_t(tensor.shape.front());
  one.shape.erase(one.shape.begin());
  one.data = tensor.data.subspan(size_t(slice) * bytes, bytes);
  return one;
}

std::string_view Source::plain_type() const {
  const bool computes = add != 0 || transposed || !columns.empty() || negated_exp || !factors.empty();
  return !computes && scales.empty() && !fp8_table(tensor.dtype) ? std::string_view(tensor.dtype) : "";
}

const std::byte* Source::row_bytes(int64_t row) const {
  const int64_t from = row_of_tensor(row);
  return tensor.data.data() + from * n_cols * dtype_bytes(tensor.dtype);
}

void Source::read_rows(int64_t begin, int64_t end, float* values) const {
  if (transposed) return read_columns(begin, end, values);
  for (int64_t row = begin; row < end; ++row) read_row(row, values + (row - begin) * n_cols);
}

// The rows lie side by side in each of the tensor's: those between the first and the last are read together.
void Source::read_columns(int64_t begin, int64_t end, float* values) const {
  int64_t first = row_of_tensor(begin), last = first;
  for (int64_t row = begin; row < end; ++row) {
    first = std::min(first, row_of_tensor(row));
    last = std::max(last, row_of_tensor(row));
  }
  const auto decode = find_type(tensor.dtype)->decode;
  const int64_t size = dtype_bytes(tensor.dtype), n_tensor_rows = int64_t(tensor.n_elements()) / n_cols;
  std::vector<float> side_by_side(size_t(last - first + 1));
  for (int64_t c = 0; c < n_cols; ++c) {
    decode(side_by_side.data(), tensor.data.data() + (c * n_tensor_rows + first) * size, last - first + 1);
    for (int64_t row = begin; row < end; ++row)
      values[(row - begin) * n_cols + c] = side_by_side[size_t(row_of_tensor(row) - first)];
  }
  if (add != 0) std::for_each(values, values + (end - begin) * n_cols, [&](float& v) { v += add; });
}

// Of 32 values Hugging Face's bytes hold neighbours, the first in the low bits; GGUF's the i-th and the
// (i + 16)-th.
void Source::repack_mxfp4(int64_t row, std::byte* blocks) const {
  constexpr int64_t kBytes = 16;
  const int64_t n_blocks = n_cols / 32, from = row_of_tensor(row);
  const std::byte* exponents = block_scales.data.data() + from * n_blocks;
  const std::byte* pairs = tensor.data.data() + from * n_blocks * kBytes;
  const auto nibble = [&](int64_t i) {
    const std::byte pair = pairs[i / 2];
    return i % 2 == 0 ? pair & std::byte{15} : pair >> 4;
  };
  for (int64_t block = 0; block < n_blocks; ++block, pairs += kBytes) {
    if (exponents[block] == std::byte{255}) fail("a block's scale is not a number: the file is damaged");
    *blocks++ = exponents[block];
    for (int64_t i = 0; i < kBytes; ++i) *blocks++ = nibble(i) | nibble(i + kBytes) << 4;
  }
}

void Source::read_row(int64_t row, float* values) const {
  const std::byte* bytes = row_bytes(row);
  if (const Table* table = fp8_table(tensor.dtype)) {
    for (int64_t i = 0; i < n_cols; ++i) values[i] = (*table)[size_t(bytes[i])];
  } else {
    find_type(tensor.dtype)->decode(values, bytes, n_cols);
  }
  if (!scales.empty()) {
    const int64_t from = row_of_tensor(row);
    const float* scale = scales.data() + from / block_rows * scale_cols;
    for (int64_t i = 0; i < n_cols; ++i) values[i] *= scale[i / block_cols];
  }
  if (!columns.empty()) {
    const std::vector<float> as_they_lie(values, values + n_cols);
    for (int64_t i = 0; i < n_cols; ++i) values[i] = as_they_lie[size_t(columns[size_t(i)])];
  }
  if (add != 0) {
    for (int64_t i = 0; i < n_cols; ++i) values[i] += add;
  }
  if (negated_exp) {
    for (int64_t i = 0; i < n_cols; ++i) values[i] = -exp_as_pytorch(values[i]);
  }
  if (!factors.empty()) {
    // One after the other, each rounded, as llama.cpp's converter multiplies.
    for (const float factor : factors[size_t(row)]) {
      for (int64_t i = 0; i < n_cols; ++i) values[i] *= factor;
    }
  }
}

}  // namespace lora
