#include "measure/bandwidth.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <vector>

#include "base/buffer.h"
#include "kernels/decode/decode.h"
#include "measure/timing.h"

namespace lora {
namespace {

// Exclusive or of all bytes: the least that makes the processor load them.
uint64_t read_all(const std::byte* data, int64_t n) {
  uint64_t sums[8] = {};
  for (; n >= 64; n -= 64, data += 64) {
    uint64_t words[8];
    std::memcpy(words, data, 64);
    for (int i = 0; i < 8; ++i) sums[i] ^= words[i];
  }
  for (int i = 1; i < 8; ++i) sums[0] ^= sums[i];
  return sums[0];
}

}  // namespace

double read_bandwidth(std::span<const MatrixView* const> weights, ThreadPool& pool) {
  struct Piece {
    const std::byte* data;
    int64_t bytes;
  };
  constexpr int64_t kPiece = 1 << 20;
  std::vector<Piece> pieces;
  int64_t all = 0;
  for (const MatrixView* w : weights) {
    const int64_t bytes = w->n_rows * w->row_bytes();
    all += bytes;
    for (int64_t at = 0; at < bytes; at += kPiece)
      pieces.push_back({w->data + at, std::min(kPiece, bytes - at)});
  }
  std::atomic<uint64_t> seen{0};
  double best = std::numeric_limits<double>::infinity();
  double spent = 0;
  for (int i = 0; i < 3 || spent < 0.1; ++i) {
    const double s = seconds([&] {
      pool.run(int64_t(pieces.size()), [&](int64_t task, int) {
        const Piece& piece = pieces[size_t(task)];
        seen.fetch_xor(read_all(piece.data, piece.bytes), std::memory_order_relaxed);
      });
    });
    spent += s;
    best = std::min(best, s);
  }
  return double(all) / best;
}

double decode_seconds(std::span<const MatrixView* const> weights, ThreadPool& pool) {
  int64_t widest = 0;
  for (const MatrixView* w : weights) widest = std::max(widest, w->n_cols);
  std::vector<Buffer<float>> rows;
  for (int i = 0; i < pool.size(); ++i) rows.emplace_back(widest);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 2; ++i) {
    best = std::min(best, seconds([&] {
                      for (const MatrixView* w : weights) {
                        const RowDecoder decoder(*w);
                        constexpr int64_t kRows = 16;
                        pool.run((w->n_rows + kRows - 1) / kRows, [&](int64_t task, int worker) {
                          const int64_t end = std::min(w->n_rows, (task + 1) * kRows);
                          for (int64_t row = task * kRows; row < end; ++row) {
                            decoder(rows[size_t(worker)].data(), row, 0, w->n_cols);
                          }
                        });
                      }
                    }));
  }
  return best;
}

}  // namespace lora
