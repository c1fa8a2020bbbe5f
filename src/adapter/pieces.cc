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
  for (const Piece& piece : pieces) {
    if (joined.is_stacked || whole.rank == 0) {
      whole.rank += piece.pair->rank;
      whole.a.insert(whole.a.end(), piece.pair->a.begin(), piece.pair->a.end());
    }
  }
  whole.b.assign(size_t(n_out * whole.rank), 0);
  int64_t begin = 0;
  for (const Piece& piece : pieces) {
    const int64_t rank = piece.pair->rank;
    const double factor = joined.scale == 0 ? 0 : piece.scale / joined.scale;
    for (size_t i = 0; i < piece.rows.size(); ++i) {
      const float* from = &piece.pair->b[i * size_t(rank)];
      float* to = &whole.b[size_t(piece.rows[i] * whole.rank + begin)];
      for (int64_t r = 0; r < rank; ++r) to[r] = factor == 1 ? from[r] : float(double(from[r]) * factor);
    }
    if (joined.is_stacked) begin += rank;
  }
  return joined;
}

}  // namespace lora
