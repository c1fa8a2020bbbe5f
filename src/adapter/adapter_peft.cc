#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "adapter/adapter.h"
#include "adapter/head_parts.h"
#include "adapter/pairs.h"
#include "adapter/peft_config.h"
#include "adapter/peft_experts_read.h"
#include "adapter/peft_names.h"
#include "adapter/pieces.h"
#include "adapter/start.h"
#include "arch/hf_config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/printable.h"
#include "gguf/pytorch.h"
#include "gguf/safetensors.h"

namespace lora {
namespace {

// Endings of tensor names; ".default" is the adapter's name where it was saved with it.
struct Ending {
  std::string_view text;
  bool is_b;
};
constexpr Ending kPeftEndings[] = {
    {".lora_A.weight", false},
    {".lora_B.weight", true},
    {".lora_A.default.weight", false},
    {".lora_B.default.weight", true},
    {".lora_embedding_A", false},
    {".lora_embedding_B", true},
    {".lora_embedding_A.default", false},
    {".lora_embedding_B.default", true},
};
constexpr Ending kMlxEndings[] = {{".lora_a", false}, {".lora_b", true}};

struct Format {
  std::string_view wrapper;  // before a module's name
  std::span<const Ending> endings;
  bool transposed;
};
constexpr Format kPeft = {"base_model.model.", kPeftEndings, false};
constexpr Format kMlx = {"", kMlxEndings, true};

// Why a tensor that is no half of a pair has no place in an adapter.
const char* why_not(std::string_view name) {
  if (name.find("lora_magnitude_vector") != name.npos || name.ends_with(".m")) {
    return "DoRA adapters are not supported";
  }
  if (name.find("trainable_tokens") != name.npos) {
    return "trained token rows beside the LoRA are not supported";
  }
  if (name.ends_with(".bias")) return "adapters with biases are not supported";
  if (name.find(".lora_") == name.npos) {
    return "whole modules beside the LoRA (modules_to_save, or a vocabulary with new tokens) are not "
           "supported";
  }
  return "expected base_model.model.MODULE.lora_A.weight or .lora_B.weight (MLX: MODULE.lora_a or .lora_b)";
}

// Puts the tensors of a folder together, one after the other.
struct FolderReader {
  const std::string& path;
  const PeftConfig& config;
  const PeftBase& base;
  std::vector<LeftOut>* left_out;
  const AdapterReading& reading;
  const Format& format;
  std::vector<LoraHalf> halves{};
  std::map<std::string, std::string> module_of{};  // by base tensor: "model.layers.0.self_attn.q_proj"
  // Pairs of some rows of a tensor, until they are joined: BASE#PART.
  std::map<std::string, PeftTarget> piece_of{};
  PeftExperts experts{path, config, base};
  std::string part_of_module{};  // a module that GGUF has as several tensors

  void add(const SafeTensor& tensor) {
    const std::string what = "tensor " + printable(tensor.name);
    const auto ending = std::find_if(format.endings.begin(), format.endings.end(),
                                     [&](const Ending& e) { return tensor.name.ends_with(e.text); });
    if (ending == format.endings.end() || !tensor.name.starts_with(format.wrapper)) {
      // PEFT's copy of an embedding under a LoRA says nothing new, unless it has grown.
      const bool is_copy = tensor.name.ends_with(".base_layer.weight") && !tensor.shape.empty() &&
                           (base.n_vocab == 0 || tensor.shape[0] == base.n_vocab);
      if (!is_copy) leave_out(left_out, path, what, why_not(tensor.name));
      return;
    }
    std::string module = tensor.name.substr(0, tensor.name.size() - ending->text.size());
    module.erase(0, format.wrapper.size());
    const std::vector<PeftTarget> targets = in_base(peft_targets(base.architecture, module), module);
    const std::string stack = config.is_mlx ? mlx_stack(base.architecture, module) : "";
    const bool is_parameter = targets.empty() && stack.empty() && experts.find_parameters(module);
    if (config.is_mlx && stack.empty() && module.find(".switch_glu.") != module.npos) {
      return leave_out(left_out, path, what,
                       fmt::format("gate and up of {}'s experts are one tensor, of which no part can have a "
                                   "LoRA of its own",
                                   printable(base.architecture)));
    }
    if (targets.empty() && stack.empty() && !is_parameter) {
      return leave_out(left_out, path, what,
                       fmt::format("architecture {} has no such module: an adapter for another model?",
                                   printable(base.architecture)));
    }
    const size_t n_dims = tensor.shape.size();
    if (n_dims != 2 && (stack.empty() || n_dims != 3)) {
      fail("{}: {}: expected 2 dimensions, found {}", path, what, n_dims);
    }
    if (config.is_mlx && base.is_tied && !targets.empty() && targets.front().base == kTokenEmbedding) {
      return leave_out(left_out, path, what,
                       "MLX adds an embedding's LoRA to the output too where both are one matrix, which an "
                       "adapter cannot do");
    }
    LoraHalf half;
    half.tensor = printable(tensor.name);
    half.is_b = ending->is_b;
    half.n_rows = tensor.shape[n_dims - 2];
    half.n_cols = tensor.shape[n_dims - 1];
    if (n_dims == 3) half.n_slices = tensor.shape[0];
    check_not_empty(half, path);
    try {
      half.values = tensor.to_f32();
    } catch (const Error& e) {
      fail("{}: {}", path, e.what());
    }
    if (!stack.empty()) return add_stack(std::move(half), stack, module);
    if (is_parameter) {
      half.base = module;
      halves.push_back(std::move(half));
      return;
    }
    if (format.transposed) {
      half.values = transposed(half.values, half.n_rows, half.n_cols);
      std::swap(half.n_rows, half.n_cols);
    }
    for (const PeftTarget& target : targets) add_half(half, target, module, what);
  }

