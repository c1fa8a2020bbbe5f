#include "kernels/gemm_int8/gemm_int8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_int8/gemm_int8.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <algorithm>

#include "base/error.h"
#include "base/machine.h"
#include "base/random.h"
#include "kernels/decode/decode.h"
#include "kernels/dot/int8_reference.h"
#include "kernels/gemm/micro_kernel.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm_int8/int8_codes.h"
#include "kernels/gemm_int8/tile.h"
#include "kernels/isa.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {

// One token: q (n) and, unless it is nullptr, low; and its places in the d and sums of its tile. To the
// nearest, 32 to a scale.
HWY_ATTR void RoundToken(int8_t* HWY_RESTRICT q, int8_t* HWY_RESTRICT low, float* d, int32_t* sums16,
                         int32_t* sums32, int64_t width, const float* HWY_RESTRICT x, int64_t n) {
  float unused[3];
  for (int64_t i = 0; i < n; i += 32, d += width, sums16 += 2 * width, sums32 += width) {
    int16_t numbers[32];
    if (low) {
      round_to_two_bytes<32>(numbers, q + i, low + i, d, x + i);
    } else {
      round_to_int8(q + i, d, unused, unused + 1, x + i, 32);
      for (int j = 0; j < 32; ++j) numbers[j] = q[i + j];
    }
    int first = 0, second = 0;
    for (int j = 0; j < 16; ++j) first += numbers[j];
    for (int j = 16; j < 32; ++j) second += numbers[j];
    sums16[0] = first;
    sums16[width] = second;
    sums32[0] = first + second;
  }
}

// The same, kGradientGroup to a scale; without low at random by row_bits, if there are any, of the columns
// from `column` on.
HWY_ATTR void RoundGradient(int8_t* HWY_RESTRICT q, int8_t* HWY_RESTRICT low, float* d, int32_t* starts,
                            int64_t width, const float* HWY_RESTRICT x, int64_t n, const uint64_t* row_bits,
                            int64_t column, int column_offset) {
  constexpr int kGroup = kGradientGroup;
  for (int64_t i = 0; i < n; i += kGroup, d += width, starts += width) {
    int16_t numbers[kGroup];
    if (low) {
      round_to_two_bytes<kGroup>(numbers, q + i, low + i, d, x + i);
    } else {
      round_at_random<kGroup>(q + i, d, x + i, row_bits, uint32_t(column + i));
      for (int j = 0; j < kGroup; ++j) numbers[j] = q[i + j];
    }
    int sum = 0;
    for (int j = 0; j < kGroup; ++j) sum += numbers[j];
    starts[0] = -column_offset * sum;
  }
}

HWY_ATTR void Starts(int32_t* HWY_RESTRICT starts, const int32_t* HWY_RESTRICT sums, int32_t offset,
                     int64_t n) {
  for (int64_t i = 0; i < n; ++i) starts[i] = -offset * sums[i];
}

HWY_ATTR void Products(float* HWY_RESTRICT products, const int32_t* HWY_RESTRICT sums,
                       const float* HWY_RESTRICT d, int64_t n) {
  for (int64_t i = 0; i < n; ++i) products[i] = d[i] * float(sums[i]);
}

