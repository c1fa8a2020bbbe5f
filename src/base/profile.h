// Where a step's time goes: seconds of the calling thread by part, each moment counted once, for the
// innermost scope it lies in. A scope without a profile costs one comparison.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "base/timing.h"

namespace lora {

enum class Part { elementwise, gemm_forward, gemm_input_gradient, lora, attention, scans, head, optimizer };

struct PartRow {
  Part part;
  std::string_view name;  // as a key
  std::string_view what;
};
inline constexpr PartRow kParts[] = {
    {Part::gemm_forward, "gemm_forward", "products with the weights, recomputation included"},
    {Part::gemm_input_gradient, "gemm_input_gradient",
     "products going back, the adapters' last term included"},
    {Part::lora, "lora", "the adapters' own products and gradients"},
    {Part::attention, "attention", "forward and backward"},
    {Part::scans, "scans", "convolutions and states along the tokens, forward and backward"},
    {Part::head, "head", "output layer and loss, forward and backward"},
    {Part::elementwise, "elementwise", "norms, rotary, SwiGLU, residuals, embedding"},
    {Part::optimizer, "optimizer", "gradient norm and AdamW"},
};

struct Profile {
  std::array<double, std::size(kParts)> seconds{};
  Part current = Part::elementwise;
  int depth = 0;
  Clock::time_point since;

  double& operator[](Part part) { return seconds[size_t(part)]; }
};

class ProfileScope {
 public:
  // What lies inside the head belongs to it, its products too.
  ProfileScope(Profile* profile, Part part) : profile_(profile) {
    if (!profile) return;
    outer_ = profile->current;
    const bool in_head = profile->depth > 0 && outer_ == Part::head;
    enter(in_head ? Part::head : part);
    ++profile->depth;
  }
  ~ProfileScope() {
    if (!profile_) return;
    enter(outer_);
    --profile_->depth;
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  void enter(Part part) {
    const Clock::time_point now = Clock::now();
    if (profile_->depth > 0) {
      (*profile_)[profile_->current] += std::chrono::duration<double>(now - profile_->since).count();
    }
    profile_->since = now;
    profile_->current = part;
  }

  Profile* profile_;
  Part outer_ = Part::elementwise;
};

}  // namespace lora
