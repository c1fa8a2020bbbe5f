// Weights of a model that memory does not hold whole, read from its file before a step needs them.
//
// A step goes up through the layers, through the head, and down again; so what it has just left is what it
// needs last. Stages are the layers (0 up to their number) and behind them the head. A thread reads the
// stages ahead as far as there is room, and gives the memory of those back that are needed last, which no
// other choice betters where the order is known (Belady, "A study of replacement algorithms for a
// virtual-storage computer", 1966): a sweep of W bytes with room for M reads W - M. It decides when bytes are
// read, never which: what it has not read yet, the page fault reads.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "model/model.h"
#include "model/part.h"
#include "model/sweep_cache.h"

namespace lora {

// Of a stage, what it multiplies with.
struct StageWeights {
  std::vector<std::span<const std::byte>> always;
  // Of experts: read ahead where most are expected to be chosen, else once they are (chosen()).
  std::vector<std::span<const std::byte>> experts;
  double used = 1;  // experts chosen for each token, of all

  uint64_t bytes() const;
};

// Of layers of a model, and of its head.
std::vector<StageWeights> stage_weights(const Model& model, std::span<const Layer> layers);
// Of a part of it.
std::vector<StageWeights> stage_weights(const Model& model, const NetworkPart& part);
uint64_t weight_bytes(const std::vector<StageWeights>& stages);
// The most that two neighbours have: with room for it one can be read while the other is computed with.
uint64_t least_room(const std::vector<StageWeights>& stages);
// The same of a part of a model: what its weights need of memory at the least.
uint64_t least_room(const Model& model, const NetworkPart& part);
uint64_t least_room(const Model& model);

// Bytes of the pieces that each stage is read in. Of experts' those that are expected to be chosen by some of
// n_tokens.
std::vector<std::vector<uint64_t>> piece_bytes(const std::vector<StageWeights>& stages, double n_tokens);

// What weights get of `free` bytes beside what else takes `taken`: nullopt where all of them fit.
std::optional<uint64_t> weight_room(const Model& model, const NetworkPart& part, uint64_t free,
                                    uint64_t taken);
std::optional<uint64_t> weight_room(const Model& model, uint64_t free, uint64_t taken);

class WeightPrefetch {
 public:
  // stages: of the file's tensors; first: the lowest that a backward pass goes through; room: bytes.
  WeightPrefetch(const Gguf& file, std::vector<StageWeights> stages, size_t first, uint64_t room);
  ~WeightPrefetch();
  WeightPrefetch(const WeightPrefetch&) = delete;
  WeightPrefetch& operator=(const WeightPrefetch&) = delete;

  // A pass of n_tokens begins.
  void begin(int64_t n_tokens, Sweep sweep);
  // The next stage of the pass is computed from now on.
  void enter();
  // Rows of a table that are to be read: asked for all at once, where page faults would wait for each.
  void rows(const MatrixView& table, std::span<const int32_t> rows);
  // Of the stage at hand, experts that the router has chosen, in the order in which they compute.
  void chosen(const MatrixView& weights);

 private:
  void read();
  bool is_skipped(SweepCache::Piece piece) const;

  const Gguf& file_;
  std::vector<StageWeights> stages_;
  std::vector<size_t> n_always_{};  // of each stage, pieces before those of experts
  std::vector<std::vector<std::span<const std::byte>>> pieces_;  // of each stage
  std::array<std::vector<size_t>, 3> orders_;                    // by Sweep
  SweepCache cache_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::span<const size_t> order_;  // of the pass
  size_t entered_ = 0;             // stages of it so far
  double n_tokens_ = 0;
  std::deque<SweepCache::Piece> wanted_;
  bool ends_ = false, is_changed_ = false;
  std::thread reader_;
};

}  // namespace lora
