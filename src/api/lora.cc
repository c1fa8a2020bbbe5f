#include "api/lora.h"

#include <cmath>
#include <list>
#include <numeric>
#include <optional>

#include "adapter/parameters.h"
#include "base/error.h"
#include "base/machine.h"
#include "generate/continuation.h"
#include "kernels/optimizer/adamw.h"
#include "model/step.h"
#include "tokenizer/tokenizer.h"

namespace lora {

struct LanguageModel::Impl {
  ThreadPool pool;
  GemmInput input;
  Model model;
  Tokenizer tokenizer;
  std::list<Adapter> adapters;               // the model points into them
  std::optional<LoraParameters> parameters;  // and into these
  int64_t updates = 0;

  Impl(const std::string& path, const LanguageModelOptions& options)
      : pool(options.threads > 0 ? options.threads : physical_cores()),
        input(options.bf16 ? GemmInput::bf16 : GemmInput::f32),
        model(load_model(path)),
        tokenizer(model.gguf) {}

  LoraParameters& trained() {
    if (!parameters) fail("{}: no adapter to train (add_lora)", model.gguf.path());
    return *parameters;
  }

  double run(const std::vector<std::vector<int32_t>>& samples, bool gradients) {
    std::vector<int32_t> ids, targets, positions;
    std::vector<AttentionSegment> segments;
    int64_t n_targets = 0, longest = 1;
    for (const auto& sample : samples) {
      const int64_t begin = int64_t(ids.size()), n = int64_t(sample.size());
      for (int64_t t = 0; t < n; ++t) {
        ids.push_back(sample[size_t(t)]);
        targets.push_back(t + 1 < n ? sample[size_t(t) + 1] : -1);
        positions.push_back(int32_t(t));
        n_targets += t + 1 < n;
      }
      if (n > 0) segments.push_back({begin, n, begin, n});
      longest = std::max(longest, n);
    }
    if (n_targets == 0) fail("samples: no token to predict");
    const int64_t n = int64_t(ids.size());
    // Every plan gives the same bits; where the system does not tell what is free, the smallest is taken.
    const StepPlan plan =
        gradients ? plan_step_within(available_memory(model.gguf.file_bytes()).value_or(0) / 10 * 9, model, n,
                                     longest, 0, input, pool.size())
                  : plan_step(model, n, longest, 0, false, input, pool.size());
    expect_memory(fmt::format("samples of {} tokens", n), uint64_t(plan.total_bytes()),
                  "fewer at once need less");
    Step step(model, plan, input, pool);
    std::vector<double> losses(ids.size());
    const StepTokens tokens{ids, targets, positions, segments};
    if (gradients) {
      step.losses_and_gradients(losses.data(), tokens, 1.0f / float(n_targets));
    } else {
      step.losses(losses.data(), tokens);
    }
    return std::accumulate(losses.begin(), losses.end(), 0.0) / double(n_targets);
  }
};

LanguageModel::LanguageModel(const std::string& path, const LanguageModelOptions& options)
    : impl_(std::make_unique<Impl>(path, options)) {}
LanguageModel::~LanguageModel() = default;
LanguageModel::LanguageModel(LanguageModel&&) noexcept = default;
LanguageModel& LanguageModel::operator=(LanguageModel&&) noexcept = default;

void LanguageModel::attach_adapter(const std::string& path, double scale) {
  impl_->adapters.push_back(read_adapter(path, impl_->model.gguf, {impl_->pool.size(), {}}));
  attach(impl_->model, impl_->adapters.back(), float(scale));
}

void LanguageModel::add_lora(const LoraOptions& options) {
  if (impl_->parameters) fail("add_lora: the model has an adapter to train already");
  if (options.rank < 1) fail("add_lora: rank {} is not positive", options.rank);
  impl_->parameters =
      make_parameters(impl_->model, ranks_of(impl_->model, {}, options.rank), options.alpha, options.seed);
  attach(impl_->model, *impl_->parameters);
}

std::vector<int32_t> LanguageModel::tokenize(std::string_view text) const {
  return impl_->tokenizer.encode_with_bos(text);
}

std::string LanguageModel::detokenize(const std::vector<int32_t>& tokens) const {
  for (int32_t token : tokens) {
    if (token < 0 || token >= impl_->tokenizer.n_vocab()) fail("detokenize: no token {}", token);
  }
  return impl_->tokenizer.decode(tokens);
}

double LanguageModel::loss(const std::vector<std::vector<int32_t>>& samples) {
  return impl_->run(samples, false);
}

double LanguageModel::loss_and_gradients(const std::vector<std::vector<int32_t>>& samples) {
  impl_->trained();
  return impl_->run(samples, true);
}

void LanguageModel::zero_gradients() {
  auto gradients = impl_->trained().gradients.span();
  std::fill(gradients.begin(), gradients.end(), 0.0f);
}

std::vector<TrainedTensor> LanguageModel::trained_tensors() {
  LoraParameters& p = impl_->trained();
  std::vector<TrainedTensor> result;
  for (const auto& pair : p.pairs) {
    const auto add = [&](const char* suffix, int64_t rows, int64_t cols, int64_t at) {
      const size_t begin = size_t(at), n = size_t(rows * cols);
      result.push_back({pair.base + suffix, rows, cols, p.values.span().subspan(begin, n),
                        p.gradients.span().subspan(begin, n)});
    };
    add(".lora_a", pair.n_slices * pair.rank, pair.n_in, pair.a);
    add(".lora_b", pair.n_slices * pair.n_out, pair.rank, pair.b);
  }
  return result;
}

double LanguageModel::adamw_step(const AdamWOptions& options) {
  LoraParameters& p = impl_->trained();
  const double norm = std::sqrt(sum_of_squares(p.gradients.data(), p.gradients.size(), impl_->pool));
  AdamWStep step{options.lr, options.beta1, options.beta2, options.eps, options.decay, 1, ++impl_->updates};
  if (options.max_grad_norm > 0 && norm > options.max_grad_norm) {
    step.gradient_scale = float(options.max_grad_norm / norm);
  }
  adamw_update(p.values.data(), p.m.data(), p.v.data(), p.gradients.data(), p.values.size(), step,
               impl_->pool);
  return norm;
}

void LanguageModel::save_adapter(const std::string& path) const {
  write_adapter_gguf(to_adapter(impl_->trained(), impl_->model), path);
}

std::string LanguageModel::generate(std::string_view prompt, const ContinuationOptions& options) {
  const std::vector<Token> tokens = impl_->tokenizer.encode_with_bos(prompt);
  const int64_t n_predict = std::max<int64_t>(options.n_predict, 0);
  const Precision precision = impl_->input == GemmInput::bf16 ? Precision::bf16 : Precision::f32;
  const int64_t n_ctx = int64_t(tokens.size()) + std::max<int64_t>(n_predict, 1);
  const DecoderOptions decoding{.n_ctx = n_ctx, .precision = precision};
  expect_memory(fmt::format("the keys and values of {} tokens", n_ctx),
                Decoder::memory_bytes(impl_->model, decoding, impl_->pool.size()), "fewer tokens need less");
  Decoder decoder(impl_->model, decoding, impl_->pool);
  Sampler sampler{{.temp = options.temp}, options.seed};
  std::string result;
  continue_text({impl_->model, impl_->tokenizer, decoder, sampler}, tokens, {.n_predict = n_predict},
                {.on_text = [&](const std::string& piece) { result += piece; }, .should_stop = {}});
  return result;
}

}  // namespace lora
