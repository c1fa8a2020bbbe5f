// Everything that decides a fine-tuning run, as plain values. The defaults are those of the
// command line: `lora finetune` with only --model-base is FinetuneOptions{} with that file set.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/parameters.h"
#include "base/date.h"
#include "base/precision.h"
#include "cluster/cluster.h"
#include "data/columns.h"
#include "train/layer_choice.h"

namespace lora {

// Keep activations for the backward pass, or compute them again from each layer's input.
enum class Checkpointing {
  automatic,  // keep as much as the memory budget allows
  on,         // keep a layer's input only
  off,        // keep everything
};

enum class Optimizer { adam, lbfgs };

// How the learning rate falls after the warmup.
enum class Schedule { cosine, linear, constant };

// A number of iterations, as it is or by the length of the run, which need not be known yet.
struct RunShare {
  RunShare(int64_t iterations = 0) : n(iterations) {}
  static RunShare percent_of_run(double percent) {
    RunShare result;
    result.percent = percent;
    return result;
  }
  static RunShare automatic() {
    RunShare result;
    result.is_automatic = true;
    return result;
  }

  int64_t n;                      // iterations, where neither of these is set
  std::optional<double> percent;  // of the run's iterations
  bool is_automatic = false;      // what fits the run: schedule_steps()
};

// What an unset lora_r or lora_alpha means for a fresh adapter.
inline constexpr int64_t kDefaultLoraR = 4;
inline constexpr double kDefaultLoraAlpha = 4;
inline constexpr int64_t kMaxLoraRank = 65536;
inline constexpr const char* kDefaultCheckpointIn = "checkpoint.gguf";

using Say = std::function<void(std::string_view line)>;  // a line of information, without newline

struct FinetuneOptions {
  // Files. In checkpoint_out and lora_out, `pattern_fn_it` stands for the iteration number and, in
  // a second file, for `fn_latest`; an empty name writes no file.
  std::string model_base;
  std::vector<std::string> train_data = {"shakespeare.txt"};  // files and folders (data/data_files.h)
  // To go on from; a missing file is no error. Unset: what was written last as checkpoint_out or, without
  // one, kDefaultCheckpointIn. Empty: begin anew, over the files of other runs that are in the way.
  std::optional<std::string> checkpoint_in;
  std::string checkpoint_out = "checkpoint-ITERATION.gguf";
  std::string lora_out = "ggml-lora-ITERATION-f32.gguf";
  std::string pattern_fn_it = "ITERATION";
  std::string fn_latest = "LATEST";
  int64_t save_every = 10;  // iterations; <= 0: at the end only
  int64_t keep = 0;         // numbered checkpoints and adapters that stay, the last ones; 0: all
  bool save_best = false;
  std::string best_out;  // its file; empty: lora_out with BEST in it
  bool only_write_lora = false;
  std::string lora_init;  // adapter GGUF, ggla file, folder of PEFT or MLX; empty: a fresh adapter
  std::string metrics;    // JSON lines; empty: none

  // Samples from raw text.
  std::string
      sample_start;  // as written by the user: `escape` says whether \n and the like are still to be read
  bool escape = false;
  bool include_sample_start = false;
  bool overlapping_samples = false;
  bool fill_with_next_samples = false;
  bool plain_fill = false;  // filled samples attend to each other, positions run on (the 2023 way)
  bool separate_with_eos = true;
  bool separate_with_bos = true;
  bool shuffle = true;
  bool force_reshuffle = false;
  bool parse_special = false;     // read control tokens spelled in the text
  std::optional<int64_t> window;  // without sample_start: consecutive windows of so many tokens; 0: n_ctx
  bool allow_cut = false;  // a sample_start that does not occur, or most of a text cut off, is no error

  // Records.
  bool train_on_all = false;           // prompts and users' messages too
  std::string chat_template = "auto";  // auto: the model's own; a built-in one's name, a file
  std::optional<DateTime> date;        // of templates that write it; unset: today
  bool skip_bad_records = false;       // count them; else the first one is an error
  Columns columns;                     // fields under other names

