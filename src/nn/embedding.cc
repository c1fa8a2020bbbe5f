#include "nn/embedding.h"

namespace lora {

void embedding_forward(float* x, const Embedding& embedding, std::span<const int32_t> ids, ThreadPool& pool) {
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
    }
  });
}

void embedding_backward(const Embedding& embedding, const float* dx, std::span<const int32_t> ids,
                        ThreadPool& pool) {
  const int64_t n_embd = embedding.table.n_cols, n_vocab = embedding.table.n_rows;
  for (const LoraView& lora : embedding.loras) {
    if (!lora.da) continue;
    // One task per rank component: a token may occur many times, and its sum keeps the order of tokens.
    pool.run(lora.rank, [&](int64_t k, int) {
      for (size_t t = 0; t < ids.size(); ++t) {
        const float* d = dx + int64_t(t) * n_embd;
        const float low = lora.scale * lora.a[k * n_vocab + ids[t]];
        float sum = 0;
        for (int64_t e = 0; e < n_embd; ++e) {
          sum += d[e] * lora.b[e * lora.rank + k];
          lora.db[e * lora.rank + k] += low * d[e];
        }
        lora.da[k * n_vocab + ids[t]] += lora.scale * sum;
      }
    });
  }
}

}  // namespace lora
