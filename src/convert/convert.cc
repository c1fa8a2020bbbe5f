#include "convert/convert.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <set>

#include "arch/alike.h"
#include "arch/blocks.h"
#include "arch/config.h"
#include "base/ascii.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "base/path.h"
#include "base/printable.h"
#include "base/same_file.h"
#include "convert/encode.h"
#include "convert/hf_config.h"
#include "convert/hf_trust.h"
#include "convert/hf_vocabulary.h"
#include "convert/hf_weights.h"
#include "convert/metadata.h"
#include "convert/plan.h"
#include "convert/quantized_weights.h"
#include "convert/source.h"
#include "gguf/gguf.h"
#include "gguf/part_name.h"

namespace lora {
namespace {

struct OutType {
  std::string_view name;  // as --outtype has it
  Type type;
  uint32_t file_type;  // general.file_type
};
constexpr OutType kOutTypes[] = {
    {"f32", Type::F32, 0}, {"f16", Type::F16, 1}, {"bf16", Type::BF16, 32}, {"q8_0", Type::Q8_0, 7}};

const OutType& choose_type(const std::string& name, const HfWeights& weights) {
  std::string wanted = name;
  if (name == "auto") {
    const bool is_f16 = std::any_of(
        weights.tensors().begin(), weights.tensors().end(),
        [](const auto& entry) { return entry.second.dtype == "F16" && entry.second.shape.size() == 2; });
    wanted = is_f16 ? "f16" : "bf16";
  }
  for (const OutType& row : kOutTypes) {
    if (row.name == wanted) return row;
  }
  fail("outtype '{}': not known; expected f32, f16, bf16, q8_0 or auto", printable(name));
}

// Which tensors go into which file: as many as fit, one at least.
std::vector<std::vector<size_t>> split(const std::vector<PlannedTensor>& plan, uint64_t max_bytes) {
  std::vector<std::vector<size_t>> parts(1);
  uint64_t bytes = 0;
  for (size_t i = 0; i < plan.size(); ++i) {
    const auto next = uint64_t(plan[i].bytes());
    if (max_bytes > 0 && !parts.back().empty() && bytes + next > max_bytes) {
      parts.emplace_back();
      bytes = 0;
    }
    parts.back().push_back(i);
    bytes += next;
  }
  return parts;
}

std::string path_of_part(std::string path, size_t part, size_t n_parts) {
  if (n_parts == 1) return path;
  if (path.ends_with(".gguf")) path.resize(path.size() - 5);
  return part_path({path, int64_t(part) + 1, int64_t(n_parts)});
}

// One tensor, in pieces of rows.
class TensorWriter {
 public:
  TensorWriter(ThreadPool& pool, const ConvertEvents& events, uint64_t total)
      : pool_(pool), events_(events), total_(total), scratch_(size_t(pool.size())) {}

  // The slice-th of its matrices.
  void write(const PlannedTensor& tensor, int64_t slice, const Source& source, GgufOutput& output,
             size_t index) {
    const int64_t rows = tensor.n_rows, cols = tensor.n_cols;
    const int64_t row_bytes = tensor.bytes() / (rows * tensor.n_slices);
    const int64_t piece = std::max<int64_t>(1, kPieceBytes / (cols * int64_t{sizeof(float)}));
    const bool copies = source.plain_type() == traits(tensor.type).name;
    pool_.run((rows + piece - 1) / piece, [&](int64_t task, int worker) {
      if (events_.should_stop()) return;
      const int64_t begin = task * piece, end = std::min(rows, begin + piece);
      std::span<const std::byte> bytes;
      if (copies && source.rows.empty()) {
        bytes = {source.row_bytes(begin), size_t((end - begin) * row_bytes)};
        expect_finite_in(tensor, source, bytes);
      } else {
        bytes = compute(tensor, source, begin, end, row_bytes, copies, scratch_[size_t(worker)]);
      }
      output.write(index, uint64_t((slice * rows + begin) * row_bytes), bytes);
      done_ += bytes.size();
      if (worker == 0) events_.on_progress(done_, total_);
    });
    events_.on_progress(done_, total_);
  }

 private:
  static constexpr int64_t kPieceBytes = 1 << 20;  // of f32; fits a core's second-level cache

  struct Scratch {
    std::vector<float> values;
    std::vector<std::byte> bytes;
  };