  // SillyTavern's chats.
  bool names = false;         // "NAME: " before each message
  std::string card;           // a character card, their system message; "": none
  int64_t overlap_turns = 0;  // earlier turns that each further sample of a long one begins with

  // Performance.
  int threads = 0;  // 0: physical_cores()
  Checkpointing checkpointing = Checkpointing::automatic;
  bool flash = true;
  Precision precision = Precision::automatic;
  uint64_t memory = 0;  // bytes beyond the mapped model; 0: what the machine has to spare

  // LoRA.
  int64_t n_ctx = 128;               // tokens of a sample
  int64_t n_batch = 8;               // samples computed together
  int64_t grad_acc = 1;              // micro-steps of n_batch samples per iteration
  std::optional<int64_t> lora_r;     // unset: kDefaultLoraR, or what lora_init has
  std::optional<double> lora_alpha;  // unset: kDefaultLoraAlpha, or what lora_init has
  Ranks ranks;  // by name of tensor; of the other linear layers of a block lora_r, 0 of the rest
  // Those of `ranks` that messages call --rank TENSOR, as they were given, in place of --rank-wq and the
  // like.
  std::set<std::string, std::less<>> ranks_by_name;
  LayerChoice layers;  // blocks that get adapters
  double lora_dropout = 0;
  double neftune = 0;   // noise on embeddings (Jain et al., 2023), its alpha; 0: none
  bool rslora = false;  // scale = alpha / sqrt(rank)
  std::optional<double> rope_freq_base, rope_freq_scale, norm_rms_eps;  // unset: the model's

  // Optimizer. One iteration is one optimizer step over n_batch x grad_acc samples.
  Optimizer optimizer = Optimizer::adam;
  int64_t adam_iter = 256;  // the iteration at which the run ends, earlier runs included
  int64_t lbfgs_iter = 256;
  std::optional<double> epochs;  // in place of adam_iter: ceil(epochs x samples / (n_batch x grad_acc))
  double adam_alpha = 0.001;     // learning rate at sched = 1
  double adam_min_alpha = 0;
  Schedule schedule = Schedule::cosine;
  RunShare warmup = 100;  // iterations
  RunShare cos_decay_steps = 1000;
  double cos_decay_min = 0.1;
  bool restart = false;
  double cos_decay_restart = 1.1;
  double adam_decay = 0.1;
  int64_t adam_decay_min_ndim = 2;
  double adam_beta1 = 0.9, adam_beta2 = 0.999;
  double adam_eps = 1e-8;
  double lora_plus = 1;     // learning rate of B over that of A (Hayou et al., "LoRA+", 2024)
  double adam_gclip = 1.0;  // limit on the global gradient norm; 0: none
  double adam_epsf = 0;     // convergence tests, 0: off
  int64_t opt_past = 0;
  double opt_delta = 1e-5;
  int64_t opt_max_no_improvement = 0;
  int64_t seed = -1;  // -1: random, or the resumed checkpoint's

  // Held-out evaluation.
  std::vector<std::string> val_data;
  double val_split = 0;    // fraction of the samples in [0, 1)
  int64_t eval_every = 0;  // iterations; 0: at the end only
  // Continued at each evaluation, greedily. Empty: the beginning of a held-out sample.
  std::optional<std::string> sample_prompt;
  int64_t patience = 0;  // evaluations without a new lowest held-out loss that end the run; 0: never

  // The processes that run it together: each calls finetune() with the same options but for this. Only the
  // first writes files and speaks.
  Cluster cluster;
  bool allow_mixed = false;  // of kernel sets; the adapter's bytes depend on who computes what then
  std::optional<int> stage;  // that an estimate is of; a process's own follows from its number
  int pipeline = 1;          // so many in a row compute the model together, each some of its layers
};

}  // namespace lora
