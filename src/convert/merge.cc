#include "convert/merge.h"

#include <algorithm>
#include <cmath>
#include <list>
#include <map>

#include "adapter/adapter.h"
#include "adapter/head_parts.h"
#include "adapter/pairs.h"
#include "arch/config.h"
#include "arch/hf.h"
#include "base/error.h"
#include "base/printable.h"
#include "base/same_file.h"
#include "convert/kept.h"
#include "generate/session.h"
#include "gguf/part_name.h"
#include "model/build.h"
#include "quant/choice.h"
#include "train/checkpoint.h"

namespace lora {
namespace {

// What is merged, and by base tensor how. The changes point into the rest.
struct Merged {
  std::list<Adapter> adapters;
  std::optional<Checkpoint> checkpoint;
  std::list<std::vector<float>> transposed;
  std::list<LoraPair> cut;
  std::map<std::string, std::vector<LowRank>, std::less<>> changes;
};

bool all_zero(std::span<const float> values) {
  return std::ranges::all_of(values, [](float v) { return v == 0; });
}

// One pair's part in `changes`; a pair without effect has none, so that its tensor stays as it is.
// a: (n_slices, rank, n_in), b: (n_slices, n_out, rank). Of a stack that `model` has as a tensor for each
// matrix, each of these is changed.
void add_change(Merged& merged, const Gguf& model, const std::string& path, const std::string& base,
                int64_t n_in, int64_t n_out, int64_t rank, std::span<const float> a, std::span<const float> b,
                double scale) {
  for (const std::span<const float> half : {a, b}) {
    if (!std::ranges::all_of(half, [](float v) { return std::isfinite(v); })) {
      fail("{}: tensor {}: holds a value that is not finite: the adapter is damaged", path, printable(base));
    }
  }
  if (!std::isfinite(float(scale))) fail("{}: a scale of {:g} is beyond what F32 holds", path, scale);
  if (scale == 0 || all_zero(a) || all_zero(b)) return;
  if (const auto parts = is_of_heads(base) ? head_parts(model) : std::nullopt;
      parts && !model.find_tensor(base)) {
    const LoraPair pair{base, n_in, n_out, rank, {a.begin(), a.end()}, {b.begin(), b.end()}};
    for (LoraPair& of_part : cut_pairs(pair, *parts)) {
      const LoraPair& part = merged.cut.emplace_back(std::move(of_part));
      add_change(merged, model, path, part.base, part.n_in, part.n_out, rank, part.a, part.b, scale);
    }
    return;
  }
  if (const auto n_slices = int64_t(b.size()) / (n_out * rank); n_slices > 1 && !model.find_tensor(base)) {
    for (int64_t i = 0; i < n_slices; ++i) {
      const auto slice = [&](std::span<const float> all, int64_t n) {
        return all.subspan(size_t(i * n), size_t(n));
      };
      add_change(merged, model, path, tensor_of_slice(base, i), n_in, n_out, rank, slice(a, rank * n_in),
                 slice(b, n_out * rank), scale);
    }
    return;
  }
  LowRank change{b.data(), rank, 1, a.data(), rank, float(scale), n_out};
  if (base == kTokenEmbedding) {  // the table is (n_vocab, n_embd) = (n_in, n_out)
    change.rows_per_slice = 0;
    change.left = a.data(), change.row_stride = 1, change.rank_stride = n_in;
    change.right = merged.transposed.emplace_back(transposed({b.begin(), b.end()}, n_out, rank)).data();
  }
  merged.changes[base].push_back(change);
}

void read_adapters(Merged& merged, const MergeOptions& options, const Gguf& base, const MergeEvents& events) {
  for (const LoraFile& file : options.loras) {
    const Adapter& adapter =
        merged.adapters.emplace_back(read_adapter(file.path, base, {options.threads, events.say}));
    for (const LoraPair& pair : adapter.pairs) {
      add_change(merged, base, file.path, pair.base, pair.n_in, pair.n_out, pair.rank, pair.a, pair.b,
                 file.scale * double(adapter.scale(pair)));
    }
  }
}

// Error if the checkpoint is of another model. Its norms, (rank, n_embd) and (1, rank), are no LoraPairs.
void check_checkpoint(const Checkpoint& checkpoint, const std::string& path, const Gguf& base) {
  Adapter shapes;
  shapes.architecture = checkpoint.architecture;
  for (const auto& pair : checkpoint.parameters.pairs) {
    shapes.pairs.push_back({pair.base, pair.n_in, pair.n_out, pair.rank, {}, {}, pair.n_slices});
  }
  check_adapter(shapes, path, base);
}

// The pairs that an adapter has in common with a checkpoint, and whether all of them are equal.
std::pair<int64_t, bool> common_pairs(const Adapter& adapter, const LoraParameters& parameters) {
  std::map<std::string_view, const LoraPair*> by_base;
  for (const LoraPair& pair : adapter.pairs) by_base.emplace(pair.base, &pair);
  int64_t n = 0, n_equal = 0;
  for (const auto& pair : parameters.pairs) {
    const auto found = by_base.find(pair.base);
    if (found == by_base.end()) continue;
    const LoraPair& other = *found->second;
    ++n;
    n_equal += std::ranges::equal(other.a, std::span(&parameters.values[pair.a], size_t(pair.a_size()))) &&
               !all_zero(other.b);
  }
  return {n, n > 0 && n == n_equal};
}

void read_checkpoint_into(Merged& merged, const MergeOptions& options, const Gguf& base,
                          const MergeEvents& events) {
  const std::string& path = options.checkpoint;
  const Checkpoint& checkpoint = merged.checkpoint.emplace(read_checkpoint(path));
  check_checkpoint(checkpoint, path, base);
  if (setting(checkpoint, "model") != fmt::format("{:016x}", fingerprint(base)))
    events.say(fmt::format("{}: was trained on another file than {}", path, options.base));
  const LoraParameters& p = checkpoint.parameters;
  size_t i = 0;
  for (const Adapter& adapter : merged.adapters) {
    const std::string& file = options.loras[i++].path;
    const auto [n, equal] = common_pairs(adapter, p);
    if (equal) fail("{}: the checkpoint {} holds this adapter already; leave one of them out", file, path);
    if (n > 0) {
      events.say(fmt::format(
          "{}: changes {} tensors that {} changes too; leave it out if both are of one run", file, n, path));
    }
  }
  for (const auto& pair : p.pairs) {
    add_change(merged, base, path, pair.base, pair.n_in, pair.n_out, pair.rank,
               {&p.values[pair.a], size_t(pair.a_size())}, {&p.values[pair.b], size_t(pair.b_size())},
               double(p.scale(pair)));
  }
}

// Sets a number of the metadata, unless the model computes with that number already, and says so.
void carry(GgufWriter& keys, const std::string& key, double now, double wanted, const MergeEvents& events) {
  if (float(now) == float(wanted)) return;
  keys.set_f32(key, float(wanted));
  events.say(fmt::format("{}: {:g} in the merged model, {:g} in the base", key, wanted, now));
}

// The settings that adapters were trained with become the model's own.
void carry_settings(GgufWriter& keys, const Gguf& base, const Merged& merged, const MergeOptions& options,
                    const MergeEvents& events) {
  const std::string arch = base.get_string("general.architecture").value_or("");
  const std::string key = arch + ".rope.freq_base";
  const RopeValues own{base.get_float(key).value_or(10000), read_rope_freq_scale(base, arch)};
  std::vector<TrainedRope> trained_with = trained_rope(merged.adapters, options.loras);
  if (merged.checkpoint) {
    const auto number = [&](const char* flag) {
      return number_setting(*merged.checkpoint, options.checkpoint, flag);
    };
    trained_with.push_back({options.checkpoint, {number("--rope-freq-base"), number("--rope-freq-scale")}});
    const Architecture* family = find_architecture(arch);
    const std::string eps =
        fmt::format("{}.{}", arch, family ? norm_eps_key(*family) : "attention.layer_norm_rms_epsilon");
    const double trained = number("--norm-rms-eps");
    carry(keys, eps, base.get_float(eps).value_or(1e-5), trained, events);
  }
  if (const Architecture* family = find_architecture(arch); family && !has_rope(base)) {
    for (const std::string& line : without_effect({options.rope_freq_base, options.rope_freq_scale, {}}))
      events.say("warning: " + line);
    return;
  }
  const RopeValues rope = rope_values(trained_with, {options.rope_freq_base, options.rope_freq_scale}, own);
  if (rope.freq_base) carry(keys, key, *own.freq_base, *rope.freq_base, events);
  if (rope.freq_scale) {
    carry(keys, arch + ".rope.scaling.factor", 1 / *own.freq_scale, 1 / *rope.freq_scale, events);
    const std::string type = arch + ".rope.scaling.type";
    if (*rope.freq_scale != 1 && base.get_string(type).value_or("") == "none")
      keys.set_string(type, "linear");
  }
}

// What becomes of a tensor: its type, and how it changes.
struct Plan {
  const GgufTensor* tensor;
  std::string name;
  Type to, wanted;
  std::span<const LowRank> changes;
  bool only_read = false;  // its own type is, so that it is stored in another
};

std::vector<Plan> plan_of(const Gguf& base, const Merged& merged, const MergeOptions& options,
                          const MergeEvents& events) {
  std::vector<TensorChoice> choices;
  if (options.mix) choices = choose_types(base, *options.mix, {});
  std::vector<Plan> plan;
  for (size_t i = 0; i < base.tensors().size(); ++i) {
    const GgufTensor& tensor = base.tensors()[i];
    Plan row{&tensor, tensor.name, tensor.type, tensor.type, {}};
    if (const auto found = merged.changes.find(tensor.name); found != merged.changes.end()) {
      row.changes = found->second;
      if (options.mix) row.to = choices[i].type, row.wanted = choices[i].wanted;
      if (!traits(tensor.type).decode) {
        fail("{}: tensor '{}': {} values, which an adapter cannot change", options.base,
             printable(tensor.name), traits(tensor.type).name);
      }
      if (row.to == tensor.type && !traits(tensor.type).encode) {
        row.to = row.wanted = type_to_write(tensor.type, tensor.ne[0]);
        row.only_read = true;
      }
    }
    plan.push_back(std::move(row));
  }
  if (merged.changes.contains(kTokenEmbedding) && !base.find_tensor(kOutputTensor)) {
    const std::string arch = base.get_string("general.architecture").value_or("");
    const Architecture* known = find_hf_family(arch);
    if (!known || known->hf->always_tied) {
      fail(
          "{}: an adapter on it cannot be merged: the output is the same matrix, which the adapter does not "
          "change, and {} models {} an output matrix of their own",
          kTokenEmbedding, printable(arch), known ? "never have" : "are not known to take");
    }
    const GgufTensor& table = base.tensor(kTokenEmbedding);
    plan.push_back({&table, std::string(kOutputTensor), table.type, table.type, {}});
    events.say(fmt::format("{}: a copy of {} as it was, since adapters leave the output as it is",
                           kOutputTensor, kTokenEmbedding));
  }
  return plan;
}

// A type in which a tensor's change would be kept. Q8_0 rounds to half a percent of the weights.
Type better_type(const MergedTensor& tensor) {
  if (traits(tensor.to).block_size == 1) return Type::F32;
  return tensor.to == Type::Q8_0 || tensor.sums.relative_change() < 0.02 ? Type::F16 : Type::Q8_0;
}

void widen(std::optional<Type>& type, Type at_least) {
  const auto bytes = [](Type t) { return double(traits(t).block_bytes) / double(traits(t).block_size); };
  if (!type || bytes(at_least) > bytes(*type)) type = at_least;
}

// Changed tensors of a type that is only read, by the type that they are stored in.
struct Rewritten {
  std::string_view first;  // its name
  int64_t n = 0;
  RewriteSums sums;
};
using RewrittenTypes = std::map<std::pair<Type, Type>, Rewritten>;

void say_rewritten(const RewrittenTypes& rewritten, const MergeEvents& events) {
  for (const auto& [types, row] : rewritten) {
    events.say(fmt::format("{}{}: {} is only read here; stored as {}, which rounds by {:.2f}% of the weights",
                           printable(row.first), row.n > 1 ? fmt::format(" and {} more", row.n - 1) : "",
                           traits(types.first).name, traits(types.second).name,
                           100 * row.sums.relative_error()));
  }
}

}  // namespace

MergeResult merge(const MergeOptions& options, const MergeEvents& events) {
  const Gguf base = Gguf::open(options.base);
  expect_model(base);
  std::vector<std::string> inputs = files_of(base);
  if (inputs.size() > 1) events.say(fmt::format("{}: {} files become one", options.base, inputs.size()));
  for (const LoraFile& file : options.loras) inputs.push_back(file.path);
  inputs.push_back(options.checkpoint);
  const Hold hold = hold_new(options.out, inputs, events.say);

  Merged merged;
  read_adapters(merged, options, base, events);
  if (!options.checkpoint.empty()) read_checkpoint_into(merged, options, base, events);
  GgufWriter writer = copied_keys(base);
  carry_settings(writer, base, merged, options, events);
  const std::vector<Plan> plan = plan_of(base, merged, options, events);

  MergeResult result;
  result.n_tensors = int64_t(plan.size());
  for (const Plan& row : plan) {
    writer.declare_tensor(row.name, row.to, {row.tensor->ne, row.tensor->ne + row.tensor->n_dims});
    result.bytes_before += row.tensor->data.size();
    result.bytes_after += bytes_of(*row.tensor, row.to);
    if (traits(row.to).block_size > 1 && row.to != row.tensor->type)
      writer.set_u32("general.quantization_version", 2);
  }
  TensorRewriter rewriter(options.base, options.threads);
  GgufOutput out(writer, options.out);
  std::optional<Type> widest;  // of the changed tensors that a mix has a type for
  RewrittenTypes rewritten;
  uint64_t done = 0;
  for (size_t i = 0; i < plan.size(); ++i) {
    const Plan& row = plan[i];
    if (row.changes.empty()) {
      rewriter.copy(*row.tensor, out, i);
    } else {
      MergedTensor record{row.name, row.tensor->shape(), row.tensor->type, row.to, row.wanted, {}};
      record.sums = rewriter.rewrite(*row.tensor, {row.to, nullptr, row.changes, true}, out, i);
      result.sums.add(record.sums);
      ++result.n_changed;
      result.n_fallbacks += row.to != row.wanted;
      if (row.only_read) {
        Rewritten& of_types = rewritten[{row.tensor->type, row.to}];
        if (of_types.n++ == 0) of_types.first = row.name;
        of_types.sums.add(record.sums);
      }
      const bool lossy = record.sums.kept() < kKept;
      result.n_lossy += lossy;
      if (why_kept(*row.tensor).empty()) {
        widen(widest, row.to);
        if (lossy) widen(result.advice, better_type(record));
      }
      events.on_changed(record);
    }
    MappedFile::release(row.tensor->data);
    events.on_progress(done += row.tensor->data.size(), result.bytes_before);
    if (events.should_stop()) {
      result.stopped = true;
      return result;
    }
  }
  say_rewritten(rewritten, events);
  if (result.advice) widen(result.advice, *widest);
  out.commit();
  return result;
}

}  // namespace lora