  static std::span<const std::byte> compute(const PlannedTensor& tensor, const Source& source, int64_t begin,
                                            int64_t end, int64_t row_bytes, bool copies, Scratch& scratch) {
    scratch.bytes.resize(size_t((end - begin) * row_bytes));
    std::byte* out = scratch.bytes.data();
    if (tensor.stack == Stack::mxfp4) {
      naming(source, [&] {
        for (int64_t row = begin; row < end; ++row, out += row_bytes) source.repack_mxfp4(row, out);
      });
      return scratch.bytes;
    }
    if (copies) {
      for (int64_t row = begin; row < end; ++row, out += row_bytes)
        std::copy_n(source.row_bytes(row), row_bytes, out);
      expect_finite_in(tensor, source, scratch.bytes);
      return scratch.bytes;
    }
    const int64_t n = (end - begin) * source.n_cols;
    scratch.values.resize(size_t(n));
    source.read_rows(begin, end, scratch.values.data());
    naming(source, [&] { encode_values(tensor.type, out, scratch.values.data(), n); });
    return scratch.bytes;
  }

  static void expect_finite_in(const PlannedTensor& tensor, const Source& source,
                               std::span<const std::byte> bytes) {
    naming(source, [&] { expect_finite(tensor.type, bytes); });
  }

  template <class Work>
  static void naming(const Source& source, const Work& work) {
    try {
      work();
    } catch (const Error& e) {
      fail("{}{}tensor '{}': {}", source.path, source.path.empty() ? "" : ": ", printable(source.tensor.name),
           e.what());
    }
  }

  ThreadPool& pool_;
  const ConvertEvents& events_;
  uint64_t total_;
  std::atomic<uint64_t> done_{0};
  std::vector<Scratch> scratch_;
};

// The tensor read last: of a stack in one tensor it is that of every slice.
struct Loaded {
  const HfTensor* of = nullptr;
  SafeTensor tensor;
  std::vector<std::byte> buffer{};
  std::vector<float> decoded{};

  const SafeTensor& load(const HfWeights& weights, const HfTensor* hf) {
    if (of != hf) tensor = weights.load(*hf, buffer);
    of = hf;
    return tensor;
  }

