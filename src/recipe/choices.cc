#include "recipe/choices.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/elementary.h"
#include "base/error.h"
#include "base/path.h"
#include "base/plural.h"
#include "train/run.h"
#include "train/schedule.h"

namespace lora {
namespace {

// Held-out samples. Fewer tell nothing; more than this many take time from training.
constexpr int64_t kLeastHeldOut = 8, kMostHeldOut = 1000, kLeastTrained = 16;
constexpr double kHeldOut = 0.1;
constexpr int64_t kSeed = 1;

// Tokens of a piece of prose, 0 where the context says it.
int64_t window_of(const FinetuneOptions& o) {
  return o.window.value_or(0);
}
// After the context is known.
int64_t n_samples_of(const FinetuneOptions& o, const Facts& facts) {
  if (!facts.is_prose) return int64_t(facts.lengths.size());
  const int64_t piece = window_of(o) > 0 ? window_of(o) : o.n_ctx;
  return (facts.n_tokens + piece - 1) / piece;
}
int64_t n_held_out_of(const FinetuneOptions& o, const Facts& facts) {  // of these
  return o.val_split > 0 ? std::max<int64_t>(1, std::llround(o.val_split * double(n_samples_of(o, facts))))
                         : 0;
}

struct Situation {
  FinetuneOptions& o;
  const Facts& facts;
  const Wishes& wishes;
  const std::function<bool(std::string_view)>& is_given;

