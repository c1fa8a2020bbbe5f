#include "convert/quantize.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "base/same_file.h"
#include "convert/imatrix.h"
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

// The importance of a tensor's columns; nullptr without any.
const ImatrixEntry* importance_of(const GgufTensor& tensor, Type to, const std::optional<Imatrix>& imatrix,
                                  const std::string& path) {
  if (!imatrix || traits(to).block_size == 1) return nullptr;
  const auto found = imatrix->entries.find(tensor.name);
  if (found == imatrix->entries.end()) return nullptr;
  const ImatrixEntry& entry = found->second;
  const int64_t n = int64_t(entry.sums.size());
  if (n != tensor.ne[0] && n != tensor.ne[0] * tensor.ne[2]) {
    fail("{}: entry '{}' has {} columns, the model's tensor {}: made with another model", path,
         printable(tensor.name), n, tensor.ne[0]);
  }
  return &entry;
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
  const std::vector<TensorChoice> choices =
      choose_types(model, *options.mix,
                   {options.pure, options.leave_output_tensor, options.output_tensor_type,
                    options.token_embedding_type, imatrix.has_value()});

  GgufWriter writer = header(model, options, imatrix ? &*imatrix : nullptr);
  std::vector<const ImatrixEntry*> importance;
  QuantizeResult result;
  for (size_t i = 0; i < choices.size(); ++i) {
    const GgufTensor& tensor = model.tensors()[i];
    check_source(tensor, choices[i].type, options);
    importance.push_back(tensor.type == choices[i].type
                             ? nullptr
                             : importance_of(tensor, choices[i].type, imatrix, options.imatrix));
    writer.declare_tensor(tensor.name, choices[i].type, {tensor.ne, tensor.ne + tensor.n_dims});
    result.bytes_before += tensor.data.size();
    result.n_weights += tensor.n_elements();
  }
  if (imatrix && std::all_of(importance.begin(), importance.end(), [](auto* entry) { return !entry; }) &&
      traits(base_type(*options.mix)).block_size > 1) {
    fail("{}: has no entry for any tensor that is quantized: made with another model", options.imatrix);
  }

  TensorRewriter rewriter(options.in, options.threads);
  std::optional<GgufOutput> out;
  if (!options.dry_run) out.emplace(writer, options.out);
  uint64_t done = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    const GgufTensor& tensor = model.tensors()[i];
    const auto [to, wanted] = choices[i];
    QuantizedTensor record{tensor.name, tensor.shape(),     tensor.type,          to,
                           wanted,      tensor.data.size(), bytes_of(tensor, to), importance[i] != nullptr};
    if (out && to == tensor.type) {
      rewriter.copy(tensor, *out, i);
    } else if (out) {
      const RewriteSums sums =
          rewriter.rewrite(tensor, {to, importance[i], {}, options.measure_errors}, *out, i);
      if (options.measure_errors) record.relative_error = sums.relative_error();
    }
    done += record.bytes_before;
    result.bytes_after += record.bytes_after;
    result.n_fallbacks += to != wanted;
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