  // Of several tensors that a module may be, those that the model has: with experts or without. Error if that
  // is not known.
  std::vector<PeftTarget> in_base(std::vector<PeftTarget> targets, const std::string& module) const {
    const auto is_there = [&](const PeftTarget& target) { return base.shape(target.base).has_value(); };
    if (base.shape && std::ranges::any_of(targets, is_there))
      std::erase_if(targets, [&](const PeftTarget& target) { return !is_there(target); });
    for (size_t i = 1; i < targets.size() && !base.shape; ++i) {
      if (targets[i].base != targets[0].base && targets[i].module->of_hf == targets[0].module->of_hf) {
        fail(
            "{}: module {} is {} in some of the family's models and {} in others: the model is needed "
            "(--base)",
            path, printable(module), targets[0].base, targets[i].base);
      }
    }
    return targets;
  }

  // MLX's stacks lie as ours do.
  void add_stack(LoraHalf half, const std::string& stack, const std::string& module) {
    const int64_t rank = config.rank(module);
    if (half.n_slices == 1 && !half.is_b && half.n_rows % rank == 0) {
      half.n_slices = half.n_rows / rank;
      half.n_rows = rank;
    }
    half.base = stack;
    module_of[stack] = module;
    halves.push_back(std::move(half));
  }

  void add_half(LoraHalf half, const PeftTarget& target, const std::string& module, const std::string& what) {
    half.base = target.base;
    if (half.is_b) {  // only B has the rows that are reordered
      const std::vector<int64_t> rows = peft_rows(base.architecture, *target.module, half.n_rows, true,
                                                  heads(), fmt::format("{}: {}", path, what));
      half.values = gather_rows(half.values, half.n_cols, rows);
      if (!rows.empty()) half.n_rows = int64_t(rows.size());
      if (base.factors && !config.is_mlx)  // whose weights hold the factors, too
        multiply_rows(half.values, half.n_cols, base.factors(*target.module, half.n_rows), false);
    } else {
      half.values = gather_columns(
          half.values, peft_columns(*target.module, half.n_cols, heads(), fmt::format("{}: {}", path, what)));
    }
    if (target.module->of_hf != Rows::all || is_packed(target.module->delta)) part_of_module = module;
    if (target.module->of_gguf != Rows::all) {
      half.base += fmt::format("#{}", int(target.module->of_gguf));
      piece_of[half.base] = target;
    }
    if (target.expert >= 0) half.base = experts.add(target);
    module_of[half.base] = module;
    halves.push_back(std::move(half));
  }

  PeftHeads heads() const { return {base.n_head, base.n_head_kv, base.delta}; }

  // Where the rows of a piece begin in its tensor, and how many that has.
  std::pair<int64_t, int64_t> place_of(const LoraPair& pair, Rows part) const {
    if (part == Rows::gate) return {0, 2 * pair.n_out};
    if (part == Rows::up) return {pair.n_out, 2 * pair.n_out};
    const int64_t n = part == Rows::q ? base.n_head : base.n_head_kv;
    if (!PeftHeads{base.n_head, base.n_head_kv}.make_sense() || pair.n_out % n != 0)
      fail("{}: module {}: {} rows for {} heads", path, printable(module_of.at(pair.base)), pair.n_out, n);
    const int64_t dim = pair.n_out / n, n_q = base.n_head * dim, n_kv = base.n_head_kv * dim;
    return {part == Rows::q ? 0 : part == Rows::k ? n_q : n_q + n_kv, n_q + 2 * n_kv};
  }

