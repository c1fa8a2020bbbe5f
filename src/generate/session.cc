#include "generate/session.h"

#include "adapter/parameters.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/machine.h"
#include "base/version.h"
#include "gguf/fingerprint.h"
#include "kernels/isa.h"
#include "model/decoder.h"
#include "model/weight_prefetch.h"

namespace lora {
namespace {

// The value that all were trained with; nullopt if that is the model's own.
std::optional<double> common(std::span<const TrainedRope> trained, std::optional<double> RopeValues::*member,
                             const RopeValues& own, std::string_view flag) {
  const auto value_of = [&](const TrainedRope& t) {
    return float((t.values.*member).value_or(*(own.*member)));
  };
  const auto told = [&](const TrainedRope& t) {
    return fmt::format("{}{}", value_of(t), t.values.*member ? "" : ", the model's own");
  };
  for (const TrainedRope& t : trained) {
    if (value_of(t) == value_of(trained.front())) continue;
    fail("{}: trained with --{} {}; {}: with {}; say which with --{}", t.path, flag, told(t),
         trained.front().path, told(trained.front()), flag);
  }
  if (trained.empty() || value_of(trained.front()) == float(*(own.*member))) return std::nullopt;
  return trained.front().values.*member;
}

}  // namespace

std::vector<TrainedRope> trained_rope(const std::list<Adapter>& adapters, std::span<const LoraFile> files) {
  std::vector<TrainedRope> trained;
  size_t i = 0;
  for (const Adapter& a : adapters)
    trained.push_back({files[i++].path, {a.rope_freq_base, a.rope_freq_scale}});
  return trained;
}

RopeValues rope_values(std::span<const TrainedRope> trained, const RopeValues& asked, const RopeValues& own) {
  RopeValues values = asked;
  if (!asked.freq_base) values.freq_base = common(trained, &RopeValues::freq_base, own, "rope-freq-base");
  if (!asked.freq_scale) values.freq_scale = common(trained, &RopeValues::freq_scale, own, "rope-freq-scale");
  return values;
}

Session::Session(const ModelOptions& options, const std::function<void(std::string_view line)>& say)
    : pool(options.threads > 0 ? options.threads : physical_cores()),
      precision(options.precision),
      cache_type(options.cache_type),
      input(gemm_input(precision)),
      model(load_model(options.model, {options.rope_freq_base, options.rope_freq_scale, {}})),
      tokenizer(model.gguf) {
  for (const std::string& note : model.config.notes) {
    if (say) say("warning: " + note);
  }
  if (say && cache_type != Type::F32 && !attends(model))
    say("warning: --cache-type: has no effect, this model keeps no keys and values");
  for (const LoraFile& file : options.loras) {
    adapters_.push_back(read_adapter(file.path, model.gguf, {pool.size(), say}));
  }
  RopeParameters& rope = model.config.rope;
  const auto [base, scale] =
      rope_values(trained_rope(adapters_, options.loras), {options.rope_freq_base, options.rope_freq_scale},
                  {rope.freq_base, rope.freq_scale});
  if (base) rope.freq_base = *base;
  if (scale) rope.freq_scale = *scale;
  size_t i = 0;
  for (const Adapter& adapter : adapters_) attach(model, adapter, float(options.loras[i++].scale));
}

void warn_about_context(const Session& session, int64_t n_ctx,
                        const std::function<void(std::string_view)>& say) {
  const int64_t trained = session.model.config.n_ctx_train;
  if (say && n_ctx > trained) {
    say(fmt::format("warning: a context of {} is beyond the {} tokens the model was trained with", n_ctx,
                    trained));
  }
}

void set_weight_room(StepPlan& plan, const Session& session) {
  if (const std::optional<uint64_t> available = available_memory()) {
    plan.weight_room =
        weight_room(session.model, plan.part, *available / 10 * 9, uint64_t(plan.total_bytes()));
  }
}

DecoderOptions decoder_options(const Session& session, int64_t n_ctx) {
  return {.n_ctx = n_ctx, .precision = session.precision, .cache_type = session.cache_type};
}

void expect_decoder_memory(const Session& session, int64_t n_ctx) {
  expect_memory(fmt::format("the keys and values of {} tokens", n_ctx),
                Decoder::memory_bytes(session.model, decoder_options(session, n_ctx), session.pool.size()),
                "a smaller --ctx-size needs less");
}

std::string Session::expect_same(const ModelOptions& options, const Cluster& cluster, bool allow_mixed,
                                 Arithmetic arithmetic,
                                 std::vector<std::pair<std::string, std::string>> rows) const {
  if (cluster.is_alone()) return "";
  const auto add = [&](std::string row, std::string value) {
    rows.emplace_back(std::move(row), std::move(value));
  };
  add("version", std::string(program_version()));
  if (!allow_mixed) {
    add("kernel set (--allow-mixed takes both)", instructions_text());
    add("--precision", std::string(name(arithmetic)));
  }
  add("model", fmt::format("{:016x}", fingerprint(model.gguf)));
  add("--rope-freq-base", fmt::format("{}", model.config.rope.freq_base));
  add("--rope-freq-scale", fmt::format("{}", model.config.rope.freq_scale));
  for (size_t i = 0; const Adapter& adapter : adapters_) {
    uint64_t h = 0;
    for (const LoraPair& pair : adapter.pairs) {
      for (const auto* values : {&pair.a, &pair.b})
        h = hash({reinterpret_cast<const char*>(values->data()), size_t(values->size()) * sizeof(float)}, h);
    }
    add(fmt::format("adapter {}", i + 1),
        fmt::format("{:016x}, alpha {}, scale {}", h, adapter.alpha, options.loras[i].scale));
    ++i;
  }
  cluster.expect_same(rows);
  const std::string mixed = allow_mixed ? cluster.who_differs(computed_with(arithmetic)) : "";
  return mixed.empty() ? "" : "note: --allow-mixed: the figures depend on who computes what: " + mixed;
}

}  // namespace lora
