#include "generate/session.h"

#include "adapter/parameters.h"
#include "base/error.h"
#include "base/machine.h"

namespace lora {
namespace {

// The setting of the adapters that have one; Error if they disagree.
std::optional<double> common(const std::list<Adapter>& adapters, std::span<const LoraFile> files,
                             std::optional<float> Adapter::*setting, std::string_view flag) {
  std::optional<double> found;
  size_t i = 0;
  for (const Adapter& adapter : adapters) {
    const std::string& path = files[i++].path;
    const auto& value = adapter.*setting;
    if (!value) continue;
    if (found && *found != double(*value)) {
      fail("{}: trained with --{} {}, another adapter with {}; say which with --{}", path, flag, *value,
           *found, flag);
    }
    found = *value;
  }
  return found;
}

}  // namespace

RopeValues rope_values(const std::list<Adapter>& adapters, std::span<const LoraFile> files,
                       const RopeValues& asked) {
  RopeValues values = asked;
  if (!asked.freq_base)
    values.freq_base = common(adapters, files, &Adapter::rope_freq_base, "rope-freq-base");
  if (!asked.freq_scale)
    values.freq_scale = common(adapters, files, &Adapter::rope_freq_scale, "rope-freq-scale");
  return values;
}

Session::Session(const ModelOptions& options)
    : pool(options.threads > 0 ? options.threads : physical_cores()),
      precision(options.precision),
      input(gemm_input(precision)),
      model(load_model(options.model, {options.rope_freq_base, options.rope_freq_scale, {}})),
      tokenizer(model.gguf) {
  for (const LoraFile& file : options.loras) adapters_.push_back(read_adapter(file.path, model.gguf));
  const auto [base, scale] =
      rope_values(adapters_, options.loras, {options.rope_freq_base, options.rope_freq_scale});
  if (base) model.config.rope.freq_base = *base;
  if (scale) model.config.rope.freq_scale = *scale;
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

void expect_memory(std::string_view what, uint64_t bytes) {
  const uint64_t available = available_memory();
  if (bytes <= available) return;
  fail("memory: {} need {:.1f} MiB, {:.1f} MiB are available (a smaller --ctx-size needs less)", what,
       double(bytes) / (1 << 20), double(available) / (1 << 20));
}

}  // namespace lora
