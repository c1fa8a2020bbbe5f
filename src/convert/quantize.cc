#include "convert/quantize.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "base/same_file.h"
#include "convert/imatrix_fit.h"
#include "convert/kept.h"
#include "convert/rewrite.h"
#include "gguf/part_name.h"

namespace lora {
namespace {

GgufWriter header(const Gguf& model, const QuantizeOptions& options, const Imatrix* imatrix) {
  GgufWriter writer = copied_keys(model);
  writer.set_u32("general.file_type", uint32_t(file_type(*options.mix)));
  writer.set_u32("general.quantization_version", 2);
  if (imatrix) {
    writer.set_string("quantize.imatrix.file", options.imatrix);
    if (!imatrix->datasets.empty()) writer.set_string("quantize.imatrix.dataset", imatrix->datasets.front());
    writer.set_u32("quantize.imatrix.entries_count", uint32_t(imatrix->entries.size()));
    if (imatrix->n_chunks > 0) writer.set_u32("quantize.imatrix.chunks_count", uint32_t(imatrix->n_chunks));
  }
  return writer;
}

// Whether a tensor's new values are computed from values that lost something already.
void check_source(const GgufTensor& tensor, Type to, const QuantizeOptions& options) {
  if (tensor.type == to || traits(tensor.type).block_size == 1 || options.allow_requantize) return;
  fail(
      "{}: tensor '{}' is {} already; start from the F32, F16 or BF16 model, or accept the loss with "
      "--allow-requantize",
      options.in, printable(tensor.name), traits(tensor.type).name);
}

}  // namespace

QuantizeResult quantize(const QuantizeOptions& options, const QuantizeEvents& events) {
  const Gguf model = Gguf::open(options.in);
  expect_model(model);
  std::vector<std::string> inputs = files_of(model);
  inputs.push_back(options.imatrix);
  Hold hold;
  if (options.dry_run) {
    expect_new(options.out, inputs);
  } else {
    hold = hold_new(options.out, inputs, events.say);
  }
  std::optional<Imatrix> imatrix;
  if (!options.imatrix.empty()) imatrix = read_imatrix(options.imatrix);
  const MixOptions mix_options = {options.pure,
                                  options.leave_output_tensor,
                                  options.output_tensor_type,
                                  options.token_embedding_type,
                                  options.tensor_types,
                                  imatrix.has_value()};
  const std::vector<TensorChoice> choices = choose_types(model, *options.mix, mix_options);
  const auto say = [&](std::string_view line) {
    if (events.say) events.say(line);
  };
  for (const std::string& line : options_without_effect(model, *options.mix, mix_options)) say(line);
  std::vector<const ImatrixEntry*> importance(choices.size());
  if (imatrix) importance = fit_imatrix(*imatrix, options.imatrix, model, choices, say);

  const bool is_weighted = std::ranges::any_of(importance, [](auto* entry) { return entry != nullptr; });
  GgufWriter writer = header(model, options, is_weighted ? &*imatrix : nullptr);
  QuantizeResult result;
  for (size_t i = 0; i < choices.size(); ++i) {
    const GgufTensor& tensor = model.tensors()[i];
    check_source(tensor, choices[i].type, options);
    writer.declare_tensor(tensor.name, choices[i].type, {tensor.ne, tensor.ne + tensor.n_dims});
    result.bytes_before += tensor.data.size();
    result.n_weights += tensor.n_elements();
  }

  TensorRewriter rewriter(options.in, options.threads);
  std::optional<GgufOutput> out;
  if (!options.dry_run) out.emplace(writer, options.out);
  uint64_t done = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    const GgufTensor& tensor = model.tensors()[i];
    const auto [to, wanted] = choices[i];
    QuantizedTensor record{tensor.name,
                           tensor.shape(),
                           tensor.type,
                           to,
                           wanted,
                           tensor.data.size(),
                           bytes_of(tensor, to),
                           why_kept(tensor),
                           importance[i] != nullptr};
    if (out && to == tensor.type) {
      rewriter.copy(tensor, *out, i);
    } else if (out) {
      const RewriteSums sums =
          rewriter.rewrite(tensor, {to, importance[i], {}, options.measure_errors}, *out, i);
      if (options.measure_errors) record.relative_error = sums.relative_error();
    }
    done += record.bytes_before;
    result.bytes_after += record.bytes_after;
    if (events.on_tensor) events.on_tensor(record, done, result.bytes_before);
    if (events.should_stop && events.should_stop()) {
      result.stopped = true;
      return result;
    }
  }
  if (out) out->commit();
  return result;
}

}  // namespace lora
