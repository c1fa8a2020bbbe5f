// One fine-tuning run from files to files: model and text in, adapter and checkpoints out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "train/held_out.h"
#include "train/options.h"

namespace lora {

// What one iteration did; a line of the metrics file.
struct IterationRecord {
  int64_t iter = 0;          // from 1; a resumed run goes on counting
  double epoch = 0;          // samples seen / samples there are
  uint64_t sample = 0;       // samples seen, this iteration's included
  double loss = 0;           // mean over the iteration's target tokens, before its update, in nats
  double lr = 0, sched = 0;  // lr = adam_alpha x sched; of L-BFGS the step length that was found, and 1
  double grad_norm = 0;      // before clipping
  int64_t tokens = 0;        // target tokens
  double dt_s = 0, tok_per_s = 0, eta_s = 0;
  uint64_t rss_bytes = 0;
  std::string_view precision;             // "bf16": what --precision has come to
  std::optional<double> val_loss_before;  // of the first iteration: before training
  std::optional<double> val_loss;
};

// How a run talks to whoever started it. Any member may be empty. All are called from the thread
// that called finetune().
struct FinetuneEvents {
  std::function<void(std::string_view line)> say;  // a line of information, without newline
  std::function<void(const IterationRecord& record, int64_t n_iter)> on_iteration;
  // Of held-out samples: 0 when an evaluation begins, then after each batch; n_samples: it is over.
  std::function<void(int64_t n_done, int64_t n_samples)> on_evaluation;
  // Asked after each iteration and, within one, before each layer; true: save and return. An iteration or
  // evaluation that is not over is dropped, the run that is resumed does it again.
  std::function<bool()> should_stop;
};

struct FinetuneResult {
  int64_t iterations = 0;                  // the last iteration done, earlier runs included
  std::string lora_path, checkpoint_path;  // what was written last; empty: nothing
  std::string best_path;  // the adapter of the lowest held-out loss, with save_best; empty: none
  Evaluations evaluations;
  std::set<std::string> chat_templates;  // that conversations were written with; empty: there were none
  std::string compute;                   // "amx kernels, bf16 inputs"
  std::string sample_prompt;             // what was continued at each evaluation; empty: nothing
  bool stopped = false;                  // by should_stop
  std::string why;                       // why it ended, as text for people
};

// Trains an adapter as the options say. Throws Error for anything that makes this impossible,
// naming the file or option; files written before stay whole. A save that fails is said, and tried again at
// the next; only the last one's failure is an Error. With only_write_lora nothing is trained.
FinetuneResult finetune(const FinetuneOptions& options, const FinetuneEvents& events);

}  // namespace lora