  // FP8 values as F32.
  void decode(int64_t n_rows, int64_t n_cols, const SafeTensor* scale, const int64_t block[2]) {
    if (!tensor.dtype.starts_with("F8")) return;
    const Source whole = make_source(tensor, n_rows, n_cols, scale, block);
    decoded.resize(size_t(n_rows * n_cols));
    whole.read_rows(0, n_rows, decoded.data());
    tensor.dtype = "F32";
    tensor.data = std::as_bytes(std::span(decoded));
  }
};

// A head's rows of a matrix of all heads, those that become this tensor's.
Source head_source(const PlannedTensor& tensor, int64_t head, const SafeTensor* scale, const HfConfig& config,
                   Loaded& loaded) {
  loaded.decode(tensor.n_slices * tensor.n_hf_rows, tensor.n_hf_cols, scale, config.fp8_block);
  SafeTensor rows = loaded.tensor;
  const int64_t n = tensor.transposed ? tensor.n_cols : tensor.n_rows;
  const int64_t row_bytes = tensor.n_hf_cols * dtype_bytes(rows.dtype);
  rows.data = rows.data.subspan(size_t((head * tensor.n_hf_rows + tensor.first_hf_row) * row_bytes),
                                size_t(n * row_bytes));
  rows.shape = {n, tensor.n_hf_cols};
  return make_source(std::move(rows), tensor.n_rows, tensor.n_cols, nullptr, config.fp8_block);
}

Source source_of(const PlannedTensor& tensor, int64_t slice, const HfConfig& config, const HfWeights& weights,
                 Loaded& loaded, Loaded& scales) {
  Source source;
  if (tensor.sources.empty()) {
    source.tensor = {tensor.name, "F32", {tensor.n_cols}, std::as_bytes(std::span(tensor.values))};
    source.n_cols = tensor.n_cols;
    return source;
  }
  const PlannedSource& planned = tensor.source(slice);
  try {
    const SafeTensor* scale = planned.scale ? &scales.load(weights, planned.scale) : nullptr;
    SafeTensor one = loaded.load(weights, planned.hf);
    const bool of_heads = is_of_heads(tensor.stack);
    const bool is_stacked = tensor.stack != Stack::none && tensor.stack != Stack::each && !of_heads;
    if (is_stacked) one = slice_of(one, slice);
    if (of_heads) {
      source = head_source(tensor, slice, scale, config, loaded);
    } else if (tensor.stack == Stack::mxfp4) {
      source.tensor = std::move(one);
      source.block_scales = slice_of(*scale, slice);
      source.n_rows = tensor.n_rows, source.n_cols = tensor.n_cols;
    } else {
      source = make_source(std::move(one), tensor.n_hf_rows, tensor.n_cols, scale, config.fp8_block);
    }
  } catch (const Error& e) {
    fail("{}: {}", weights.path_of(*planned.hf), e.what());
  }
  source.path = weights.path_of(*planned.hf);
  source.rows = tensor.rows;
  source.transposed = tensor.transposed;
  source.columns = tensor.columns;
  source.add = tensor.add;
  source.negated_exp = tensor.negated_exp;
  source.factors = tensor.factors;
  return source;
}

// What is written must be what this program reads: keys that make sense, and every tensor that the family's
// layers need.
void expect_loadable(const GgufWriter& keys, std::span<const PlannedTensor> plan, const HfConfig& config) {
  const ModelConfig model = config_of_keys(Gguf::of_values(config.path, keys.values()), config.n_vocab);
  std::set<std::string_view> names;
  for (const PlannedTensor& tensor : plan) names.insert(tensor.name);
  const auto expect = [&](const std::string& name) {
    if (!names.contains(name))
      fail("{}: tensor {}: {} models need it, and the weights have none for it", folder_of(config.path), name,
           config.architecture->name);
  };
  struct Visit {
    const std::function<void(const std::string&)>& expect;
    const std::set<std::string_view>& names;
    std::string prefix;
    void operator()(const NormSpec& norm) const { parts(norm.tensor, norm.has_bias); }
    void operator()(const LinearSpec& linear) const {
      if (!linear.may_be_absent) parts(linear.tensor, linear.has_bias);
    }
    void operator()(const VectorSpec& vector) const {
      if (!vector.may_be_absent) expect(fmt::format("{}{}", prefix, vector.tensor));
    }
    void parts(std::string_view tensor, bool has_bias) const {
      if (names.contains(fmt::format("{}{}", prefix, tensor))) return;  // a norm without an ending
      expect(fmt::format("{}{}.weight", prefix, tensor));
      if (has_bias) expect(fmt::format("{}{}.bias", prefix, tensor));
    }
  };
  const std::function<void(const std::string&)> each = expect;
  for (int64_t i = 0; i < model.n_layer; ++i) {
    for_each_part(config.architecture->layer(model, i), Visit{each, names, fmt::format("blk.{}.", i)});
  }
  if (const auto lost = find_lost(model, [&](const std::string& name) { return names.contains(name); })) {
    fail("{}: tensor {}: the weights have none for it, but one for {}", folder_of(config.path), lost->name,
         lost->elsewhere);
  }
  if (const NormSpec last = norm(model, config.architecture->output_norm); !last.tensor.empty())
    Visit{each, names, ""}(last);
  if (model.output_has_bias) expect("output.bias");
  if (model.has_position_table) expect("position_embd.weight");
}

}  // namespace

std::vector<std::string> convert_types() {
  std::vector<std::string> types;
  for (const OutType& row : kOutTypes) types.emplace_back(row.name);
  types.emplace_back("auto");
  return types;
}

std::vector<std::string_view> convert_classes() {
  std::set<std::string_view> classes;
  for (const Architecture* row : architectures()) {
    if (!row->hf) continue;
    for (const HfClass& one : row->hf->classes) {
      if (one.why_not.empty()) classes.insert(one.name);
    }
  }
  return {classes.begin(), classes.end()};
}

ConvertResult convert(const ConvertOptions& options, const ConvertEvents& events) {
  HfConfig config = read_hf_config(options.folder);
  for (const std::string& line : config.notes) events.say(line);
  GgufWriter keys;
  ConvertResult result;
  result.architecture = config.architecture->name;
  std::optional<HfWeights> weights;
  std::vector<PlannedTensor> plan;
  const OutType* type = &kOutTypes[0];
  int64_t n_parameters = 0;
  if (!options.vocab_only) {
    check_weights_are_readable(config);
    weights = HfWeights::open(options.folder, events.say);
    expect_plain_weights(*weights, config.reads_mxfp4());
    type = &choose_type(options.outtype, *weights);
    trust_weights(config, *weights, events.say);
    plan = plan_tensors(config, *weights, type->type, events.say);
    const auto n_unscaled = std::count_if(plan.begin(), plan.end(), [](const PlannedTensor& tensor) {
      return std::ranges::any_of(tensor.sources, [](const PlannedSource& source) {
        return source.hf->dtype.starts_with("F8") && !source.scale;
      });
    });
    if (n_unscaled > 0) {
      events.say(
          fmt::format("{} FP8 tensors have no scales: their values are taken as they are", n_unscaled));
    }
    result.bytes_read = weights->file_bytes();
  }
  result.n_vocab = config.n_vocab;
  uint64_t total = 0;
  for (const PlannedTensor& tensor : plan) {
    // Of one expert's matrices, but all of their biases, as llama.cpp counts.
    const bool is_counted_once = tensor.is_matrix && !is_of_heads(tensor.stack);  // of experts one
    n_parameters += tensor.n_rows * tensor.n_cols * (is_counted_once ? 1 : tensor.n_slices);
    total += uint64_t(tensor.bytes());
  }
  const std::string name = last_part_of(options.folder, "model");
  set_general_keys(keys, config, name, n_parameters, type->file_type);
  set_architecture_keys(keys, config);
  result.type = upper_case(options.vocab_only ? "vocab" : type->name);
  const std::string path =
      options.outfile.empty() ? fmt::format("{}-{}.gguf", name, result.type) : options.outfile;
  const std::vector<std::vector<size_t>> parts = split(plan, options.split_max_bytes);
  for (size_t part = 0; part < parts.size(); ++part) {
    result.files.push_back(path_of_part(path, part, parts.size()));
    if (part == 0) continue;
    expect_new(result.files.back(), {&options.folder, 1});
    output_target(result.files.back());
  }
  if (!options.vocab_only) expect_loadable(keys, plan, config);
  const Hold hold =
      hold_new(result.files.front(), {&options.folder, 1}, events.say);  // stands for the others
  TokenRoles roles = {config.bos, config.eos, config.pad};
  if (config.architecture->hf->no_space_prefix) roles.add_space_prefix = false;
  roles.merges_as = config.architecture->hf->merges_as;
  roles.seen_tokens = {config.architecture->hf->seen_tokens.begin(),
                       config.architecture->hf->seen_tokens.end()};
  read_hf_vocabulary(options.folder, {config.n_vocab, weights.has_value()}, roles, events.say).set_keys(keys);

  std::deque<GgufOutput> outputs;
  ThreadPool pool(options.n_threads > 0 ? options.n_threads : physical_cores());
  TensorWriter writer(pool, events, total);
  Loaded loaded, scales;
  for (size_t part = 0; part < parts.size(); ++part) {
    GgufWriter head = part == 0 ? keys : GgufWriter();
    if (parts.size() > 1) {
      head.set("split.no", {GgufValueType::u16, {}, uint64_t{part}});
      head.set("split.count", {GgufValueType::u16, {}, uint64_t{parts.size()}});
      head.set("split.tensors.count", {GgufValueType::i32, {}, int64_t(plan.size())});
    }
    for (const size_t i : parts[part]) head.declare_tensor(plan[i].name, plan[i].type, plan[i].ne());
    outputs.emplace_back(head, result.files[part]);
    for (size_t i = 0; i < parts[part].size() && !events.should_stop(); ++i) {
      const PlannedTensor& tensor = plan[parts[part][i]];
      for (int64_t slice = 0; slice < tensor.n_slices && !events.should_stop(); ++slice) {
        writer.write(tensor, slice, source_of(tensor, slice, config, *weights, loaded, scales),
                     outputs.back(), i);
        if (tensor.sources.size() > 1) weights->release(*tensor.source(slice).hf);
      }
      if (tensor.sources.size() == 1) weights->release(*tensor.sources.front().hf);
    }
    if (events.should_stop()) {
      result.stopped = true;
      return result;
    }
  }
  for (GgufOutput& output : outputs) output.commit();
  result.n_tensors = int64_t(plan.size());
  result.bytes_written = total;
  return result;
}

}  // namespace lora