  // Pairs of q_proj, k_proj and v_proj, say, become one of attn_qkv.
  void join_pieces(Adapter& adapter) {
    if (piece_of.empty()) return;
    std::vector<LoraPair> whole;
    std::set<std::string> names;  // of these
    std::map<std::string, std::vector<Piece>> pieces;
    std::map<std::string, int64_t> sizes;
    for (LoraPair& pair : adapter.pairs) {
      const auto found = piece_of.find(pair.base);
      if (found == piece_of.end()) {
        names.insert(pair.base);
        whole.push_back(std::move(pair));
        continue;
      }
      const std::string& base_name = found->second.base;
      const auto [first, n_out] = place_of(pair, found->second.module->of_gguf);
      const auto [size, is_new] = sizes.try_emplace(base_name, n_out);
      if (size->second != n_out || (!is_new && pieces[base_name].front().pair->n_in != pair.n_in))
        fail("{}: module {}: does not fit the others of {}", path, printable(module_of[pair.base]),
             base_name);
      Piece piece{&pair, {}, config.scale(module_of[pair.base])};
      for (int64_t row = 0; row < pair.n_out; ++row) piece.rows.push_back(first + row);
      pieces[base_name].push_back(std::move(piece));
    }
    bool adds_up = false;
    for (const auto& [name, list] : pieces) {
      if (names.contains(name))
        fail("{}: module {}: {} has a LoRA as a whole, too", path,
             printable(module_of[list.front().pair->base]), name);
      module_of[name] = module_of[list.front().pair->base];
      Joined joined = join(name, list, sizes[name]);
      adds_up = adds_up || joined.is_stacked;
      whole.push_back(std::move(joined.pair));
    }
    adapter.pairs = std::move(whole);
    if (reading.say) {
      reading.say(fmt::format("{}: {} modules are rows of {} tensors of the model: joined{}", path,
                              piece_of.size(), pieces.size(), adds_up ? ", their ranks add up" : ""));
    }
  }

  // A LoRA that starts from the model's own weights becomes a plain one.
  void take_start_out(Adapter& adapter) {
    if (config.start == LoraStart::plain) return;
    const char* name = config.start == LoraStart::pissa ? "pissa" : "olora";
    if (!experts.empty()) fail("{}: init_lora_weights: {}: not supported on experts", path, name);
    if (!piece_of.empty() || !part_of_module.empty()) {
      fail(
          "{}: init_lora_weights: {}: module {} is not one tensor of the model but rows of one, or several, "
          "which "
          "is not supported",
          path, name,
          printable(part_of_module.empty() ? module_of[piece_of.begin()->first] : part_of_module));
    }
    for (const LoraPair& pair : adapter.pairs) {
      // Of weights that conversion has changed, these would be others than those it started from.
      const auto module = peft_module(base.architecture, pair.base);
      if (base.factors || (module && module->module->delta == DeltaOrder::columns)) {
        fail("{}: init_lora_weights: {}: not supported on {}, whose weights GGUF has in another form", path,
             name, printable(module_of[pair.base]));
      }
    }
    if (!base.weight) {
      fail(
          "{}: init_lora_weights: {} starts from the weights of the model: that is needed as F32, F16 or "
          "BF16",
          path, name);
    }
    if (reading.say) {
      reading.say(
          fmt::format("{}: init_lora_weights {}: computing what it took out of the model's weights, {} "
                      "tensors; the LoRA becomes a plain one of twice the rank",
                      path, name, adapter.pairs.size()));
    }
    ThreadPool pool(reading.n_threads > 0 ? reading.n_threads : physical_cores());
    for (LoraPair& pair : adapter.pairs) {
      try {
        make_plain(pair, config.start, config.scale(module_of[pair.base]), base.weight, pool, path);
      } catch (const Error& e) {
        fail("init_lora_weights {}: {}", name, e.what());
      }
    }
  }

