// L-BFGS (Nocedal, "Updating Quasi-Newton Matrices with Limited Storage", 1980) with a line search for the
// weak Wolfe conditions by bisection (Lewis & Overton, "Nonsmooth optimization via quasi-Newton methods",
// 2013), on one set of samples S per step:
//
//   d = -H g(x; S),  x' = x + t d,  f(x') <= f(x) + 1e-4 t g.d,  g(x').d >= 0.9 g.d
//   s = x' - x,  y = g(x'; S) - g(x; S): kept if s.y > 1e-6 |s| |y|, the last 6 of them
//
// H is the two-loop product over the kept pairs, begun with (s.y / y.y) I. All sums have a fixed order.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "adapter/parameters.h"
#include "base/parallel.h"

namespace lora {

inline constexpr size_t kLbfgsPairs = 6;

// What a checkpoint keeps of the optimizer, oldest first.
struct LbfgsHistory {
  struct Pair {
    Buffer<float> s, y;
  };
  std::vector<Pair> pairs;
};

// Floats that the optimizer takes beside the parameters' values and gradients, per trained number.
inline constexpr int64_t kLbfgsFloats = 2 * int64_t(kLbfgsPairs) + 3;

class Lbfgs {
 public:
  Lbfgs(LoraParameters& parameters, LbfgsHistory& history, ThreadPool& pool);

  // The loss at the parameters' values, with its gradient in their gradients; nullopt: give up this step.
  using Evaluate = std::function<std::optional<double>()>;

  struct Outcome {
    double step = 0;        // t, 0 if no point was better: then the values stay, and the history is dropped
    bool given_up = false;  // by evaluate(); values and history are as before
  };
  // One step from the values, whose loss and gradients are given.
  Outcome step(double loss, const Evaluate& evaluate);

 private:
  void find_direction();
  void set_values(double t);
  double dot(const float* a, const float* b) const;
  void keep_pair();

  LoraParameters& p_;
  LbfgsHistory& history_;
  ThreadPool& pool_;
  int64_t n_;
  LbfgsHistory::Pair start_;  // values and gradients at the beginning of the step
  Buffer<float> direction_;
};

}  // namespace lora
