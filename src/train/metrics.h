// What an iteration did: the metrics file, one JSON object per line, and how long the rest will take.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/file.h"
#include "train/finetune.h"

namespace lora {

// One line of the metrics file; floats with nine significant digits, which is every bit of an f32, and null
// for what is not finite. The first line of a file names the run (run_id()), so that no other cuts it.
std::string to_json(const IterationRecord& record, std::string_view run = "");

// Error naming the file if something else than metrics is there, which writing them would cut away.
void expect_metrics_file(const std::string& path);
// Whether the file's first line names this run, or there is no whole line.
bool is_metrics_of(const std::string& run, const std::string& path);

// A file whose first lines, iterations 1 to last_kept, stay; the rest is cut.
AppendFile open_metrics(const std::string& path, int64_t last_kept);

// The same, with the last kept line rewritten: that iteration was evaluated later than it was written.
AppendFile open_metrics_with(const std::string& path, int64_t last_kept, double val_loss);

// The time a run still takes, from the time it took. An iteration is assumed to take as long as its tokens
// are many; the first one is left out when there are others, since it reads the model from disk.
class RemainingTime {
 public:
  // mean_tokens: of an iteration to come.
  explicit RemainingTime(double mean_tokens) : mean_tokens_(mean_tokens) {}
  void add_iteration(double seconds, int64_t tokens);
  void add_save(double seconds) { save_s_ = seconds; }
  void add_evaluation(double seconds) { evaluation_s_ = seconds; }
  double seconds(int64_t n_iterations, int64_t n_saves, int64_t n_evaluations) const;

 private:
  double mean_tokens_;
  int64_t n_ = 0;
  double seconds_ = 0, tokens_ = 0;
  double save_s_ = 0, evaluation_s_ = 0;
};

// How many multiples of `every` lie in (done, total]; 0 if every is not positive.
int64_t multiples_left(int64_t done, int64_t total, int64_t every);

}  // namespace lora