  int64_t n_samples() const { return n_samples_of(o, facts); }
  int64_t n_held_out() const { return n_held_out_of(o, facts); }
  int64_t n_evaluated() const { return o.val_data.empty() ? n_held_out() : facts.n_val_samples; }
  int64_t n_trained() const { return std::max<int64_t>(1, n_samples() - n_held_out()); }
  int64_t n_iter() const { return iteration_count(o, n_trained()); }
  int64_t rows_of_step() const { return o.n_batch * o.grad_acc; }
  double targets_of_sample() const {
    return double(facts.n_targets) / double(std::max<int64_t>(1, n_samples()));
  }
};

// The smallest of some round lengths, up to `most`, for which is_enough holds; `most` where none is.
int64_t round_length(int64_t most, const std::function<bool(int64_t)>& is_enough) {
  for (int64_t n = 32; n < most; n += n < 128 ? 32 : n < 512 ? 64 : n < 2048 ? 256 : 1024) {
    if (is_enough(n)) return n;
  }
  return most;
}

double covered(const Facts& facts, int64_t n_ctx) {
  double all = double(facts.n_beyond), inside = 0;
  for (const int64_t n : facts.lengths) {
    all += double(n);
    inside += double(std::min(n, n_ctx));
  }
  return all > 0 ? inside / all : 1;
}

bool fits(const Situation& s, int64_t n_ctx, int64_t n_batch) {
  FinetuneOptions tried = s.o;
  tried.n_ctx = n_ctx;
  tried.n_batch = n_batch;
  return s.facts.fits(tried);
}

// The longest that fits the memory with one sample at a time; `asked` where that fits.
int64_t within_memory(const Situation& s, int64_t asked) {
  int64_t n = asked;
  while (n > 32 && !fits(s, n, 1)) n = std::max<int64_t>(32, n / 2 / 32 * 32);
  if (!fits(s, n, 1)) {
    fail(
        "memory: not even samples of {} tokens fit with adapters of rank {}; a smaller --lora-r or --layers "
        "8 takes less",
        n, s.o.lora_r.value_or(kDefaultLoraR));
  }
  return n;
}

std::string choose_context(Situation& s) {
  constexpr double kCovered = 0.97;
  constexpr int64_t kMostOfChats = 2048, kPieces = 64;
  const Facts& facts = s.facts;
  const int64_t most = std::max<int64_t>(1, std::min(facts.n_ctx_train, kLongestSample));
  std::string why;
  int64_t n = 0;
  if (facts.is_prose && window_of(s.o) > 0) {
    n = window_of(s.o);
    why = "as long as the pieces of --window";
  } else if (facts.is_prose) {
    n = 1024;
    while (n > 64 && facts.n_tokens / n < kPieces) n /= 2;
    n = std::min(n, most);
    why = n == most ? "pieces of prose as long as the model's own context"
                    : fmt::format("pieces of prose, so long that there are {} of them",
                                  (facts.n_tokens + n - 1) / n);
  } else {
    const int64_t longest = facts.lengths.empty() ? 1 : *std::ranges::max_element(facts.lengths);
    const int64_t limit = facts.divides_long_samples ? std::min(most, kMostOfChats) : most;
    n = round_length(limit, [&](int64_t c) { return covered(facts, c) >= kCovered; });
    const double inside = covered(facts, n);
    why = fmt::format("the smallest that holds {:g}% of the samples' tokens; the longest has {}{}",
                      std::floor(1000 * inside) / 10, longest, longest >= kLongestSample ? " or more" : "");
    if (inside < kCovered) {
      why = fmt::format(
          "{}; {}", n == facts.n_ctx_train ? "the model's own" : "the most that is chosen by itself",
          facts.divides_long_samples
              ? "longer chats are cut between turns"
              : fmt::format("{:.0f}% of the samples' tokens lie beyond it", 100 * (1 - inside)));
    }
    n = std::max(n, window_of(s.o));
  }
  s.o.n_ctx = within_memory(s, n);
  const bool cuts = !facts.is_prose && !facts.divides_long_samples;
  const double beyond = 1 - covered(facts, s.o.n_ctx);
  if (s.o.n_ctx < n) {
    why =
        fmt::format("what fits the memory; {} would be wanted{}", n,
                    cuts ? fmt::format(": {:.0f}% of the samples' tokens lie beyond it", 100 * beyond) : "");
  }
  if (cuts && beyond >= 0.5) {
    s.o.allow_cut = true;
    why += ", which is more than half (--allow-cut)";
  }
  return why;
}

std::string choose_held_out(Situation& s) {
  const int64_t n = s.n_samples();
  if (n < kLeastHeldOut + kLeastTrained) {
    s.o.val_split = 0;
    return fmt::format("too few to hold some out ({}), so nothing will say how good it becomes: {} would do",
                       count_of(n, s.facts.is_prose ? "piece" : "sample"), kLeastHeldOut + kLeastTrained);
  }
  if (kHeldOut * double(n) > double(kMostHeldOut)) {
    s.o.val_split = double(kMostHeldOut) / double(n);
    return fmt::format("{} samples are enough to tell how good it becomes, and when to stop", kMostHeldOut);
  }
  if (kHeldOut * double(n) >= double(kLeastHeldOut)) {
    s.o.val_split = kHeldOut;
    return "a tenth of the samples tells how good it becomes, and when to stop";
  }
  s.o.val_split = std::ceil(1000.0 * double(kLeastHeldOut) / double(n)) / 1000;
  return fmt::format("{} samples at the least, to tell how good it becomes", kLeastHeldOut);
}

// Few steps learn little of few samples, and noisy ones learn nothing of many: half of the root lies between.
std::string choose_batch(Situation& s) {
  constexpr double kTargets = 512;
  const double by_targets = kTargets / std::max(1.0, s.targets_of_sample());
  const double by_samples = std::sqrt(double(s.n_trained())) / 2;
  const int64_t n = std::max<int64_t>(1, std::llround(std::min(by_targets, by_samples)));
  int64_t n_batch = s.is_given("--batch") ? s.o.n_batch : n;
  while (!s.is_given("--batch") && n_batch > 1 && !fits(s, s.o.n_ctx, n_batch)) n_batch = (n_batch + 1) / 2;
  if (!s.is_given("--grad-acc")) s.o.grad_acc = s.is_given("--batch") ? 1 : (n + n_batch - 1) / n_batch;
  // As many samples, in batches that the processes of a run can share; a pipeline wants several for each of
  // its stages, which wait while the first ones and the last ones go through.
  constexpr int64_t kForEachStage = 4;
  const int64_t size = s.o.cluster.size() * (s.o.pipeline > 1 ? kForEachStage : 1);
  if (size > 1 && !s.is_given("--grad-acc")) {
    if (!s.is_given("--batch")) n_batch = std::min(n_batch, (n + size - 1) / size);
    const int64_t all = s.is_given("--batch") ? n_batch : n;
    s.o.grad_acc = (all + n_batch * size - 1) / (n_batch * size) * size;
  }
  s.o.n_batch = n_batch;
  std::string why = by_targets < by_samples
                        ? fmt::format("about {:.0f} tokens that are learned from in each step", kTargets)
                        : fmt::format("small steps where there is little: half of the square root of {}",
                                      count_of(s.n_trained(), "sample"));
  if (s.o.pipeline > 1) {
    why += fmt::format("; several go through the {} stages at once", s.o.pipeline);
  } else if (!s.o.cluster.is_alone()) {
    why += fmt::format("; {} processes share them", s.o.cluster.size());
  } else if (s.o.grad_acc > 1)
    why += fmt::format("; {} at a time fit the memory", n_batch);
  return why;
}

std::string choose_rank(Situation& s) {
  const int64_t rank = s.wishes.quality == Quality::quick ? 8 : s.wishes.quality == Quality::good ? 32 : 64;
  if (!s.is_given("--lora-r")) s.o.lora_r = rank;
  if (!s.is_given("--lora-alpha")) s.o.lora_alpha = 32;
  const char* size = s.wishes.quality == Quality::quick  ? "a small adapter (--quality quick)"
                     : s.wishes.quality == Quality::good ? "as good as any in our measurements"
                                                         : "twice the usual (--quality best)";
  return fmt::format("{}; the rate's rule goes with alpha 32, whatever the rank", size);
}

// Thinking Machines, "LoRA Without Regret" (2025): ten times the rate of full training, by the model's width.
std::string choose_rate(Situation& s) {
  constexpr double kRate = 5e-4, kWidth = 2000, kPower = 0.781;
  const double rate = kRate * elementary::pow(kWidth / double(std::max<int64_t>(1, s.facts.n_embd)), kPower);
  const double digits = elementary::pow(10, std::floor(elementary::log10(rate)) - 1);
  s.o.adam_alpha = std::round(rate / digits) * digits;
  return fmt::format(
      "5e-4 x (2000 / {})^0.781, by the model's width: the rule of \"LoRA Without Regret\", Thinking "
      "Machines 2025",
      s.facts.n_embd);
}

std::string choose_epochs(Situation& s) {
  if (s.is_given("--adam-iter") || s.is_given("--lbfgs-iter")) return "";
  const double targets = s.targets_of_sample() * double(s.n_trained());
  // Where every token is learned from, or one voice speaks, all is soon known by heart.
  double epochs = targets < 20e3    ? 10
                  : targets < 50e3  ? 8
                  : targets < 250e3 ? 5
                  : targets < 1e6   ? 3
                  : targets < 10e6  ? 2
                                    : 1;
  if (s.facts.is_prose) epochs = std::min(epochs, 4.0);
  if (s.facts.divides_long_samples) epochs = std::min(epochs, 6.0);
  std::string why =
      fmt::format("passes over {:.0f} tokens that are learned from; the more there are, the fewer{}", targets,
                  s.facts.is_prose ? ", and fewer of prose" : "");
  if (s.wishes.quality == Quality::quick) {
    epochs = std::max(1.0, epochs / 2);
    why += "; half of them (--quality quick)";
  } else if (s.wishes.quality == Quality::best) {
    epochs *= 2;
    why += "; twice as many (--quality best)";
  }
  s.o.epochs = epochs;
  if (!s.wishes.hours) return why;
  const RunTime time = run_time(s.o, s.facts, s.facts.measure(s.o));
  constexpr double kTraining = 0.87;  // of the time; the rest is for evaluations, which are chosen below
  const double most = *s.wishes.hours * 3600 * kTraining;
  if (time.seconds <= most) return why + fmt::format("; it takes less than {:g} hours", *s.wishes.hours);
  s.o.epochs = std::max(0.01, std::floor(100 * epochs * most / time.seconds) / 100);
  return fmt::format("what {:g} hours allow; {:g} would fit the data", *s.wishes.hours, epochs);
}

std::string choose_schedule(Situation& s) {
  if (!s.is_given("--warmup")) s.o.warmup = RunShare::automatic();
  if (!s.is_given("--cos-decay-steps")) s.o.cos_decay_steps = RunShare::automatic();
  return "a twentieth of the run to warm up, and a decay that ends with it";
}

std::string choose_evaluations(Situation& s) {
  constexpr int64_t kOfEpoch = 10, kOfRun = 12, kLeast = 4;
  constexpr double kShare = 0.1;
  const int64_t n_iter = s.n_iter();
  // A forward pass is a third of a step.
  const double steps = double(s.n_evaluated()) / 3 / double(s.rows_of_step());
  const int64_t by_epoch = s.n_trained() / (s.rows_of_step() * kOfEpoch),
                by_time = std::llround(steps / kShare);
  // A small set is soon trained on, and its best point soon past. Held-out files may be far larger than it:
  // of these a fourth of the run is the seldomest that can end it in time.
  const int64_t n_least = s.o.val_data.empty() ? kOfRun : kLeast;
  s.o.eval_every =
      std::clamp<int64_t>(std::max(by_epoch, by_time), 1, std::max<int64_t>(1, n_iter / n_least));
  return "ten in a pass, or fewer where they would take more than a tenth of the time, and twelve in the run";
}

std::string choose_patience(Situation& s) {
  constexpr int64_t kLeast = 4, kPasses = 3;
  if (s.o.eval_every <= 0) return "";  // there is one evaluation, at the end
  const int64_t every = s.o.eval_every;
  const int64_t of_run = s.n_iter() / every / 4,
                of_passes = kPasses * s.n_trained() / (s.rows_of_step() * every);
  s.o.patience = std::max(kLeast, std::min(of_run, of_passes));
  return s.o.patience == kLeast ? fmt::format("{} evaluations without a better held-out loss end it", kLeast)
         : of_passes < of_run   ? fmt::format("{} passes without a better held-out loss end it", kPasses)
                                : std::string("a quarter of the run without a better held-out loss ends it");
}

std::string choose_sample_prompt(Situation& s) {
  if (s.o.pipeline > 1) return "";  // no process has the whole model
  s.o.sample_prompt = "";
  return "continued at every evaluation, so that you can read what it learns";
}

std::string choose_seed(Situation& s) {
  s.o.seed = kSeed;
  return "the same command gives the same adapter";
}

std::string choose_files(Situation& s) {
  const std::string& name = s.wishes.name;
  if (!s.is_given("--save-best")) s.o.save_best = has_held_out(s.o);
  if (!s.is_given("--lora-out")) s.o.lora_out = name + (s.o.save_best ? "-last.gguf" : ".gguf");
  if (!s.is_given("--best-out") && s.o.save_best) s.o.best_out = name + ".gguf";
  const std::string checkpoint = name + "-checkpoint.gguf";
  if (!s.is_given("--checkpoint-out")) s.o.checkpoint_out = checkpoint;
  // Never '', which would write over what is there.
  if (!s.is_given("--checkpoint-in"))
    s.o.checkpoint_in = s.o.checkpoint_out.empty() ? checkpoint : s.o.checkpoint_out;
  if (!s.is_given("--metrics")) s.o.metrics = name + ".jsonl";
  return s.o.save_best ? "the best adapter has the name; beside it the last one, what the run goes on from, "
                         "and its metrics"
                       : "the adapter, what the run goes on from, and its metrics";
}

std::string choose_saves(Situation& s) {
  constexpr double kSeconds = 300;
  s.o.save_every =
      std::max<int64_t>(1, std::llround(kSeconds / std::max(1e-6, s.facts.measure(s.o).iteration_s)));
  return fmt::format("about every five minutes{}",
                     s.o.save_every >= s.n_iter()
                         ? ", which is longer than the run: at its end and when it is stopped"
                         : "");
}

// The outputs, in a few words.
std::string files_of(const FinetuneOptions& o) {
  std::string text;
  for (const std::string& file :
       {o.save_best ? o.best_out : std::string(), o.lora_out, o.checkpoint_out, o.metrics}) {
    if (!file.empty()) text += (text.empty() ? "" : ", ") + split_path(file).second;
  }
  return text;
}

struct Rule {
  const char* flags;  // all that it may set
  std::string (*choose)(Situation&);
  bool needs_held_out = false, needs_adam = false;
};

// In the order in which one follows from those before.
constexpr Rule kRules[] = {
    {"--seed", choose_seed},
    {"--lora-r --lora-alpha", choose_rank},
    {"--ctx", choose_context},
    {"--val-split", choose_held_out},
    {"--batch --grad-acc", choose_batch},
    {"--adam-alpha", choose_rate, false, true},
    {"--epochs", choose_epochs},
    {"--warmup --cos-decay-steps", choose_schedule, false, true},
    {"--eval-every", choose_evaluations, true},
    {"--patience", choose_patience, true},
    {"--sample-prompt", choose_sample_prompt, true},
    {"--save-best --best-out --lora-out --checkpoint-out --checkpoint-in --metrics", choose_files},
    {"--save-every", choose_saves},
};

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> result;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    result.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return result;
}

}  // namespace

