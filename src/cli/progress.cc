#include "cli/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/elementary.h"
#include "base/signals.h"
#include "cli/put.h"
#include "cli/values.h"

namespace lora::cli {

namespace {

// A terminal wraps when its last column is written.
std::string fit(std::string text, int columns) {
  text.resize(std::min(text.size(), size_t(std::max(1, columns - 1))));
  return text;
}

constexpr int kAnyWidth = 1 << 20;

// "[====      ] WHAT 4/10 FACTS"
std::string bar(int64_t done, int64_t total, std::string_view facts, int columns,
                std::string_view what = "") {
  constexpr int kBarWidth = 10;
  const double part = total > 0 ? std::clamp(double(done) / double(total), 0.0, 1.0) : 0.0;
  const size_t filled = size_t(part * kBarWidth);
  return fit(fmt::format("[{}{}] {}{}/{} {}", std::string(filled, '='), std::string(kBarWidth - filled, ' '),
                         what, done, total, facts),
             columns);
}

std::string hours_minutes_seconds(int64_t s) {
  return fmt::format("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e15) return "--:--:--";
  const int64_t ms = std::llround(seconds * 1000);
  if (ms < 60000) return fmt::format("{}.{:03}", hours_minutes_seconds(ms / 1000), ms % 1000);
  return hours_minutes_seconds(std::llround(seconds));
}

std::string progress_line(const IterationRecord& r) {
  std::string line =
      fmt::format("iter={:6} sched={:.6f} loss={:.6f} dt={} eta={} tok/s={:.1f}", r.iter, r.sched, r.loss,
                  format_duration(r.dt_s), hours_minutes_seconds(std::llround(r.eta_s)), r.tok_per_s);
  if (r.val_loss) line += fmt::format(" val_loss={:.6f}", *r.val_loss);
  return line;
}

std::string progress_bar(const IterationRecord& r, int64_t n_iter, double smoothed_loss, double elapsed_s,
                         int columns) {
  // With the order in which they are left out where the window is too narrow for all of them.
  std::vector<std::pair<std::string, int>> facts = {
      {fmt::format("epoch {:.2f}", r.epoch), 4},
      {fmt::format("loss {:.4f}", smoothed_loss), 5},
      {fmt::format("{:.1f} tok/s", r.tok_per_s), 2},
      {hours_minutes_seconds(std::llround(elapsed_s)), 3},
      {"ETA " + hours_minutes_seconds(std::llround(r.eta_s)), 6},
      {format_size(r.rss_bytes), 1}};
  std::string text;
  for (int left_out = 0; left_out < 6; ++left_out) {
    std::erase_if(facts, [&](const auto& fact) { return fact.second == left_out; });
    text.clear();
    for (const auto& [fact, order] : facts) text += (text.empty() ? "" : " ") + fact;
    if (bar(r.iter, n_iter, text, kAnyWidth).size() < size_t(columns)) break;
  }
  return bar(r.iter, n_iter, text, columns);
}

double SmoothedLoss::add(double loss) {
  sum = keep * sum + loss;
  weight = keep * weight + 1;
  return sum / weight;
}

Progress::Progress(std::FILE* out, bool is_terminal, std::function<int()> columns)
    : out_(out), is_terminal_(is_terminal), columns_(std::move(columns)) {}

void Progress::end_bar() {
  if (bar_shown_) put(out_, "\n");
  bar_shown_ = false;
}

void Progress::say(std::string_view line) {
  const bool was_shown = bar_shown_;
  clear();
  cli::say(out_, line, is_terminal_ ? columns() : 0);
  if (was_shown) paint();
}

void Progress::iteration(const IterationRecord& record, int64_t n_iter) {
  elapsed_s_ += record.dt_s;
  const double smoothed = loss_.add(record.loss);
  if (is_terminal_) {
    draw([record, n_iter, smoothed, elapsed_s = elapsed_s_](int columns) {
      return progress_bar(record, n_iter, smoothed, elapsed_s, columns);
    });
    if (record.val_loss)
      say(fmt::format("iteration {}: held-out loss {:.6f}, perplexity {:.4f}", record.iter, *record.val_loss,
                      elementary::exp(*record.val_loss)));
  } else {
    say(progress_line(record));
  }
}

void Progress::evaluation(int64_t done, int64_t total) {
  if (is_terminal_) {
    if (done < total) {
      evaluation_ = [done, total](int columns) { return bar(done, total, "", columns, "evaluating "); };
      paint();
    } else {
      clear();
      evaluation_ = {};
      if (bar_) paint();
    }
    return;
  }
  const Clock::time_point now = Clock::now();
  if (done == 0) {
    evaluation_line_ = now;
  } else if (done < total &&
             std::chrono::duration<double>(now - evaluation_line_).count() >= evaluation_line_s) {
    say(fmt::format("evaluating {}/{}", done, total));
    evaluation_line_ = now;
  }
}

void Progress::step(int64_t done, int64_t total, std::string_view facts) {
  if (!is_terminal_) return;
  draw([done, total, text = std::string(facts)](int columns) { return bar(done, total, text, columns); });
}

void Progress::bytes(uint64_t done, uint64_t total) {
  const double s = seconds_since(start_);
  const double rate = double(done) / std::max(s, 1e-9);
  const double left = rate > 0 ? double(total - std::min(done, total)) / rate : 0;
  step(int64_t(done / 1'000'000), int64_t(total / 1'000'000),
       fmt::format("MB {:.0f} MB/s ETA {}", rate / 1e6, hours_minutes_seconds(std::llround(left))));
}

EvalEvents Progress::eval_events() {
  EvalEvents events;
  events.say = [this](std::string_view text) { say(text); };
  events.on_window = [this](int64_t window, int64_t n_windows, const EvalResult& so_far) {
    step(window, n_windows,
         so_far.tokens > 0 ? fmt::format("perplexity {:.4f}", so_far.perplexity) : std::string());
  };
  events.should_stop = [] { return stop_signal() != 0; };
  return events;
}

void Progress::follow_resize() {
  if (bar_shown_ && columns() != drawn_columns_) paint();
}

void Progress::draw(Bar bar) {
  bar_ = std::move(bar);
  paint();
}

void Progress::paint() {
  const int width = columns(), n_above = rows_above();
  const std::string text = (evaluation_ ? evaluation_ : bar_)(width);
  if (bar_shown_) {
    redraw(out_, text, n_above);
  } else {
    put(out_, text);
  }
  bar_shown_ = true;
  drawn_columns_ = width;
  drawn_size_ = int(text.size());
}

void Progress::clear() {
  if (bar_shown_) redraw(out_, "", rows_above());
  bar_shown_ = false;
}

int Progress::rows_above() const {
  return std::max(0, drawn_size_ - 1) / columns();
}

}  // namespace lora::cli