// A group of rows of 32 columns, `ld` apart, to 2 n_steps + 1 steps with a scale (32) for each column:
// codes [group / 4][32][4], rows in place of columns, with the offset added.
HWY_ATTR void RoundColumns(uint32_t* HWY_RESTRICT codes, float* HWY_RESTRICT scales,
                           const float* HWY_RESTRICT rows, int64_t ld, int n_steps, int offset) {
  uint32_t top[32] = {};
  for (int64_t r = 0; r < kGradientGroup; ++r) {
    for (int c = 0; c < 32; ++c)
      top[c] = std::max(top[c], std::bit_cast<uint32_t>(rows[r * ld + c]) & 0x7fffffffu);
  }
  float factors[32];
  for (int c = 0; c < 32; ++c) {
    const Int8Scale scale = int8_scale(top[c], float(n_steps));
    factors[c] = scale.factor;
    scales[c] = scale.d;
  }
  for (int64_t r = 0; r < kGradientGroup; r += 4, codes += 32) {
    for (int c = 0; c < 32; ++c) {
      uint32_t word = 0;
      for (int j = 0; j < 4; ++j) {
        const float rounded = rows[(r + j) * ld + c] * factors[c] + (kRoundsInt8 + float(offset));
        word |= (std::bit_cast<uint32_t>(rounded) & 0xffu) << 8 * j;
      }
      codes[c] = word;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(RoundToken);
HWY_EXPORT(RoundGradient);
HWY_EXPORT(Starts);
HWY_EXPORT(Products);
HWY_EXPORT(RoundColumns);

// The loops above for the kernel set in use, of which Highway does not know the plain one.
#define LORA_CHOSEN(f) (isa() == Isa::scalar ? HWY_STATIC_DISPATCH(f) : HWY_DYNAMIC_DISPATCH(f))

struct Kernel {
  Int8Codes (*codes)(Type) = [](Type) { return Int8Codes{}; };
  Int8TileKernel multiply_tile = nullptr;
  Int8Training training = {};
  // Added to the codes of columns, 0 where products take signed ones: even, so that the nearest even number
  // is the same with it and without.
  int column_offset = 0;
  bool is_automatic = false;  // for training: measured to be faster than f32, and of two bytes
};

Kernel kernel() {
  // VPMADDUBSW has 16 bits for the sum of two products. Of 64 steps two fit into them; and a second product
  // of every activation would take longer than one in f32.
  constexpr Int8Training kIn16Bits = {TokenBytes::one, 64};
  constexpr Int8Training kIn32Bits = {TokenBytes::two, 127};
  switch (isa()) {
    case Isa::scalar:
      return {scalar_int8_codes, int8_tile_scalar, kIn32Bits, 0, true};
    case Isa::avx2:
      if (has_avx_vnni()) return {avx_vnni_int8_codes, int8_tile_avx_vnni, kIn32Bits, 128, true};
      return {avx2_int8_codes, int8_tile_avx2, kIn16Bits, 64};
    case Isa::avx512:  // without VNNI (Skylake-SP) floats at 512 bits are about as fast as AVX2's integers
    case Isa::amx:
      if (cpu_features().avx512_vnni)
        return {avx512_vnni_int8_codes, int8_tile_avx512_vnni, kIn32Bits, 128, true};
      break;
    case Isa::neon:
      if (cpu_features().neon_dot) return {neon_int8_codes, int8_tile_neon, kIn32Bits};
      break;
  }
  return {};
}

bool is_few(int64_t n_tokens) {
  return n_tokens <= 32;
}

// Of the columns of rounded activations: what a product of many tokens takes at a time.
constexpr int64_t kPiece = 512;

// A task: weight rows for a block of tokens (512 in tiles of 6 and of 4), and how long the pieces are that
// are unpacked at a time. Few tokens: long pieces, since memory sets the pace; many: a block of activations
// and the sums stay in the second-level cache beside a short piece.
struct Cut {
  int64_t rows, k;
  Cut(int64_t n_tokens, int64_t n_in) {
    const bool few = is_few(n_tokens);
    rows = few ? 32 : 64;
    const int64_t most = few ? 1024 : kPiece, n_pieces = ceil_div(n_in, most);
    k = std::min(most, round_up(ceil_div(n_in, n_pieces), 256));
  }
  static constexpr int64_t kCodes = 32 * 1024, kTokens = 516, kSums = (kTokens + kInt8TileTokens) * 64;
};

// What a worker has in the cache.
struct alignas(64) Block {
  uint8_t codes[Cut::kCodes];      // of 32 rows: [k / 4][32][4], and so on
  float scales[Cut::kCodes / 16];  // of 32 rows: [k / group][32]
  float minimums[Cut::kCodes / 16];
  uint8_t rows_codes[Cut::kCodes];  // of 32 rows as they are
  float rows_scales[Cut::kCodes / 16], rows_minimums[Cut::kCodes / 16];
  // The task's output, [row / 32][token][32]: in y, tokens may lie so that all share a few sets of the cache.
  float sums[Cut::kSums];
};

uint32_t* words(void* p) {
  return static_cast<uint32_t*>(p);
}

// Tiles of equal width; 0 without tokens.
int tile_width(int64_t n_tokens) {
  return int(ceil_div(n_tokens, std::max<int64_t>(1, ceil_div(n_tokens, kInt8TileTokens))));
}

// Puts rows [row, row + n) of at most 32, values [k0, k0 + k), into the block as its rows `number` * 32 and
// on. Rows beyond the last one stay as they were: nothing of them is stored.
void unpack(Block& block, const MatrixView& w, const Int8Codes& format, int64_t row, int64_t n, int64_t k0,
            int64_t k, int64_t number) {
  constexpr int64_t kRows = kInt8TileRows;
  const TypeTraits& type = traits(w.type);
  const int64_t n_groups = k / format.group, row_bytes = w.row_bytes();
  const int64_t at = k0 / type.block_size * type.block_bytes, bytes = k / type.block_size * type.block_bytes;
  for (int64_t r = 0; r < n; ++r) {
    const std::byte* blocks = w.data + (row + r) * row_bytes + at;
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(blocks + 2 * row_bytes + i);
    format.unpack(block.rows_codes + r * k, block.rows_scales + r * n_groups,
                  block.rows_minimums + r * n_groups, blocks, k);
  }
  const auto turn = [&](void* to, void* from, int64_t n_words) {
    transpose(words(to) + number * kRows * n_words, kRows, words(from), n_words, kRows, n_words);
  };
  turn(block.codes, block.rows_codes, k / 4);
  turn(block.scales, block.rows_scales, n_groups);
  if (format.has_minimums) turn(block.minimums, block.rows_minimums, n_groups);
}

// The sums of activations as products with a weight of this format use them: of tile `tile`.
void start(const Int8Tokens& x, const Int8Codes& format, int64_t tile) {
  const int64_t width = x.width, n = x.n_in / format.group * width;
  const int32_t* sums = (format.group == 16 ? x.sums16 : x.sums32) + tile * n;
  LORA_CHOSEN(Starts)(x.starts + tile * n, sums, format.offset, n);
  if (!format.has_minimums) return;
  const float* d = x.d + tile * (x.n_in / 32) * width;
  if (format.group == 32) {
    LORA_CHOSEN(Products)(x.products + tile * n, sums, d, n);
  } else {
    for (int64_t g = 0; g < n / width; ++g) {
      LORA_CHOSEN(Products)
      (x.products + tile * n + g * width, sums + g * width, d + g / 2 * width, width);
    }
  }
}

int64_t n_tiles(const Int8Tokens& x) {
  return ceil_div(x.n_tokens, x.width);
}

// Tile `tile` of the rows, of n_cols values: round(q, low, at, x, n, t, column) rounds columns of row t to q,
// low (nullptr: there is none) and what belongs to them, from `at` in d on; clear(at) is for a group of a row
// that is not there.
template <class Round, class Clear>
void round_tile(const Int8Tokens& to, const TokenRows& from, int64_t n_cols, int64_t group, int64_t tile,
                const Round& round, const Clear& clear) {
  constexpr int64_t kColumns = 1024;
  const int64_t width = to.width, n_in = to.n_in, step = std::min(kColumns, to.piece);
  for (int64_t i0 = 0; i0 < n_in; i0 += step) {
    const int64_t n = std::min(step, n_in - i0), at = to.at(tile * width, i0);
    alignas(64) int8_t rows[kInt8TileTokens * kColumns], low_rows[kInt8TileTokens * kColumns];
    for (int64_t i = 0; i < width; ++i) {
      const int64_t t = tile * width + i;
      if (t < from.n_rows) {
        const float* x = from.row(t, n_cols) + i0;
        float last[kColumns];
        if (i0 + n > n_cols) {
          std::copy_n(x, n_cols - i0, last);
          std::fill(last + (n_cols - i0), last + n, 0.0f);
          x = last;
        }
        round(rows + i * n, to.low ? low_rows + i * n : nullptr, at / group + i, x, n, t, i0);
      } else {
        std::fill_n(rows + i * n, n, int8_t{0});
        std::fill_n(low_rows + i * n, n, int8_t{0});
        for (int64_t g = 0; g < n / group; ++g) clear(at / group + g * width + i);
      }
    }
    transpose(words(to.q + at), width, words(rows), n / 4, width, n / 4);
    if (to.low) transpose(words(to.low + at), width, words(low_rows), n / 4, width, n / 4);
  }
}

void round_token_tile(const Int8Tokens& to, const TokenRows& from, int64_t n_cols, int64_t tile) {
  round_tile(
      to, from, n_cols, 32, tile,
      [&](int8_t* q, int8_t* low, int64_t at, const float* x, int64_t n, int64_t, int64_t) {
        const int64_t i = at % to.width;
        LORA_CHOSEN(RoundToken)
        (q, low, to.d + at, to.sums16 + 2 * (at - i) + i, to.sums32 + at, to.width, x, n);
      },
      [&](int64_t at) {
        const int64_t i = at % to.width;
        to.d[at] = 0;
        to.sums32[at] = 0;
        to.sums16[2 * (at - i) + i] = to.sums16[2 * (at - i) + to.width + i] = 0;
      });
}

void round_gradient_tile(const Int8Tokens& to, const TokenRows& from, int64_t n_cols,
                         const RandomRounding* rounding, int64_t tile) {
  const int column_offset = kernel().column_offset;
  round_tile(
      to, from, n_cols, kGradientGroup, tile,
      [&](int8_t* q, int8_t* low, int64_t at, const float* x, int64_t n, int64_t t, int64_t column) {
        uint64_t row_bits = 0;
        if (rounding)
          row_bits = random_bits(rounding->key, Purpose::rounding, 0, uint64_t(rounding->position(t)));
        LORA_CHOSEN(RoundGradient)
        (q, low, to.d + at, to.starts + at, to.width, x, n, rounding ? &row_bits : nullptr, column,
         column_offset);
      },
      [&](int64_t at) {
        to.d[at] = 0;
        to.starts[at] = 0;
      });
}

// Places in the storage, one group behind the other, then all tiles in one loop.
template <class Take, class Round>
std::vector<Int8Tokens> round_groups(std::byte* storage, std::span<const TokenRows> groups, int64_t n_in,
                                     ThreadPool& pool, const Take& take_all, const Round& round) {
  std::vector<Int8Tokens> result;
  GroupedTasks tiles;
  int64_t used = 0;
  for (const TokenRows& group : groups) {
    Int8Tokens& tokens = result.emplace_back();
    tokens.width = tile_width(group.n_rows);
    tokens.n_tokens = group.n_rows;
    tokens.n_in = n_in;
    tokens.piece = is_few(group.n_rows) ? n_in : kPiece;
    const auto take = [&]<class T>(T*& p, int64_t n) {
      p = reinterpret_cast<T*>(storage + used);
      used += n * int64_t(sizeof(T));
    };
    take_all(tokens, round_up(group.n_rows, tokens.width) * n_in, take);
    tiles.add(n_tiles(tokens));
  }
  pool.run(tiles.total(), [&](int64_t number, int) {
    const auto [group, tile] = tiles[number];
    round(result, group, tile);
  });
  return result;
}

}  // namespace

bool prefers_int8_gemm(Type type, int64_t n_tokens) {
  constexpr int64_t kTileUnitTokens = 32;  // from so many on its products pay for rounding weights to bf16
  if (isa() == Isa::scalar) return false;  // generates in floats
  if (n_tokens < 2 || (isa() == Isa::amx && n_tokens > kTileUnitTokens)) return false;
  return kernel().codes(type).unpack != nullptr;
}

bool has_int8_gemm() {
  return kernel().multiply_tile != nullptr;
}

bool has_int8_gemm(Type type) {
  return kernel().codes(type).unpack != nullptr;
}

Int8Training int8_training() {
  return kernel().training;
}

bool prefers_int8_training() {
  return kernel().is_automatic && !prefers_bf16();
}

int64_t int8_tokens_bytes(int64_t n_tokens, int64_t n_cols, TokenBytes bytes) {
  // A gradient takes less.
  static_assert(kGradientGroup % 32 == 0);
  const int64_t per_32 = 32 * int64_t(bytes) + 8 * int64_t(sizeof(float));
  // Zeros are at most one less than a group has tiles, so however many groups there are, they are these.
  const int64_t n_with_zeros = n_tokens + ceil_div(n_tokens, kInt8TileTokens);
  return n_with_zeros * round_up(n_cols, kGradientGroup) / 32 * per_32;
}

std::vector<Int8Tokens> round_tokens(std::byte* storage, std::span<const TokenRows> groups, int64_t n_cols,
                                     TokenBytes bytes, ThreadPool& pool) {
  return round_groups(
      storage, groups, round_up(n_cols, 32), pool,
      [bytes](Int8Tokens& to, int64_t n, const auto& take) {
        take(to.d, n / 32);
        take(to.products, n / 16);
        take(to.starts, n / 16);
        take(to.sums16, n / 16);
        take(to.sums32, n / 32);
        take(to.q, n);
        if (bytes == TokenBytes::two) take(to.low, n);
      },
      [&](const std::vector<Int8Tokens>& to, int64_t group, int64_t tile) {
        round_token_tile(to[group], groups[group], n_cols, tile);
      });
}

std::vector<Int8Tokens> round_gradients(std::byte* storage, std::span<const TokenRows> groups, int64_t n_cols,
                                        TokenBytes bytes, std::span<const RandomRounding> rounding,
                                        ThreadPool& pool) {
  return round_groups(
      storage, groups, round_up(n_cols, kGradientGroup), pool,
      [bytes](Int8Tokens& to, int64_t n, const auto& take) {
        take(to.d, n / kGradientGroup);
        take(to.starts, n / kGradientGroup);
        take(to.q, n);
        if (bytes == TokenBytes::two) take(to.low, n);
      },
      [&](const std::vector<Int8Tokens>& to, int64_t group, int64_t tile) {
        round_gradient_tile(to[group], groups[group], n_cols, rounding.empty() ? nullptr : &rounding[group],
                            tile);
      });
}

void gemm_int8(std::span<const Int8Product> products, bool accumulate, GemmScratch& scratch,
               ThreadPool& pool) {
  const auto chosen = kernel();
  const Int8Codes format = chosen.codes(products[0].w.type);
  if (int64_t(sizeof(Block)) > GemmScratch::bytes_per_worker()) fail("gemm_int8: scratch is too small");
  GroupedTasks tiles, slabs;
  const auto token_slab_of = [](const Int8Tokens& x) { return Cut::kTokens / x.width * x.width; };
  for (const Int8Product& product : products) {
    const Int8Tokens& x = *product.x;
    tiles.add(n_tiles(x));
    slabs.add(ceil_div(product.w.n_rows, Cut(x.n_tokens, x.n_in).rows) *
              ceil_div(x.n_tokens, token_slab_of(x)));
  }
  pool.for_range(tiles.total(), 8, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const auto [which, tile] = tiles[at];
      start(*products[which].x, format, tile);
    }
  });
  pool.run(slabs.total(), [&](int64_t number, int worker) {
    const auto [which, task] = slabs[number];
    const auto& [y, w, tokens] = products[which];
    const Int8Tokens& x = *tokens;
    const Cut cut(x.n_tokens, x.n_in);
    const int64_t token_slab = token_slab_of(x), n_slabs = ceil_div(w.n_rows, cut.rows);
    auto& block = *reinterpret_cast<Block*>(scratch.worker(worker));
    const int64_t o0 = task % n_slabs * cut.rows, n_rows = std::min(cut.rows, w.n_rows - o0);
    const int64_t t0 = task / n_slabs * token_slab, n_tokens = std::min(token_slab, x.n_tokens - t0);
    const int64_t padded = round_up(n_tokens, x.width);
    for (int64_t k0 = 0; k0 < x.n_in; k0 += cut.k) {
      const int64_t k = std::min(cut.k, x.n_in - k0), n_groups = k / format.group;
      for (int64_t r = 0; r < n_rows; r += kInt8TileRows) {
        unpack(block, w, format, o0 + r, std::min<int64_t>(kInt8TileRows, n_rows - r), k0, k,
               r / kInt8TileRows);
      }
      for (int64_t r = 0; r < n_rows; r += kInt8TileRows) {
        for (int64_t t = 0; t < n_tokens; t += x.width) {
          const int64_t at = x.at(t0 + t, k0);
          chosen.multiply_tile({.codes = block.codes + r * k,
                                .scales = block.scales + r * n_groups,
                                .minimums = format.has_minimums ? block.minimums + r * n_groups : nullptr,
                                .q = x.q + at,
                                .low = x.low ? x.low + at : nullptr,
                                .d = x.d + at / 32,
                                .starts = x.starts + at / format.group,
                                .products = x.products + at / format.group,
                                .width = x.width,
                                .sums = block.sums + r * padded + t * kInt8TileRows,
                                .ld_sums = kInt8TileRows,
                                .k = k,
                                .accumulate = k0 > 0},
                               format.group, format.max_code);
        }
      }
    }
    for (int64_t t = 0; t < n_tokens; ++t) {
      float* out = y + (t0 + t) * w.n_rows + o0;
      for (int64_t r0 = 0; r0 < n_rows; r0 += kInt8TileRows) {
        const float* sums = block.sums + r0 * padded + t * kInt8TileRows;
        const int64_t n = std::min<int64_t>(kInt8TileRows, n_rows - r0);
        for (int64_t r = 0; r < n; ++r) out[r0 + r] = accumulate ? out[r0 + r] + sums[r] : sums[r];
      }
    }
  });
}

