#include "adapter/pieces.h"

#include <algorithm>

namespace lora {

Joined join(const std::string& base, std::span<const Piece> pieces, int64_t n_out) {
  const LoraPair& first = *pieces.front().pair;
  Joined joined;
  joined.scale = pieces.front().scale;
  joined.is_stacked =
      std::ranges::any_of(pieces, [&](const Piece& piece) { return piece.pair->a != first.a; });
  LoraPair& whole = joined.pair;
  whole.base = base;
  whole.n_in = first.n_in;
  whole.n_out = n_out;
  whole.n_slices = first.n_slices;
  const std::span<const Piece> with_own_a = joined.is_stacked ? pieces : pieces.first(1);
  for (const Piece& piece : with_own_a) whole.rank += piece.pair->rank;
  for (int64_t slice = 0; slice < whole.n_slices; ++slice) {
    for (const Piece& piece : with_own_a) {
      const int64_t size = piece.pair->rank * whole.n_in;
      const auto from = piece.pair->a.begin() + slice * size;
      whole.a.insert(whole.a.end(), from, from + size);
    }
  }
  whole.b.assign(size_t(whole.n_slices * n_out * whole.rank), 0);
  int64_t begin = 0;
  for (const Piece& piece : pieces) {
    const int64_t rank = piece.pair->rank, n_rows = int64_t(piece.rows.size());
    const double factor = joined.scale == 0 ? 0 : piece.scale / joined.scale;
    for (int64_t i = 0; i < whole.n_slices * n_rows; ++i) {
      const float* from = &piece.pair->b[size_t(i * rank)];
      const int64_t row = i / n_rows * n_out + piece.rows[size_t(i % n_rows)];
      float* to = &whole.b[size_t(row * whole.rank + begin)];
      for (int64_t r = 0; r < rank; ++r) to[r] = factor == 1 ? from[r] : float(double(from[r]) * factor);
    }
    if (joined.is_stacked) begin += rank;
  }
  return joined;
}

}  // namespace lora