  Adapter finish() {
    Adapter adapter;
    adapter.architecture = base.architecture;
    adapter.base_model = config.base_model;
    adapter.heads = base.heads;
    pair_up(adapter, std::move(halves), path);
    for (const LoraPair& pair : adapter.pairs) {
      if (experts.is_parameter(pair.base)) continue;
      const std::string& module = module_of[pair.base];
      if (pair.rank != config.rank(module)) {
        fail("{}: module {}: expected rank {} as in adapter_config.json, found {}", path, printable(module),
             config.rank(module), pair.rank);
      }
    }
    if (const std::string unknown = unknown_factors(base); !unknown.empty() && !config.is_mlx && reading.say)
      reading.say(fmt::format("warning: {}: {}", path, unknown));
    take_start_out(adapter);
    join_pieces(adapter);
    experts.finish(adapter, module_of);
    set_scales(adapter, [&](const LoraPair& pair) { return config.scale(module_of[pair.base]); });
    return adapter;
  }
};

Adapter read_tensors(const std::string& path, const PeftConfig& config, const PeftBase& base,
                     std::vector<LeftOut>* left_out, const AdapterReading& reading,
                     const std::function<void(const std::function<void(const SafeTensor&)>&)>& for_each) {
  PeftBase known = base;
  if (base.shape) {  // each asked for once: a stack is asked for by every expert, and counts its matrices
    known.shape = [&base, shapes = std::map<std::string, std::optional<PairShape>, std::less<>>()](
                      std::string_view tensor) mutable {
      auto found = shapes.find(tensor);
      if (found == shapes.end()) found = shapes.emplace(tensor, base.shape(tensor)).first;
      return found->second;
    };
  }
  FolderReader reader{path, config, known, left_out, reading, config.is_mlx ? kMlx : kPeft};
  for_each([&](const SafeTensor& tensor) { reader.add(tensor); });
  return reader.finish();
}

// Files of weights that lie in an adapter's folder: by the beginning of the name, those that are no part of
// what it adds to a model. Others are ("non_lora_trainables.bin", "new_embeddings.safetensors",
// "trainable_params.bin": embeddings and norms that were trained along).
void refuse_weights_beside(const std::string& folder, std::vector<LeftOut>* left_out) {
  constexpr std::string_view weights[] = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz"};
  constexpr std::string_view others[] = {
      "adapter_model.", "adapters.",      "ggml-adapter-model.",                  // the adapter
      "model.",         "model-",         "pytorch_model",       "consolidated",  // a model
      "optimizer",      "zero_pp_rank",   "bf16_zero",           "mp_rank",      "scheduler", "rng_state",
      "scaler",         "sampler",  // a training's state
      "training_args",  "training_state", "value_head.",         "global_step"};
  for (const std::string& name : files_in(folder)) {
    const auto ends = [&](std::string_view end) { return name.ends_with(end); };
    const auto starts = [&](std::string_view start) { return name.starts_with(start); };
    if (std::ranges::none_of(weights, ends) || std::ranges::any_of(others, starts)) continue;
    if (starts("._")) continue;  // macOS's, which only describes the file of the rest of the name
    if (name.ends_with("_adapters.safetensors")) continue;  // MLX's, of an earlier iteration
    leave_out(left_out, folder, printable(name), "weights beside the LoRA are not supported");
  }
}

// Of the heads of layers, which may differ; those without attention have none.
std::optional<int64_t> most_of(const Gguf& base, const std::string& key) {
  const GgufValue* value = base.find(key);
  if (!value || value->type != GgufValueType::array) return base.get_int(key);
  const std::vector<int64_t> of_layers = base.get_ints(key).value_or(std::vector<int64_t>());
  return of_layers.empty() ? std::nullopt : std::optional(std::ranges::max(of_layers));
}

}  // namespace

void refuse_base_type(const std::string& path, std::string_view tensor, std::string_view type) {
  fail(
      "{}: tensor {}: its {} numbers are not those that the training started from: "
      "the model is needed as F32, F16 or BF16",
      path, printable(tensor), printable(type));
}

namespace {

// From the keys that conversion has left of config.json; nullptr where there are none.
std::function<std::vector<RowFactors>(const HfModule&, int64_t)> factors_of(const Gguf& base) {
  HfConfig config;
  config.architecture = find_hf_family(base.get_string("general.architecture").value_or(""));
  if (!config.architecture || !config.architecture->hf->row_factors) return nullptr;
  config.path = base.path();
  const std::string prefix = fmt::format("{}.", config.architecture->name);
  bool is_told = false;
  for (const char* key : config.architecture->hf->factor_keys) {
    const std::string name = fmt::format("{}hf.{}", prefix, key);
    const GgufValue* found = base.find(name);
    if (!found) continue;
    is_told = true;
    if (found->type == GgufValueType::array) {
      config.number_lists[key] = base.get_floats(name).value_or(std::vector<double>());
    } else if (const auto number = base.get_float(name)) {
      config.numbers[key] = *number;
    }
  }
  if (!is_told) return nullptr;
  const auto size = [&](const char* key) {
    const std::string name = fmt::format("{}ssm.{}", prefix, key);
    const int64_t n = base.get_int(name).value_or(1);
    if (n < 1 || n > int64_t{1} << 20) fail("{}: {}: {} makes no sense", base.path(), name, n);
    return n;
  };
  config.ssm = {size("inner_size"), size("state_size"), size("time_step_rank"), size("group_count")};
  const int64_t n_rows = 2 * (config.ssm.n_inner + config.ssm.n_group * config.ssm.n_state);
  if (n_rows > int64_t{1} << 24) fail("{}: {}ssm: {} rows make no sense", base.path(), prefix, n_rows);
  return [config](const HfModule& module, int64_t n) { return factors_of_rows(config, module, n); };
}

}  // namespace

PeftBase peft_base(const Gguf& base) {
  PeftBase result;
  result.architecture = base.get_string("general.architecture").value_or("");
  const auto n_head = most_of(base, result.architecture + ".attention.head_count");
  if (!n_head) fail("{}: key {}.attention.head_count: missing", base.path(), result.architecture);
  result.n_head = *n_head;
  result.n_head_kv = most_of(base, result.architecture + ".attention.head_count_kv").value_or(*n_head);
  result.factors = factors_of(base);
  const auto of_delta = [&](const char* name) {
    return base.get_int(result.architecture + ".ssm." + name).value_or(0);
  };
  result.delta = {of_delta("group_count"), of_delta("time_step_rank"), of_delta("state_size"), 0};
  if (result.delta.n_v > 0) result.delta.dim_v = of_delta("inner_size") / result.delta.n_v;
  result.is_tied = base.find_tensor("output.weight") == nullptr;
  result.heads = head_parts(base);
  if (const auto embedding = pair_shape(base, kTokenEmbedding)) result.n_vocab = embedding->n_in;
  result.shape = [&base](std::string_view name) { return pair_shape(base, name); };
  result.weight = [&base](std::string_view name) {
    const GgufTensor* tensor = base.find_tensor(name);
    if (tensor == nullptr) {
      if (std::vector<float> joined = joined_weight(base, name); !joined.empty()) return joined;
    }
    if (tensor == nullptr) fail("{}: tensor {}: missing", base.path(), printable(name));
    if (tensor->type != Type::F32 && tensor->type != Type::F16 && tensor->type != Type::BF16) {
      refuse_base_type(base.path(), name, traits(tensor->type).name);
    }
    std::vector<float> values(size_t(tensor->n_elements()));
    traits(tensor->type).decode(values.data(), tensor->data.data(), tensor->n_elements());
    return values;
  };
  return result;
}

Adapter read_adapter_peft(const std::string& folder, const PeftBase& base, std::vector<LeftOut>* left_out,
                          const AdapterReading& reading) {
  check_peft_knows(folder, base.architecture);
  return read_adapter_peft(folder, read_peft_config(folder, left_out), base, left_out, reading);
}

Adapter read_adapter_peft(const std::string& folder, const PeftConfig& config, const PeftBase& base,
                          std::vector<LeftOut>* left_out, const AdapterReading& reading) {
  check_peft_knows(folder, base.architecture);
  refuse_weights_beside(folder, left_out);
  const std::string pickle = folder + "/adapter_model.bin";
  std::string path = folder + (config.is_mlx ? "/adapters.safetensors" : "/adapter_model.safetensors");
  if (config.is_mlx || file_exists(path) || !file_exists(pickle)) {
    const SafeTensors file = SafeTensors::open(path);
    return read_tensors(path, config, base, left_out, reading, [&](const auto& use) {
      for (const SafeTensor& tensor : file.tensors()) use(tensor);
    });
  }
  path = pickle;
  const PytorchFile file = PytorchFile::open(path);
  return read_tensors(path, config, base, left_out, reading, [&](const auto& use) {
    std::vector<std::byte> bytes;
    for (const PytorchTensor& tensor : file.tensors()) use(file.read(tensor, bytes));
  });
}

Adapter parse_adapter_peft(std::string_view config_text, std::span<const std::byte> safetensors,
                           const PeftBase& base, std::vector<LeftOut>* left_out) {
  const std::string path = "adapter_model.safetensors";
  const PeftConfig config = parse_peft_config(config_text, "adapter_config.json", left_out);
  const SafeTensors file = SafeTensors::parse(safetensors, path);
  return read_tensors(path, config, base, left_out, {}, [&](const auto& use) {
    for (const SafeTensor& tensor : file.tensors()) use(tensor);
  });
}

}  // namespace lora
