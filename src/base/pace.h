// By how many threads the loops of a pool had better be shared. Where another program has a processor, one
// thread fewer may be faster: loops wait for a worker that is held up in the middle of a task, or the
// system lets it run in turn with the caller, on one processor. What decides is the time that the same loops
// take, whatever the cause.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <optional>

namespace lora {

class Pace {
 public:
  // cpu_step: the steps in which cpu() grows, in seconds.
  explicit Pace(int n_threads, double cpu_step = 0)
      : n_threads_(n_threads), cpu_step_(cpu_step), n_active_(n_threads) {}

  // How many threads should share a loop; at least one, the caller.
  int n_active() const { return n_active_; }

  // To be asked once before each loop: whether its time is wanted. Mostly not, where nothing is amiss.
  bool wants_time() { return n_unseen_ == 0 || --n_unseen_ == 0; }

  // A loop over n things took so many seconds, shared by n_active(). kind: equal for loops that do the same.
  // cpu(): how long a processor has worked for the caller in all, in seconds.
  template <class Cpu>
  void add(uint64_t kind, int64_t n, double seconds, const Cpu& cpu) {
    if (!is_open_) {  // a window begins behind this loop
      cpu_ = cpu();
      n_loops_ = 0, window_ = 0, ++number_;
      is_open_ = true;
      return;
    }
    levels_[n_active_].kinds[slot(kind, n)].add(double(n), seconds, number_);
    now_ += seconds;
    window_ += seconds;
    ++n_loops_;
    if (window_ < kWindow) return;
    is_open_ = false;
    const double worked = cpu() - cpu_;
    if (worked > kLong * double(n_loops_)) {
      n_active_ = n_threads_;
      calm_until_ = now_ + kLongest;
    }
    if (now_ >= calm_until_) decide(window_ - worked > std::max(kHeldUp * window_, cpu_step_));
  }

 private:
  // A window is several times what a scheduler lets a program run. One with a thread that does not pay costs
  // time, so the next comes later and later, until such a window is good again and again.
  static constexpr double kWindow = 0.03, kLongest = 3, kGrowth = 8;
  static constexpr double kHeldUp = 0.05;  // of the time of loops, in which the caller does not run
  // Of loops that the caller works at for longer than this nothing is tried for a while: threads that run in
  // turn lose nothing by them, and to try one thread fewer would cost as much as they are long.
  static constexpr double kLong = 1e-3;
  // At most, between windows in which all is well: seconds, and loops, since those to come may be longer.
  static constexpr double kUnseen = 0.5;
  static constexpr int64_t kMostUnseen = 1000;

  // Of loops of one kind: things, seconds, in the latest window and the half of each before it.
  struct Sum {
    double n = 0, seconds = 0;
    int64_t window = 0;
    void add(double more, double more_seconds, int64_t now) {
      if (window != now) n /= 2, seconds /= 2, window = now;
      n += more, seconds += more_seconds;
    }
  };
  struct Level {
    std::array<Sum, 128> kinds;
    double hold = 0, until = 0;  // how long, and until when, fewer threads do the loops
  };

  // The size's power of two belongs to the kind; within it time grows as the size does.
  static size_t slot(uint64_t kind, int64_t n) {
    return size_t((kind ^ uint64_t(std::bit_width(uint64_t(n)))) * 0x9e3779b97f4a7c15u >> 57);
  }

  void decide(bool is_held_up) {
    Level& level = levels_[n_active_];
    if (n_active_ < n_threads_ && now_ >= levels_[n_active_ + 1].until) {
      ++n_active_;
    } else if (n_active_ > 1 && !pays().value_or(!is_held_up)) {
      level.hold = std::clamp(kGrowth * level.hold, kWindow, kLongest);
      level.until = now_ + level.hold;
      --n_active_;
    } else {
      level.hold = level.hold > kWindow ? level.hold / 2 : 0;
      pause_ = is_held_up || level.hold > 0 ? 0 : std::clamp(2 * pause_, kWindow, kUnseen);
      if (n_active_ == n_threads_)
        n_unseen_ = std::min(kMostUnseen, int64_t(pause_ * double(n_loops_) / window_));
    }
  }

  // Whether the window's loops were faster than with one thread fewer: from those of which that is known, at
  // least half of the time.
  std::optional<bool> pays() {
    double all = 0, seconds = 0, with_fewer = 0;
    for (size_t i = 0; i < levels_[n_active_].kinds.size(); ++i) {
      const Sum& here = levels_[n_active_].kinds[i];
      const Sum& fewer = levels_[n_active_ - 1].kinds[i];
      if (here.window != number_) continue;
      all += here.seconds;
      if (fewer.n == 0) continue;
      seconds += here.seconds;
      with_fewer += here.n / fewer.n * fewer.seconds;
    }
    if (seconds < all / 2) return std::nullopt;
    return seconds < with_fewer;
  }

  const int n_threads_;
  const double cpu_step_;
  int n_active_;
  std::map<int, Level> levels_;  // by number of threads
  double now_ = 0;               // seconds of loops, of those seen
  double calm_until_ = 0;
  // The window.
  bool is_open_ = false;
  double cpu_ = 0, window_ = 0;
  int64_t n_loops_ = 0, number_ = 0;
  // Until the next one.
  double pause_ = 0;
  int64_t n_unseen_ = 0;  // loops
};

}  // namespace lora
