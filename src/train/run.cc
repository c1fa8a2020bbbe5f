#include "train/run.h"

#include <algorithm>
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

// About what a fresh adapter will take: values, gradients and the optimizer's two moments.
uint64_t fresh_bytes(const Model& model, std::span<const int64_t> ranks) {
  uint64_t n_values = 0;
  for (const GgufTensor& tensor : model.gguf.tensors()) {
    for (size_t i = 0; i < ranks.size(); ++i) {
      if (is_of(targets()[i], tensor.name))
        n_values += uint64_t(ranks[i]) * uint64_t(tensor.ne[0] + tensor.ne[1]);
    }
  }
  return 4 * sizeof(float) * n_values;
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

LoraParameters initial_parameters(const FinetuneOptions& options, const Model& model, uint64_t seed) {
  if (options.lora_init.empty()) {
    const std::vector<int64_t> ranks = ranks_by_target(options);
    step_budget(options, model.gguf.file_bytes(), fresh_bytes(model, ranks));
    return make_parameters(model, ranks, float(options.lora_alpha.value_or(kDefaultLoraAlpha)), seed);
  }
  const Adapter adapter = read_adapter(options.lora_init, model.gguf);
  if (options.lora_alpha && float(*options.lora_alpha) != adapter.alpha) {
    fail("--lora-alpha: {} was asked for, {} has {}", *options.lora_alpha, options.lora_init, adapter.alpha);
  }
  const auto given = given_ranks(options.ranks);
  for (const LoraPair& pair : adapter.pairs) {
    for (size_t i = 0; i < targets().size(); ++i) {
      const Target& target = targets()[i];
      // Ranks of the embedding and the head are 0 unless given: lora_r does not speak of them.
      if (!target.per_layer || !is_of(target, pair.base)) continue;
      expect_rank(options, given[i] ? fmt::format("rank-{}", target.flag) : "lora-r",
                  given[i] ? given[i] : options.lora_r, pair.rank);
    }
  }
  return make_parameters(adapter);
}

int64_t iteration_count(const FinetuneOptions& options, int64_t n_samples) {
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
      {"--fill-with-next-samples", flag(options.fill_with_next_samples)},
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

uint64_t step_budget(const FinetuneOptions& options, uint64_t model_bytes, uint64_t other_bytes) {
  uint64_t budget = options.memory;
  if (budget == 0) {
    const uint64_t available = available_memory();
    budget = available > model_bytes ? (available - model_bytes) / 10 * 9 : 0;
  }
  if (budget <= other_bytes) {
    fail("memory: {:.1f} MiB are there, the adapter, its optimizer and the samples alone take {:.1f} MiB",
         double(budget) / (1 << 20), double(other_bytes) / (1 << 20));
  }
  return budget - other_bytes;
}

}  // namespace lora