bool Choice::sets(std::string_view flag) const {
  return std::ranges::count(words_of(flags), flag) > 0;
}

std::vector<Choice> choose(FinetuneOptions& options, const Facts& facts, const Wishes& wishes,
                           const std::function<bool(std::string_view flag)>& is_given) {
  Situation s{options, facts, wishes, is_given};
  std::vector<Choice> choices;
  for (const Rule& rule : kRules) {
    std::vector<std::string> flags = words_of(rule.flags);
    std::erase_if(flags, [&](const std::string& flag) { return is_given(flag); });
    if (flags.empty() || (rule.needs_held_out && !has_held_out(options))) continue;
    if (rule.needs_adam && options.optimizer != Optimizer::adam) continue;
    if (rule.choose == choose_held_out && !options.val_data.empty()) continue;
    std::string why = rule.choose(s);
    if (why.empty()) continue;
    choices.push_back({fmt::format("{}", fmt::join(flags, " ")), std::move(why)});
    if (rule.choose == choose_files) choices.back().what = files_of(options);
    if (rule.choose == choose_sample_prompt) choices.back().what = "the beginning of a held-out sample";
  }
  return choices;
}

std::vector<std::string> chosen_flags() {
  std::vector<std::string> flags;
  for (const Rule& rule : kRules) std::ranges::move(words_of(rule.flags), std::back_inserter(flags));
  return flags;
}

RunTime run_time(const FinetuneOptions& o, const Facts& facts, const Estimate& measured) {
  RunTime time;
  time.n_iter = iteration_count(o, std::max<int64_t>(1, n_samples_of(o, facts) - n_held_out_of(o, facts)));
  // The one before training, and the last.
  if (has_held_out(o)) time.n_evaluations = 2 + (o.eval_every > 0 ? (time.n_iter - 1) / o.eval_every : 0);
  time.seconds =
      double(time.n_iter) * measured.iteration_s + double(time.n_evaluations) * measured.evaluation_s;
  return time;
}

}  // namespace lora