namespace {

// A task: columns of all weights for a block of tokens, 256 rows at a time, whose codes stay in the
// second-level cache beside the activations and the sums. Columns are cut where no block of weights is split.
constexpr int64_t kGradientColumns = 256, kGradientRows = 256, kGradientTokens = 516;

struct alignas(64) ColumnBlock {
  uint32_t codes[kGradientColumns * kGradientRows / 4];                // of 32 columns: [row / 4][32][4]
  float scales[kGradientColumns * kGradientRows / kGradientGroup];     // of 32 columns: [row / group][32]
  float rows[kGradientGroup * kGradientColumns];                       // as they are decoded
  float sums[(kGradientTokens + kInt8TileTokens) * kGradientColumns];  // [column / 32][token][32]
};

struct GradientCut {
  int64_t columns, tokens, n_columns, n_tokens;  // of a task, and tasks along each side

  // At least two tasks for each thread, where there is enough to cut.
  GradientCut(const Int8Gradient& gradient, int n_threads) {
    const Int8Tokens& dy = *gradient.terms[0].dy;
    int64_t step = kInt8TileRows;
    for (const Int8Term& term : gradient.terms) step = std::max(step, traits(term.w.type).block_size);
    const int64_t n_in = gradient.terms[0].w.n_cols;
    const auto cut = [&] {
      n_columns = ceil_div(n_in, columns);
      n_tokens = ceil_div(dy.n_tokens, tokens);
      return n_threads == 1 || n_columns * n_tokens >= 2 * n_threads;
    };
    columns = kGradientColumns;
    tokens = kGradientTokens / dy.width * dy.width;
    while (!cut() && columns / 2 >= std::max<int64_t>(step, 64) && columns / 2 % step == 0) columns /= 2;
    while (!cut() && tokens > 8 * dy.width) tokens = round_up(tokens / 2, dy.width);
  }
};

// Rows [o0, o0 + n_rows) of columns [i0, i0 + n) as codes and scales; n_rows is followed by zeros.
void round_block(ColumnBlock& block, const RowDecoder& decode, int64_t o0, int64_t n_rows, int64_t i0,
                 int64_t n, int64_t n_groups, const Kernel& chosen) {
  constexpr int64_t kGroup = kGradientGroup;
  for (int64_t g = 0; g < n_groups; ++g) {
    const int64_t row = g * kGroup, there = std::clamp<int64_t>(n_rows - row, 0, kGroup);
    for (int64_t r = 0; r < there; ++r) {
      decode.prefetch(o0 + row + r + kGroup, i0, i0 + n);
      decode(block.rows + r * n, o0 + row + r, i0, i0 + n);
    }
    std::fill(block.rows + there * n, block.rows + kGroup * n, 0.0f);
    for (int64_t c = 0; c < n; c += 32) {
      LORA_CHOSEN(RoundColumns)
      (block.codes + (c * n_groups + g * 32) * (kGroup / 4), block.scales + c * n_groups + g * 32,
       block.rows + c, n, chosen.training.column_steps, chosen.column_offset);
    }
  }
}

}  // namespace

