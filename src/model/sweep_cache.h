// Which weights are in memory while a model that memory does not hold is gone through again and again: the
// plan of model/weight_prefetch.h without the reading, and what it takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace lora {

// Which way a pass goes through the stages: up, the last one being the head's if there is one; down, without
// a head; or both.
enum class Sweep { up, down, up_and_down };

// first: the lowest that a backward pass goes through.
std::vector<size_t> sweep_order(size_t n_stages, size_t first, Sweep sweep);

// Which pieces of the stages are in memory, and what comes next: the plan without the reading.
class SweepCache {
 public:
  // piece_bytes: of each stage; room: bytes for all together.
  SweepCache(std::vector<std::vector<uint64_t>> piece_bytes, uint64_t room);

  struct Piece {
    size_t stage, index;
    bool operator==(const Piece&) const = default;
  };
  // What to read next, and what to give back first.
  struct Move {
    std::vector<Piece> evicted;
    Piece loaded{};
  };

  // The order in which stages are needed, again and again, of which place `at` has begun.
  void enter(std::span<const size_t> order, size_t at);
  // nullopt: what is missing is needed later than all that is there. `skip`: pieces that are not read ahead.
  std::optional<Move> next(const std::function<bool(Piece)>& skip = {});
  // What is read now, whether ahead or not.
  Move load(Piece piece);
  bool is_there(Piece piece) const { return there_[piece.stage][piece.index]; }

 private:
  bool make_room(Move& move, uint64_t bytes, size_t distance);
  void set(Piece piece, bool is_there);

  std::vector<std::vector<uint64_t>> bytes_;
  std::vector<std::vector<bool>> there_;
  struct Held {  // of a stage, what is there
    int64_t n = 0;
    uint64_t bytes = 0;
  };
  std::vector<Held> held_;
  std::vector<size_t> order_;
  size_t at_ = 0;
  std::vector<size_t> distance_;  // of each stage: stages until it is needed
  uint64_t room_, used_ = 0;
};

// Passes one after the other, in numbers.
struct SweepWork {
  std::vector<std::vector<uint64_t>> piece_bytes;  // of each stage
  uint64_t room = 0;
  std::vector<size_t> order;      // of stages in a pass
  std::vector<double> compute_s;  // of each place in that order

  double compute_seconds() const;
};
// What such a pass takes, and reads, where the disk gives `rate` bytes a second: what is missing is read
// while others compute, and a stage begins once all of it is there. scale: of what computing takes.
struct SweepCost {
  double seconds = 0, bytes = 0;
};
SweepCost sweep_cost(const SweepWork& work, double rate, double scale = 1);
// The scale from which on a pass takes at most `share` more than computing alone.
double hiding_scale(const SweepWork& work, double rate, double share);

}  // namespace lora
