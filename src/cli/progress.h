// What a long run shows on stderr: plain lines into a pipe, one redrawn bar on a terminal.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

#include "base/terminal.h"
#include "base/timing.h"
#include "generate/evaluate.h"
#include "train/finetune.h"

namespace lora::cli {

// Seconds as HH:MM:SS, hours beyond 99 as they come; below a minute with milliseconds (00:00:00.123).
std::string format_duration(double seconds);

// "iter=     1 sched=0.010000 loss=3.457290 dt=00:24:17 eta=11:44:33 tok/s=4.0", and val_loss where there is
// one.
std::string progress_line(const IterationRecord& record);

// "[=====     ] 12/256 epoch 0.31 loss 3.4573 812.4 tok/s 00:01:10 ETA 00:03:10 1.20 GiB", cut to `columns`.
std::string progress_bar(const IterationRecord& record, int64_t n_iter, double smoothed_loss,
                         double elapsed_s, int columns);

// Mean of the losses so far in which each counts `keep` times as much as the next.
struct SmoothedLoss {
  double keep = 0.9;
  double sum = 0, weight = 0;
  double add(double loss);
};

class Progress {
 public:
  Progress() : Progress(stderr, stderr_is_terminal(), [] { return columns_of(stderr); }) {}
  // `columns` is asked whenever something is written to a terminal.
  Progress(std::FILE* out, bool is_terminal, std::function<int()> columns);
  ~Progress() { end_bar(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void say(std::string_view line);
  void iteration(const IterationRecord& record, int64_t n_iter);
  // Held-out samples that are done; 0 at the beginning. A bar in place of the other; into a pipe a line
  // every ten seconds.
  void evaluation(int64_t done, int64_t total);
  // A bar for work that is counted in steps; nothing into a pipe.
  void step(int64_t done, int64_t total, std::string_view facts);
  // The same for work that is counted in bytes, with its rate and the time that is left.
  void bytes(uint64_t done, uint64_t total);
  // What an evaluation has to say: a bar of its windows with the perplexity so far. A signal stops it.
  EvalEvents eval_events();
  // Draws the bar anew where the window has another width than it was drawn for.
  void follow_resize();
  // Leaves the bar's last state behind, on a line of its own.
  void end_bar();

  double evaluation_line_s = 10;  // between two lines of an evaluation

 private:
  using Bar = std::function<std::string(int columns)>;
  void draw(Bar bar);
  void paint();
  void clear();
  // Terminals break a line that a narrower window does not hold into rows; the cursor stays in the last.
  int rows_above() const;
  int columns() const { return std::max(1, columns_()); }

  std::FILE* out_;
  bool is_terminal_;
  std::function<int()> columns_;
  bool bar_shown_ = false;
  Bar bar_, evaluation_;  // the latter goes before
  int drawn_columns_ = 0, drawn_size_ = 0;
  Clock::time_point evaluation_line_;
  SmoothedLoss loss_;
  double elapsed_s_ = 0;
  Clock::time_point start_ = Clock::now();
};

}  // namespace lora::cli
