// Whether a worker of a pool had better stay away for a while. Where its processor is busy with something
// else, it is held up again and again in the middle of a task, and of short loops each then takes as long as
// the scheduler lets the other one run: two threads would be slower than one.
#pragma once

#include <algorithm>

namespace lora {

class Pace {
 public:
  // Asked by a worker after each loop; all in seconds. now: on any clock. slept: how long it has slept in all
  // for want of loops. waited: how long loops have slept in all for the last of their workers. cpu():
  // how long a processor has worked for it. The result is how long it should rest, mostly 0; what it did
  // before that counts no more.
  template <class Cpu>
  double rest(double now, double slept, double waited, const Cpu& cpu) {
    if (is_new_) {
      start_ = {now, slept, waited, cpu()};
      is_new_ = false;
    }
    if (now - start_.now < kWindow) return 0;
    const Sample end = {now, slept, waited, cpu()};
    const double present = end.now - start_.now - (end.slept - start_.slept);
    const bool is_held_up = present - (end.cpu - start_.cpu) > kShare * present;
    const bool is_waited_for = end.waited - start_.waited > kShare * (end.now - start_.now);
    rest_ = is_held_up && is_waited_for ? std::clamp(2 * rest_, kShortest, kLongest) : 0;
    start_ = end;
    is_new_ = rest_ > 0;  // what passes until then is in no window
    return rest_;
  }

 private:
  // A look costs a window of slow loops, so rests double, up to a fiftieth of the time.
  static constexpr double kWindow = 0.06, kShortest = 0.2, kLongest = 3;
  static constexpr double kShare = 0.15;
  struct Sample {
    double now, slept, waited, cpu;
  };
  Sample start_ = {};
  bool is_new_ = true;  // the next sample begins a window
  double rest_ = 0;
};

}  // namespace lora
