#include "train/run.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/machine.h"

namespace lora {
namespace {

// Where each row of targets() has its rank in the options.
std::array<std::optional<int64_t>, 9> given_ranks(const LoraRanks& r) {
  return {r.wq, r.wk, r.wv, r.wo, r.w1, r.w2, r.w3, r.tok_embd, r.out};
}

bool is_of(const Target& target, std::string_view tensor) {
  return target.per_layer ? tensor.ends_with(fmt::format(".{}.weight", target.tensor))
                          : tensor == target.tensor;
}

void expect_within(uint64_t budget, uint64_t needed) {
  if (needed <= budget) return;
  fail(
      "memory: {:.1f} MiB are there, {:.1f} MiB are needed at the least (--memory {}MiB; a smaller --ctx, "
      "--batch or "
      "--lora-r needs less)",
      double(budget) / (1 << 20), double(needed) / (1 << 20), needed / (1 << 20) + 1);
}

void expect_rank(const FinetuneOptions& options, std::string_view flag, std::optional<int64_t> given,
                 int64_t found) {
  if (given && *given != found) {
    fail("--{}: {} was asked for, {} has rank {}", flag, *given, options.lora_init, found);
  }
}

}  // namespace

std::vector<int64_t> ranks_by_target(const FinetuneOptions& options) {
  const auto given = given_ranks(options.ranks);
  std::vector<int64_t> ranks;
  for (size_t i = 0; i < targets().size(); ++i) {
    const int64_t rank = given[i].value_or(options.lora_r.value_or(kDefaultLoraR));
    if (rank < 0 || rank > kMaxLoraRank) {
      fail("--rank-{}: {} is not from 0 to {}", targets()[i].flag, rank, kMaxLoraRank);
    }
    ranks.push_back(rank);
  }
  return ranks;
}

TextOptions text_options(const FinetuneOptions& o) {
  return {o.escape ? unescape(o.sample_start) : o.sample_start,
          o.include_sample_start,
          o.separate_with_bos,
          o.separate_with_eos,
          o.parse_special,
          o.n_ctx};
}

bool fills_rows(const FinetuneOptions& options) {
  return options.fill_with_next_samples || options.plain_fill;
}

LoraParameters initial_parameters(const FinetuneOptions& options, const Model& model, uint64_t seed,
                                  const std::optional<Adapter>& lora_init) {
  if (!lora_init) {
    const std::vector<int64_t> ranks = ranks_by_target(options);
    expect_within(memory_budget(options, model.gguf.file_bytes()), uint64_t(parameter_bytes(model, ranks)));
    return make_parameters(model, ranks, float(options.lora_alpha.value_or(kDefaultLoraAlpha)), seed);
  }
  const Adapter& adapter = *lora_init;
  if (options.lora_alpha && float(*options.lora_alpha) != adapter.alpha) {
    fail("--lora-alpha: {} was asked for, {} has {}", *options.lora_alpha, options.lora_init, adapter.alpha);
  }
  const auto given = given_ranks(options.ranks);
  for (size_t i = 0; i < targets().size(); ++i) {
    const Target& target = targets()[i];
    bool found = false;
    for (const LoraPair& pair : adapter.pairs) {
      if (!is_of(target, pair.base)) continue;
      found = true;
      // Ranks of the embedding and the head are 0 unless given: lora_r does not speak of them.
      if (!target.per_layer) continue;
      expect_rank(options, given[i] ? fmt::format("rank-{}", target.flag) : "lora-r",
                  given[i] ? given[i] : options.lora_r, pair.rank);
    }
    if (!found) expect_rank(options, fmt::format("rank-{}", target.flag), given[i], 0);
  }
  return make_parameters(adapter);
}

int64_t iteration_count(const FinetuneOptions& options, int64_t n_samples) {
  if (options.adam_min_alpha > options.adam_alpha) {
    fail("--adam-min-alpha: {} is above --adam-alpha {}", options.adam_min_alpha, options.adam_alpha);
  }
  if (!options.epochs) return options.adam_iter;
  const double n =
      std::ceil(*options.epochs * double(n_samples) / double(options.n_batch * options.grad_acc));
  if (n > double(std::numeric_limits<int32_t>::max()))
    fail("--epochs: {} are {} iterations, too many", *options.epochs, n);
  return int64_t(n);
}

Settings run_settings(const FinetuneOptions& options, const Model& model, const LoraParameters& parameters) {
  uint64_t data = kHashStart;
  for (const std::string& path : options.train_data) {
    const MappedFile file(path);
    data = hash(file.text(), data);
  }
  const auto flag = [](bool on) { return std::string(on ? "on" : "off"); };
  Settings settings = {
      {"model", fmt::format("{:016x}", fingerprint(model.gguf))},
      {"data", fmt::format("{:016x}", data)},
      {"--sample-start", options.sample_start},
      {"--escape", flag(options.escape)},
      {"--include-sample-start", flag(options.include_sample_start)},
      {"--fill-with-next-samples", flag(fills_rows(options))},
      {"--plain-fill", flag(options.plain_fill)},
      {"--separate-with-eos", flag(options.separate_with_eos)},
      {"--separate-with-bos", flag(options.separate_with_bos)},
      {"--no-shuffle", flag(!options.shuffle)},
      {"--parse-special", flag(options.parse_special)},
      {"--ctx", std::to_string(options.n_ctx)},
      {"--batch", std::to_string(options.n_batch)},
      {"--grad-acc", std::to_string(options.grad_acc)},
      {"--lora-alpha", fmt::format("{}", parameters.alpha)},
      {"--rope-freq-base", fmt::format("{}", model.config.rope.freq_base)},
      {"--rope-freq-scale", fmt::format("{}", model.config.rope.freq_scale)},
      {"--norm-rms-eps", fmt::format("{}", model.config.rms_norm_eps)},
  };
  // Ranks in words, one setting per kind of tensor, so that a difference names its flag.
  for (const Target& target : targets()) {
    int64_t rank = 0;
    for (const auto& pair : parameters.pairs) {
      if (is_of(target, pair.base)) rank = pair.rank;
    }
    settings.emplace_back(fmt::format("--rank-{}", target.flag), std::to_string(rank));
  }
  return settings;
}

uint64_t memory_budget(const FinetuneOptions& options, uint64_t model_bytes) {
  if (options.memory > 0) return options.memory;
  const uint64_t available = available_memory();
  return available > model_bytes ? (available - model_bytes) / 10 * 9 : 0;
}

StepPlan make_plan(const FinetuneOptions& options, const Model& model, int64_t row, int64_t other_bytes,
                   GemmInput input, int n_threads) {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  if (options.n_batch > most / row) {
    fail("--batch: {} samples of {} tokens are more than {} tokens at once", options.n_batch, row, most);
  }
  const int64_t n_tokens = options.n_batch * row;
  const uint64_t budget = memory_budget(options, model.gguf.file_bytes());
  const uint64_t others = uint64_t(other_bytes);
  StepPlan plan;
  if (options.checkpointing == Checkpointing::automatic) {
    plan = plan_step_within(budget - std::min(budget, others), model, n_tokens, row, input, n_threads);
  } else {
    const int64_t n_kept = options.checkpointing == Checkpointing::on ? 0 : model.config.n_layer;
    plan = plan_step(model, n_tokens, row, n_kept, true, input, n_threads);
  }
  expect_within(budget, uint64_t(plan.total_bytes()) + others);
  return plan;
}

int64_t row_length(const FinetuneOptions& options, const Dataset& data) {
  return fills_rows(options) ? options.n_ctx : std::min(options.n_ctx, data.report().longest + 1);
}

}  // namespace lora