void gemm_int8_input_gradient(std::span<const Int8Gradient> gradients, GemmScratch& scratch,
                              ThreadPool& pool) {
  const auto chosen = kernel();
  if (int64_t(sizeof(ColumnBlock)) > GemmScratch::bytes_per_worker())
    fail("gemm_int8_input_gradient: scratch is too small");
  GroupedTasks slabs;
  std::vector<GradientCut> cuts;
  int64_t work = 0;  // multiplications
  for (const Int8Gradient& gradient : gradients) {
    cuts.emplace_back(gradient, gradients.size() == 1 ? pool.n_active() : 1);
    for (const auto& [w, dy] : gradient.terms) work += dy->n_tokens * w.n_rows * w.n_cols;
    slabs.add(cuts.back().n_columns * cuts.back().n_tokens);
  }
  pool.run(slabs.total(), work, [&](int64_t number, int worker) {
    const auto [which, task] = slabs[number];
    const auto& [dx, terms] = gradients[which];
    const GradientCut& cut = cuts[which];
    auto& block = *reinterpret_cast<ColumnBlock*>(scratch.worker(worker));
    const int64_t n_in = terms[0].w.n_cols, all_tokens = terms[0].dy->n_tokens;
    const int64_t i0 = task % cut.n_columns * cut.columns, n = std::min(cut.columns, n_in - i0);
    const int64_t t0 = task / cut.n_columns * cut.tokens, n_tokens = std::min(cut.tokens, all_tokens - t0);
    const int64_t padded = round_up(n_tokens, terms[0].dy->width);
    bool is_first = true;
    for (const auto& [w, dy] : terms) {
      const RowDecoder decode(w);
      for (int64_t o0 = 0; o0 < w.n_rows; o0 += kGradientRows, is_first = false) {
        const int64_t n_rows = std::min(kGradientRows, w.n_rows - o0), k = round_up(n_rows, kGradientGroup);
        round_block(block, decode, o0, n_rows, i0, n, k / kGradientGroup, chosen);
        for (int64_t c = 0; c < n; c += kInt8TileRows) {
          for (int64_t t = 0; t < n_tokens; t += dy->width) {
            const int64_t at = dy->at(t0 + t, o0);
            chosen.multiply_tile({.codes = reinterpret_cast<const uint8_t*>(block.codes) + c * k,
                                  .scales = block.scales + c * (k / kGradientGroup),
                                  .minimums = nullptr,
                                  .q = dy->q + at,
                                  .low = dy->low ? dy->low + at : nullptr,
                                  .d = dy->d + at / kGradientGroup,
                                  .starts = dy->starts + at / kGradientGroup,
                                  .products = nullptr,
                                  .width = dy->width,
                                  .sums = block.sums + c * padded + t * kInt8TileRows,
                                  .ld_sums = kInt8TileRows,
                                  .k = k,
                                  .accumulate = !is_first},
                                 kGradientGroup, 2 * chosen.column_offset);
          }
        }
      }
    }
    for (int64_t t = 0; t < n_tokens; ++t) {
      for (int64_t c = 0; c < n; c += kInt8TileRows) {
        std::copy_n(block.sums + c * padded + t * kInt8TileRows, kInt8TileRows,
                    dx + (t0 + t) * n_in + i0 + c);
      }
    }
  });
}

}  // namespace lora
#endif
