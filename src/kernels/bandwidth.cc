#include "kernels/bandwidth.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <vector>

#include "base/buffer.h"
#include "base/timing.h"
#include "kernels/decode/decode.h"

namespace lora {
namespace {

// Exclusive or of all bytes but the last few: the least that makes the processor load them. Four vectors,
// since with one each load would wait for the one before.
uint64_t read_all(const std::byte* data, int64_t n) {
  using Vector [[gnu::vector_size(16), gnu::aligned(1), gnu::may_alias]] = uint64_t;
  Vector a{}, b{}, c{}, d{};
  for (; n >= 64; n -= 64, data += 64) {
    const auto* v = reinterpret_cast<const Vector*>(data);
    a ^= v[0];
    b ^= v[1];
    c ^= v[2];
    d ^= v[3];
  }
  a ^= b ^ c ^ d;
  return a[0] ^ a[1];
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

double copy_bandwidth(int64_t bytes) {
  const size_t half = size_t(bytes / 2);
  Buffer<std::byte> from(int64_t(half) + 1), to(from.size());  // never empty
  std::memset(from.data(), 1, half);                           // else all its pages would be one
  const int64_t calls = std::max<int64_t>(1, (1 << 22) / std::max<int64_t>(bytes, 1));  // for the clock
  double best = std::numeric_limits<double>::infinity(), spent = 0;
  for (int i = 0; i < 4 || spent < 0.05; ++i) {
    const double s = seconds([&] {
      for (int64_t call = 0; call < calls; ++call) {
        std::memcpy(to.data(), from.data(), half);
        asm volatile("" : : "r"(to.data()) : "memory");  // else only the last copy would be made
      }
    });
    spent += s;
    best = std::min(best, s / double(calls));
  }
  return 2.0 * double(half) / best;
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
