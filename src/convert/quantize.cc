#include "convert/quantize.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "convert/imatrix.h"
#include "gguf/printable.h"
#include "kernels/decode/decode.h"
#include "kernels/encode/encode.h"

namespace lora {
namespace {

// Values that a thread takes at once: they and their encoding fit its cache.
constexpr int64_t kPieceValues = 1 << 16;

struct Buffers {
  std::vector<float> values, decoded;
  std::vector<std::byte> blocks;
};

struct Squares {
  double error = 0, value = 0;
};

bool all_finite(std::span<const float> values) {
  uint32_t not_finite = 0;
  for (const float v : values)
    not_finite |= uint32_t((std::bit_cast<uint32_t>(v) & 0x7f800000) == 0x7f800000);
  return !not_finite;
}

// One tensor's way from the old type to the new.
class TensorJob {
 public:
  TensorJob(const GgufTensor& tensor, Type to, const ImatrixEntry* importance, bool measure)
      : tensor_(tensor),
        matrix_(tensor.matrix()),
        to_(traits(to)),
        decoder_(matrix_),
        encoder_(find_encoder(to)),
        measure_(measure),
        rows_at_once_(std::max<int64_t>(1, kPieceValues / matrix_.n_cols)) {
    if (importance) weights_ = column_weights(*importance);
    if (measure) squares_.resize(size_t(n_pieces()));
  }

  int64_t n_pieces() const { return (matrix_.n_rows + rows_at_once_ - 1) / rows_at_once_; }

  // Rows of the piece, encoded; valid until the buffers are used again.
  std::span<const std::byte> encode(int64_t piece, Buffers& buffers) {
    const int64_t begin = piece * rows_at_once_, n_rows = std::min(rows_at_once_, matrix_.n_rows - begin);
    const int64_t n_cols = matrix_.n_cols, n = n_rows * n_cols;
    buffers.values.resize(size_t(n));
    for (int64_t r = 0; r < n_rows; ++r) decoder_(buffers.values.data() + r * n_cols, begin + r, 0, n_cols);
    const std::span<const float> values(buffers.values.data(), size_t(n));
    if (!all_finite(values)) {
      fail("tensor '{}': rows {} to {} hold a value that is not finite: the model is damaged",
           printable(tensor_.name), begin, begin + n_rows - 1);
    }
    buffers.blocks.resize(size_t(n_rows * row_bytes()));
    if (weights_.empty()) {
      encoder_(buffers.blocks.data(), values.data(), n, nullptr);
    } else {
      const int64_t rows_per_expert = tensor_.ne[1], n_weights = int64_t(weights_.size());
      for (int64_t r = 0; r < n_rows; ++r) {
        encoder_(buffers.blocks.data() + r * row_bytes(), values.data() + r * n_cols, n_cols,
                 weights_.data() + (begin + r) / rows_per_expert * n_cols % n_weights);
      }
    }
    if (measure_) measure(piece, values, buffers);
    return {buffers.blocks.data(), buffers.blocks.size()};
  }

  uint64_t offset(int64_t piece) const { return uint64_t(piece * rows_at_once_ * row_bytes()); }

  std::optional<double> relative_error() const {
    if (!measure_) return std::nullopt;
    Squares sum;
    for (const Squares& s : squares_) sum = {sum.error + s.error, sum.value + s.value};
    return sum.value > 0 ? std::sqrt(sum.error / sum.value) : 0.0;
  }

 private:
  int64_t row_bytes() const { return matrix_.n_cols / to_.block_size * to_.block_bytes; }

  void measure(int64_t piece, std::span<const float> values, Buffers& buffers) {
    buffers.decoded.resize(values.size());
    const RowDecoder decode({to_.type, buffers.blocks.data(), 1, int64_t(values.size())});
    decode(buffers.decoded.data(), 0, 0, int64_t(values.size()));
    Squares& sum = squares_[size_t(piece)];
    for (size_t i = 0; i < values.size(); ++i) {
      const double error = double(buffers.decoded[i]) - double(values[i]);
      sum.error += error * error;
      sum.value += double(values[i]) * double(values[i]);
    }
  }

  const GgufTensor& tensor_;
  MatrixView matrix_;
  const TypeTraits& to_;
  RowDecoder decoder_;
  Encoder encoder_;
  bool measure_;
  int64_t rows_at_once_;
  std::vector<float> weights_;    // (n_experts or 1, n_cols), or none
  std::vector<Squares> squares_;  // of each piece
};

void copy_tensor(const GgufTensor& tensor, size_t index, GgufOutput& out, ThreadPool& pool) {
  constexpr int64_t piece = int64_t{1} << 20;
  const auto n = int64_t(tensor.data.size());
  pool.run((n + piece - 1) / piece, [&](int64_t i, int) {
    out.write(index, uint64_t(i * piece),
              tensor.data.subspan(size_t(i * piece), size_t(std::min(piece, n - i * piece))));
  });
}

uint64_t bytes_of(const GgufTensor& tensor, Type type) {
  const TypeTraits& t = traits(type);
  return uint64_t(tensor.n_elements() / t.block_size * t.block_bytes);
}

GgufWriter header(const Gguf& model, const QuantizeOptions& options, const Imatrix* imatrix) {
  GgufWriter writer;
  for (const auto& [key, value] : model.values()) {
    if (!key.starts_with("split.")) writer.set(key, value);  // the output is one file
  }
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

void check(const Gguf& model, const QuantizeOptions& options) {
  const std::string type = model.get_string("general.type").value_or("model");
  if (type != "model") fail("{}: holds '{}', expected a model", options.in, printable(type));
  if (model.tensors().empty()) fail("{}: a vocabulary without tensors, expected a model", options.in);
  std::error_code ignored;
  if (std::filesystem::equivalent(options.in, options.out, ignored))
    fail("{}: the output would replace the model that is read", options.out);
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
  check(model, options);
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

  ThreadPool pool(options.threads > 0 ? options.threads : physical_cores());
  std::vector<Buffers> buffers(size_t(pool.size()));
  std::optional<GgufOutput> out;
  if (!options.dry_run) out.emplace(writer, options.out);
  uint64_t done = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    const GgufTensor& tensor = model.tensors()[i];
    const auto [to, wanted] = choices[i];
    QuantizedTensor record{tensor.name, tensor.shape(),     tensor.type,          to,
                           wanted,      tensor.data.size(), bytes_of(tensor, to), importance[i] != nullptr};
    if (out && to == tensor.type) {
      copy_tensor(tensor, i, *out, pool);
    } else if (out) {
      TensorJob job(tensor, to, importance[i], options.measure_errors);
      pool.run(job.n_pieces(), [&](int64_t piece, int worker) {
        out->write(i, job.offset(piece), job.encode(piece, buffers[size_t(worker)]));
      });
      record.relative_error = job.relative_error();
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
