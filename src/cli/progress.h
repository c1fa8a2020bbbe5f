// What a long run shows on stderr: plain lines into a pipe, one redrawn bar on a terminal.
#pragma once

#include <cstdint>
#include <cstdio>
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
  Progress() : Progress(stderr, stderr_is_terminal(), stderr_columns) {}
  // `columns` is asked whenever a bar is drawn.
  Progress(std::FILE* out, bool is_terminal, int (*columns)());
  ~Progress() { end_bar(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void say(std::string_view line);
  void iteration(const IterationRecord& record, int64_t n_iter);
  // A bar for work that is counted in steps; nothing into a pipe.
  void step(int64_t done, int64_t total, std::string_view facts);
  // The same for work that is counted in bytes, with its rate and the time that is left.
  void bytes(uint64_t done, uint64_t total);
  // What an evaluation has to say: a bar of its windows with the perplexity so far. A signal stops it.
  EvalEvents eval_events();
  // Leaves the bar's last state behind, on a line of its own.
  void end_bar();

 private:
  void draw(const std::string& bar);

  std::FILE* out_;
  bool is_terminal_;
  int (*columns_)();
  bool bar_shown_ = false;
  std::string bar_;
  SmoothedLoss loss_;
  double elapsed_s_ = 0;
  Clock::time_point start_ = Clock::now();
};

}  // namespace lora::cli
