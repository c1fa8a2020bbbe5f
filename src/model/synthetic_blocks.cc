#include "model/synthetic_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "base/error.h"
#include "base/half.h"
#include "base/random.h"
#include "quant/formats.h"

namespace lora {
namespace {

// A value is scale * q, or scale * q -+ minimum. With the minimum at `middle` times the scale, the mean of
// random codes, the mean of the values is 0.
struct Format {
  Type type;
  size_t scale;                                 // where the block's f16 scale lies
  size_t minimum = 0;                           // and its minimum; 0: the format has none
  float middle = 0;                             // minimum / scale
  void (*prepare)(std::byte* block) = nullptr;  // makes random bits what files hold, with a mean of 0
  void (*put_scale)(std::byte* block, f16 d) = nullptr;  // where it does not lie in one piece
};

// k_scales.h: every minimum's bits lie four bytes after its scale's, or in the other nibble.
void pair_up_k_scales(uint8_t scales[12]) {
  for (int j = 0; j < 4; ++j) {
    scales[j + 4] = scales[j];
    scales[j + 8] = uint8_t(scales[j + 8] & 15) * 17;
  }
}

constexpr Format kFormats[] = {
    {Type::Q4_0, offsetof(BlockQ4_0, d)},
    {Type::Q4_1, offsetof(BlockQ4_1, d), offsetof(BlockQ4_1, m), -7.5f},
    {Type::Q5_0, offsetof(BlockQ5_0, d)},
    {Type::Q5_1, offsetof(BlockQ5_1, d), offsetof(BlockQ5_1, m), -15.5f},
    {Type::Q8_0, offsetof(BlockQ8_0, d)},
    {Type::Q2_K, offsetof(BlockQ2_K, d), offsetof(BlockQ2_K, dmin), 1.5f,
     [](std::byte* block) {
       for (size_t i = 0; i < sizeof(BlockQ2_K::scales); ++i)
         block[i] = std::byte((uint8_t(block[i]) & 15) * 17);
     }},
    {Type::Q3_K, offsetof(BlockQ3_K, d)},
    {Type::Q4_K, offsetof(BlockQ4_K, d), offsetof(BlockQ4_K, dmin), 7.5f,
     [](std::byte* block) { pair_up_k_scales(reinterpret_cast<BlockQ4_K*>(block)->scales); }},
    {Type::Q5_K, offsetof(BlockQ5_K, d), offsetof(BlockQ5_K, dmin), 15.5f,
     [](std::byte* block) { pair_up_k_scales(reinterpret_cast<BlockQ5_K*>(block)->scales); }},
    {Type::Q6_K, offsetof(BlockQ6_K, d)},
    {Type::IQ4_NL, offsetof(BlockIQ4_NL, d)},
    {Type::IQ4_XS, offsetof(BlockIQ4_XS, d)},
    {Type::IQ1_S, offsetof(BlockIQ1_S, d)},
    {Type::IQ1_M, 0, 0, 0, nullptr,
     [](std::byte* block, f16 d) {
       uint8_t* scales = reinterpret_cast<uint8_t*>(block) + offsetof(BlockIQ1_M, scales);
       for (int i = 0; i < 4; ++i)
         scales[2 * i + 1] = uint8_t((scales[2 * i + 1] & 15) | (d.bits >> 4 * i & 15) << 4);
     }},
    {Type::IQ2_XXS, offsetof(BlockIQ2_XXS, d)},
    {Type::IQ2_XS, offsetof(BlockIQ2_XS, d)},
    {Type::IQ2_S, offsetof(BlockIQ2_S, d)},
    {Type::IQ3_XXS, offsetof(BlockIQ3_XXS, d)},
    {Type::IQ3_S, offsetof(BlockIQ3_S, d)},
    {Type::TQ1_0, offsetof(BlockTQ1_0, d)},
    {Type::TQ2_0, offsetof(BlockTQ2_0, d), 0, 0,
     [](std::byte* block) {
       for (size_t i = 0; i < sizeof(BlockTQ2_0::qs); ++i) {  // 3, which is none, becomes 1
         const auto q = uint8_t(block[i]);
         block[i] = std::byte(q & ~((q & q << 1) & 0xaa));
       }
     }},
};

// Scales of other forms. Where they are few numbers apart, the lower and the upper one take turns so that the
// mean square is that of the scale asked for.
struct CoarseScale {
  Type type;
  float (*decode)(uint8_t scale);
  size_t n;      // scales, one behind the other at the block's beginning
  uint8_t last;  // up to which they ascend
};
constexpr CoarseScale kCoarseScales[] = {
    {Type::MXFP4, [](uint8_t e) { return mxfp4_scale(e); }, 1, 254},
    {Type::NVFP4, [](uint8_t d) { return nvfp4_scale(d); }, 4, 0x7e},
};

void put_coarse(std::vector<std::byte>& bytes, const CoarseScale& format, int64_t block_bytes, float scale) {
  uint8_t low = 0;
  while (low + 1 < format.last && format.decode(uint8_t(low + 1)) <= scale) ++low;
  const float a = format.decode(low), b = format.decode(uint8_t(low + 1));
  const double share = (double(scale) * scale - double(a) * a) / (double(b) * b - double(a) * a);
  double owed = 0;
  for (auto block = bytes.begin(); block != bytes.end(); block += block_bytes) {
    for (size_t i = 0; i < format.n; ++i) {
      owed += share;
      block[int64_t(i)] = std::byte(owed >= 1 ? low + 1 : low);
      owed -= owed >= 1;
    }
  }
}

double root_mean_square(const TypeTraits& t, const std::vector<std::byte>& blocks, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  t.decode(values.data(), blocks.data(), n);
  double sum = 0;
  for (const float v : values) sum += double(v) * double(v);
  return std::sqrt(sum / double(n));
}

void put(std::byte* at, f16 value) {
  std::memcpy(at, &value, sizeof value);
}

template <class T, class Convert>
void fill_floats(std::vector<std::byte>& bytes, float deviation, const Convert& convert) {
  const float bound = deviation * std::sqrt(3.0f);  // of a uniform distribution
  for (size_t i = 0; i < bytes.size() / sizeof(T); ++i) {
    const T value = convert(bound * (2 * random_uniform(0, Purpose::bench, 0, i) - 1));
    std::memcpy(&bytes[i * sizeof(T)], &value, sizeof(T));
  }
}

}  // namespace

std::vector<std::byte> random_blocks(Type type, int64_t n_values, float deviation) {
  const TypeTraits& t = traits(type);
  if (!t.decode) fail("type {}: holds no weights", t.name);
  std::vector<std::byte> bytes(static_cast<size_t>(n_values / t.block_size * t.block_bytes));
  if (type == Type::F32) fill_floats<float>(bytes, deviation, [](float v) { return v; });
  if (type == Type::F16) fill_floats<f16>(bytes, deviation, to_f16);
  if (type == Type::BF16) fill_floats<bf16>(bytes, deviation, to_bf16);
  if (t.block_size == 1) return bytes;

  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t bits = random_bits(0, Purpose::bench, uint64_t(type), i);
    std::memcpy(&bytes[i], &bits, std::min<size_t>(8, bytes.size() - i));
  }
  const auto rms = [&] { return float(root_mean_square(t, bytes, n_values)); };
  if (const auto* coarse = std::ranges::find(kCoarseScales, type, &CoarseScale::type);
      coarse != std::end(kCoarseScales)) {
    put_coarse(bytes, *coarse, t.block_bytes, 1);
    put_coarse(bytes, *coarse, t.block_bytes, deviation / rms());
    return bytes;
  }

  const auto* format = std::ranges::find(kFormats, type, &Format::type);
  if (format == std::end(kFormats)) fail("type {}: random blocks are not written for it", t.name);
  const auto set_scales = [&](float scale) {
    for (auto block = bytes.begin(); block != bytes.end(); block += t.block_bytes) {
      if (format->put_scale) {
        format->put_scale(&*block, to_f16(scale));
        continue;
      }
      put(&block[int64_t(format->scale)], to_f16(scale));
      if (format->minimum) put(&block[int64_t(format->minimum)], to_f16(scale * format->middle));
    }
  };
  if (format->prepare) {
    for (size_t i = 0; i < bytes.size(); i += size_t(t.block_bytes)) format->prepare(&bytes[i]);
  }
  set_scales(1);
  set_scales(deviation / rms());
  return bytes;
}

}  // namespace lora
