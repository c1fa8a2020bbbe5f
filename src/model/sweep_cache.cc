#include "model/sweep_cache.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace lora {

std::vector<size_t> sweep_order(size_t n_stages, size_t first, Sweep sweep) {
  std::vector<size_t> order(sweep == Sweep::down ? 0 : n_stages);
  std::iota(order.begin(), order.end(), size_t{0});
  if (sweep == Sweep::up) return order;
  // At the top it turns in the same stage.
  for (size_t i = sweep == Sweep::down ? n_stages : n_stages - 1; i-- > first;) order.push_back(i);
  return order;
}

SweepCache::SweepCache(std::vector<std::vector<uint64_t>> piece_bytes, uint64_t room)
    : bytes_(std::move(piece_bytes)), room_(room) {
  for (const auto& stage : bytes_) there_.emplace_back(stage.size(), false);
  held_.assign(bytes_.size(), {});
}

void SweepCache::enter(std::span<const size_t> order, size_t at) {
  order_.assign(order.begin(), order.end());
  at_ = at;
  distance_.assign(bytes_.size(), order_.size());
  for (size_t d = order_.size(); d-- > 0;) distance_[order_[(at_ + d) % order_.size()]] = d;
}

// Whether what is needed later than in `distance` stages takes enough room; then the last of it is evicted.
bool SweepCache::make_room(Move& move, uint64_t bytes, size_t distance) {
  std::vector<std::pair<size_t, size_t>> later;  // distance and stage
  uint64_t could_be = room_ - std::min(used_, room_);
  for (size_t stage = 0; stage < bytes_.size(); ++stage) {
    const size_t d = distance_[stage];
    if (d <= distance) continue;
    later.emplace_back(d, stage);
    could_be += held_[stage].bytes;
  }
  if (could_be < bytes) return false;
  std::ranges::sort(later, std::greater());
  for (const auto& [d, stage] : later) {
    for (size_t i = bytes_[stage].size(); i-- > 0 && held_[stage].n > 0;) {
      if (used_ + bytes <= room_) return true;
      if (!there_[stage][i]) continue;
      set({stage, i}, false);
      move.evicted.push_back({stage, i});
    }
  }
  return true;
}

std::optional<SweepCache::Move> SweepCache::next(const std::function<bool(Piece)>& skip) {
  for (size_t d = 0; d < order_.size(); ++d) {
    const size_t stage = order_[(at_ + d) % order_.size()];
    if (distance_[stage] < d || held_[stage].n == int64_t(bytes_[stage].size())) continue;
    for (size_t i = 0; i < bytes_[stage].size(); ++i) {
      if (there_[stage][i] || (skip && skip({stage, i}))) continue;
      Move move{{}, {stage, i}};
      if (!make_room(move, bytes_[stage][i], d)) return std::nullopt;
      set(move.loaded, true);
      return move;
    }
  }
  return std::nullopt;
}

SweepCache::Move SweepCache::load(Piece piece) {
  Move move{{}, piece};
  const uint64_t bytes = bytes_[piece.stage][piece.index];
  if (is_there(piece)) return move;
  make_room(move, bytes, distance_[piece.stage]);
  set(piece, true);
  return move;
}

void SweepCache::set(Piece piece, bool is_there) {
  const uint64_t bytes = bytes_[piece.stage][piece.index];
  Held& held = held_[piece.stage];
  there_[piece.stage][piece.index] = is_there;
  held.n += is_there ? 1 : -1;
  held.bytes += is_there ? bytes : -bytes;
  used_ += is_there ? bytes : -bytes;
}

double SweepWork::compute_seconds() const {
  return std::accumulate(compute_s.begin(), compute_s.end(), 0.0);
}

SweepCost sweep_cost(const SweepWork& work, double rate, double scale) {
  constexpr int kPasses = 3;  // the first fills the memory; from the second on they are alike
  SweepCache cache(work.piece_bytes, work.room);
  std::vector<double> is_there(work.piece_bytes.size(), 0);  // since when
  double now = 0, read = 0;                                  // until when the disk is busy
  SweepCost cost;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double start = now;
    cost.bytes = 0;
    for (size_t at = 0; at < work.order.size(); ++at) {
      cache.enter(work.order, at);
      const double entered = now;
      const auto end = [&] {
        return std::max(entered, is_there[work.order[at]]) + work.compute_s[at] * scale;
      };
      while (read <= end()) {
        const auto move = cache.next();
        if (!move) break;
        const uint64_t bytes = work.piece_bytes[move->loaded.stage][move->loaded.index];
        read = std::max(read, entered) + double(bytes) / rate;
        is_there[move->loaded.stage] = read;
        cost.bytes += double(bytes);
      }
      now = end();
    }
    cost.seconds = now - start;
  }
  return cost;
}

double hiding_scale(const SweepWork& work, double rate, double share) {
  const double compute_s = work.compute_seconds();
  const auto is_hidden = [&](double scale) {
    return sweep_cost(work, rate, scale).seconds <= (1 + share) * scale * compute_s;
  };
  double low = 1e-3, high = 1;
  while (!is_hidden(high) && high < 1e9) low = std::exchange(high, 2 * high);
  while (high - low > 1e-3 * high) {
    const double middle = low + (high - low) / 2;
    (is_hidden(middle) ? high : low) = middle;
  }
  return high;
}

}  // namespace lora
