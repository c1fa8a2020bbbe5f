// Batches through the stages of a pipeline, several at a time: while a stage computes one, its neighbours
// compute others. A stage goes forward with as many as there are stages above it, and from then on with one
// for each that comes back (Narayanan et al., "Memory-Efficient Pipeline-Parallel DNN Training", 2021), so
// that of n batches a stage of S waits for (S - 1) / (n + S - 1) of the time. Where one process has the whole
// model, batches go through it one after the other.
//
// Each stage's backward passes are in the order of the batches, so that nothing depends on who is when ready.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "cluster/cluster.h"
#include "model/step.h"

namespace lora {

// Tokens, and how they are trained on.
struct PipelineBatch {
  std::vector<int32_t> ids, targets, positions;
  std::vector<AttentionSegment> segments;
  float scale = 1;  // of the losses' sum whose gradient is taken
  std::optional<uint64_t> random_key = {};
  std::optional<EmbeddingNoise> noise = {};

  StepTokens tokens() const { return {ids, targets, positions, segments}; }
  int64_t n_targets() const {
    return std::ranges::count_if(targets, [](int32_t t) { return t >= 0; });
  }
};

class Pipeline {
 public:
  // Both must stay. stages: those of the pipeline, of which the step is planned for this process's part.
  Pipeline(Step& step, const StepPlan& plan, int64_t n_embd, const Cluster& stages);

  struct Work {
    int64_t n = 0;  // batches
    std::function<void(int64_t i, PipelineBatch& batch)> load;
    // In the last stage: of each token.
    std::function<void(int64_t i, const PipelineBatch& batch, std::span<const double> losses)> losses;
    // In each stage, after the batch's gradients were added to the trained numbers'; none: forward alone.
    std::function<void(int64_t i)> gradients = {};
    // Of forward passes alone, before each batch but the first one: false of the first stage ends the work,
    // in all of them before the same batch.
    std::function<bool()> goes_on = {};
  };
  // Every stage calls it with the same n, and gets how many batches were done. GivenUp is thrown by those
  // whose step gave up, after what the others wait for is sent; nothing that they have got is of use then.
  int64_t run(const Work& work);

  bool is_last() const { return stages_.is_alone() || stages_.rank() == stages_.size() - 1; }
  // Seconds of the last run() that were spent with computing.
  double busy_seconds() const { return busy_s_; }

 private:
  struct Slot {
    PipelineBatch batch;
    Buffer<float> in;               // what the stage below gave
    std::byte goes_on{};            // whether it gave any
    int64_t arrives = 0, told = 0;  // messages
  };
  struct InFlight {
    float* stream = nullptr;             // what up() returned
    int64_t sent_up = 0, sent_down = 0;  // messages
  };

  int64_t run_alone(const Work& work);
  bool goes_on(const Work& work, int64_t i);
  void forward(const Work& work, int64_t i);
  void backward(const Work& work, int64_t i);
  void expect_input(const Work& work, int64_t i);
  void expect_gradient();
  template <class Compute>
  void compute(const Compute& what);
  int64_t send(int to, const float* bytes, int64_t size);

  Slot& slot(int64_t i) { return slots_[size_t(i) % slots_.size()]; }
  InFlight& flight(int64_t i) { return flights_[size_t(i) % flights_.size()]; }
  int64_t flight_index(int64_t i) const { return i % int64_t(flights_.size()); }
  int64_t size_of(int64_t i) { return int64_t(slot(i).batch.ids.size()) * n_embd_; }

  Step& step_;
  const StepPlan& plan_;
  int64_t n_embd_;
  const Cluster& stages_;
  std::vector<Slot> slots_;  // one more than there are flights, for what comes in next
  std::vector<InFlight> flights_;
  Buffer<float> gradient_;  // of the next batch that comes back; in the last stage, of the last one
  int64_t gradient_arrives_ = 0;
  int64_t n_forward_ = 0, n_backward_ = 0, n_awaited_ = 0;  // batches; gradients of them that are received
  std::vector<double> losses_;
  double busy_s_ = 0;
  bool gave_up_ = false;
  std::exception_ptr error_;
};

}  // namespace lora
