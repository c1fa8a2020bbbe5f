#include "nn/embedding.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace lora {
namespace {

// Components of an adapter that are computed at once: a fixed number, so that the compiler keeps them in
// registers. Rows of B, of x A^T and of its gradient are filled up with zeros to a multiple of it.
constexpr int64_t kLanes = 8;

int64_t filled_up(int64_t rank) {
  return (rank + kLanes - 1) / kLanes * kLanes;
}

}  // namespace

void embedding_forward(float* x, const Embedding& embedding, std::span<const int32_t> ids,
                       std::span<const int32_t> positions, ThreadPool& pool) {
  const int64_t n_embd = embedding.table.n_cols, n_vocab = embedding.table.n_rows;
  pool.for_range(int64_t(ids.size()), 8, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* row = x + t * n_embd;
      decode_row(row, embedding.table, ids[size_t(t)], 0, n_embd);
      for (const LoraView& lora : embedding.loras) {
        for (int64_t k = 0; k < lora.rank; ++k) {
          const float low = lora.scale * lora.a[k * n_vocab + ids[size_t(t)]];
          for (int64_t e = 0; e < n_embd; ++e) row[e] += low * lora.b[e * lora.rank + k];
        }
      }
      for (int64_t e = 0; e < n_embd && embedding.factor != 1; ++e) row[e] *= embedding.factor;
      if (embedding.positions.size() == 0) continue;
      const float* position = &embedding.positions[positions[size_t(t)] * n_embd];
      for (int64_t e = 0; e < n_embd; ++e) row[e] += position[e];
    }
  });
}

void embedding_noise(float* x, const Embedding& embedding, std::span<const AttentionSegment> segments,
                     const EmbeddingNoise& noise, ThreadPool& pool) {
  const int64_t n_embd = embedding.table.n_cols;
  const auto unit = [](uint64_t bits24) { return float(bits24) * 0x1p-23f - 1; };
  for (const AttentionSegment& segment : segments) {
    const double n_numbers = double(segment.n_q) * double(n_embd);
    const float size = float(double(embedding.factor) * double(noise.alpha) / std::sqrt(n_numbers));
    pool.for_range(segment.n_q, 8, [&](int64_t begin, int64_t end) {
      for (int64_t t = segment.q_begin + begin; t < segment.q_begin + end; ++t) {
        float* row = x + t * n_embd;
        for (int64_t e = 0; e < n_embd; e += 2) {  // two numbers are drawn at once
          const uint64_t bits =
              random_bits(noise.key, Purpose::embedding_noise, uint64_t(t), uint64_t(e / 2));
          row[e] += size * unit(bits >> 40);
          if (e + 1 < n_embd) row[e + 1] += size * unit(bits >> 8 & 0xffffff);
        }
      }
    });
  }
}

// A token may occur many times: what is summed keeps the order of tokens. Both gradients are split by rows,
// so that no two threads write to one cache line. Half the processor time of one task per component, which
// strides through B and dB (2048 tokens of 2048 values, rank 8: 16 ms in place of 37, the same bits).
void embedding_backward(const Embedding& embedding, const float* dx, std::span<const int32_t> ids,
                        NnContext& nn) {
  const int64_t n_embd = embedding.table.n_cols, n_vocab = embedding.table.n_rows;
  const int64_t n_tokens = int64_t(ids.size());
  for (const LoraView& lora : embedding.loras) {
    if (!lora.da) continue;
    const int64_t rank = lora.rank, width = filled_up(rank);
    const float scale = lora.scale * embedding.factor;
    const ArenaScope scope(nn.arena);
    float* b = nn.arena.take<float>(n_embd * width);
    float* low = nn.arena.take<float>(n_tokens * width);   // scale a[:, v_t]
    float* dlow = nn.arena.take<float>(n_tokens * width);  // B^T dx_t
    nn.pool.for_range(n_embd, 64, [&](int64_t begin, int64_t end) {
      for (int64_t e = begin; e < end; ++e) {
        for (int64_t k = 0; k < width; ++k) b[e * width + k] = k < rank ? lora.b[e * rank + k] : 0;
      }
    });
    nn.pool.for_range(n_tokens, 8, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t k = 0; k < width; ++k)
          low[t * width + k] = k < rank ? scale * lora.a[k * n_vocab + ids[size_t(t)]] : 0;
        for (int64_t k = 0; k < width; k += kLanes) {
          float sum[kLanes] = {};
          for (int64_t e = 0; e < n_embd; ++e) {
            const float d = dx[t * n_embd + e];
            for (int64_t j = 0; j < kLanes; ++j) sum[j] += d * b[e * width + k + j];
          }
          std::copy_n(sum, kLanes, dlow + t * width + k);
        }
      }
    });
    constexpr int64_t kRows = 64;  // of B: whole cache lines for any rank
    nn.pool.run((n_embd + kRows - 1) / kRows, [&](int64_t block, int) {
      const int64_t begin = block * kRows, n_rows = std::min(kRows, n_embd - begin);
      for (int64_t k = 0; k < rank; k += kLanes) {
        const int64_t n_lanes = std::min(kLanes, rank - k);
        float sum[kRows][kLanes] = {};
        for (int64_t e = 0; e < n_rows; ++e) std::copy_n(lora.db + (begin + e) * rank + k, n_lanes, sum[e]);
        for (int64_t t = 0; t < n_tokens; ++t) {
          const float* d = dx + t * n_embd + begin;
          for (int64_t e = 0; e < n_rows; ++e) {
            for (int64_t j = 0; j < kLanes; ++j) sum[e][j] += low[t * width + k + j] * d[e];
          }
        }
        for (int64_t e = 0; e < n_rows; ++e) std::copy_n(sum[e], n_lanes, lora.db + (begin + e) * rank + k);
      }
    });
    nn.pool.run(rank, [&](int64_t k, int) {
      for (int64_t t = 0; t < n_tokens; ++t)
        lora.da[k * n_vocab + ids[size_t(t)]] += scale * dlow[t * width + k];
    });
  }
}

}  // namespace lora
