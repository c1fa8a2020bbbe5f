// What the tests of the matrix products share: random weights of any type, and comparison with the
// reference in double.
//
// Tolerance: a sum of n products accumulated in f32 in any order is off by at most about
// n eps sum |x w| (Higham, "Accuracy and Stability of Numerical Algorithms", 3.1), eps = 2^-24; errors
// are random in sign, so sqrt(n) of it with a factor of safety is what a right kernel stays below.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "kernels/test_numbers.h"
#include "quant/types.h"

namespace lora::test {

struct Weights {
  std::vector<std::byte> bytes;
  MatrixView view;
  std::vector<double> values;  // decoded, (n_rows, n_cols)
};

// Where a format keeps its f16 scales, minimums and the like, and how large they are in the tests: values
// come to at most about 1.
struct HalfField {
  Type type;
  size_t at;
  float value;
};
inline constexpr HalfField kHalfFields[] = {
    {Type::Q4_0, 0, 0.1f},      {Type::Q4_1, 0, 0.1f},      {Type::Q4_1, 2, -0.7f},
    {Type::Q5_0, 0, 0.05f},     {Type::Q5_1, 0, 0.05f},     {Type::Q5_1, 2, -0.8f},
    {Type::Q8_0, 0, 0.01f},     {Type::Q2_K, 80, 0.02f},    {Type::Q2_K, 82, 0.03f},
    {Type::Q3_K, 108, 0.01f},   {Type::Q4_K, 0, 0.001f},    {Type::Q4_K, 2, 0.01f},
    {Type::Q5_K, 0, 0.0005f},   {Type::Q5_K, 2, 0.01f},     {Type::Q6_K, 208, 0.0005f},
    {Type::IQ4_NL, 0, 0.01f},   {Type::IQ4_XS, 0, 0.0004f}, {Type::IQ1_S, 0, 0.06f},
    {Type::IQ2_XXS, 0, 0.006f}, {Type::IQ2_XS, 0, 0.006f},  {Type::IQ2_S, 0, 0.006f},
    {Type::IQ3_XXS, 0, 0.002f}, {Type::IQ3_S, 0, 0.002f},   {Type::TQ1_0, 52, 0.5f},
    {Type::TQ2_0, 64, 0.5f},
};

// Gives a block sane scales. at: from -1 to 1, where in the range of them.
inline void set_scales(Type type, std::byte* block, float at) {
  const auto half = [&](float value) { return to_f16(value * (1.5f + at)); };
  for (const HalfField& field : kHalfFields) {
    if (field.type != type) continue;
    const f16 value = half(field.value);
    std::memcpy(block + field.at, &value, sizeof value);
  }
  if (type == Type::MXFP4) block[0] = std::byte(at < 0 ? 123 : 124);
  for (int group = 0; type == Type::NVFP4 && group < 4; ++group)
    block[group] = std::byte(28 + group + int(4 * at));
  for (int i = 0; type == Type::IQ1_M && i < 4; ++i) {  // a nibble of the scale in every other byte
    std::byte& high = block[48 + 2 * i + 1];
    high = (high & std::byte{15}) | std::byte(half(0.06f).bits >> 4 * i & 15) << 4;
  }
}

// Random bits for the codes, and a sane scale where the format keeps one.
inline Weights random_weights(Type type, int64_t n_rows, int64_t n_cols, uint64_t stream) {
  Weights w;
  w.view = {type, nullptr, n_rows, n_cols};
  const TypeTraits& t = traits(type);
  w.bytes.resize(size_t(n_rows * w.view.row_bytes()));
  for (size_t i = 0; i < w.bytes.size(); ++i)
    w.bytes[i] = std::byte(random_bits(2, Purpose::test, stream, i));
  const auto put = [&](size_t at, const auto& value) { std::memcpy(&w.bytes[at], &value, sizeof value); };
  for (size_t at = 0; at < w.bytes.size(); at += size_t(t.block_bytes)) {
    const float value = 2 * random_uniform(1, Purpose::test, stream, at) - 1;
    if (type == Type::F32) put(at, value);
    if (type == Type::F16) put(at, to_f16(value));
    if (type == Type::BF16) put(at, to_bf16(value));
    set_scales(type, &w.bytes[at], value);
  }
  w.view.data = w.bytes.data();
  std::vector<float> row(static_cast<size_t>(n_cols));
  for (int64_t r = 0; r < n_rows; ++r) {
    decode_row(row.data(), w.view, r, 0, n_cols);
    w.values.insert(w.values.end(), row.begin(), row.end());
  }
  return w;
}

inline std::vector<double> absolute(std::vector<double> v) {
  for (double& x : v) x = std::fabs(x);
  return v;
}

// got[i] is want[i], a sum of n_products terms whose absolute values sum up to magnitude[i].
inline void expect_close_sums(const std::vector<float>& got, const std::vector<double>& want,
                              const std::vector<double>& magnitude, int64_t n_products,
                              const std::string& what) {
  const double factor = 4 * (std::sqrt(double(n_products)) + 4) * 0x1p-24;
  expect_close(
      got, want, [&](int64_t i) { return factor * magnitude[size_t(i)] + 1e-30; }, what);
}

}  // namespace lora::test
