#include "train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/checksum.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/numbers.h"
#include "base/printable.h"

namespace lora {
namespace {

constexpr uint32_t kVersion = 2;
constexpr std::string_view kPlace = "lora_cpp.checkpoint.";
constexpr std::string_view kSetting = "lora_cpp.setting.", kChangeable = "lora_cpp.changeable.";
constexpr const char* kChecksum = "checksum";

std::string key(std::string_view name) {
  return std::string(kPlace) + std::string(name);
}

std::string_view name_of(Optimizer optimizer) {
  return optimizer == Optimizer::adam ? "adam" : "lbfgs";
}

// The stored arrays: name, shape and where they are. One list for writing and reading.
template <class Parameters, class Lbfgs, class Body>
void for_each_array(Parameters& p, Lbfgs& lbfgs, bool moments, const Body& body) {
  for (const auto& pair : p.pairs) {
    const auto both = [&](auto& buffer, const char* suffix) {
      body(pair.base + ".lora_a" + suffix, lora_ne(pair.n_in, pair.rank, pair.n_slices),
           buffer.data() + pair.a);
      body(pair.base + ".lora_b" + suffix, lora_ne(pair.rank, pair.n_out, pair.n_slices),
           buffer.data() + pair.b);
    };
    both(p.values, "");
    if (!moments) continue;
    both(p.m, ".m");
    both(p.v, ".v");
  }
  for (size_t i = 0; i < lbfgs.pairs.size(); ++i) {
    body(fmt::format("lbfgs.{}.s", i), std::vector<int64_t>{p.values.size()}, lbfgs.pairs[i].s.data());
    body(fmt::format("lbfgs.{}.y", i), std::vector<int64_t>{p.values.size()}, lbfgs.pairs[i].y.data());
  }
}

void expect_kind(const Gguf& gguf) {
  if (gguf.get_string("general.type").value_or("") != "checkpoint")
    fail("{}: not a checkpoint of this program", gguf.path());
  const int64_t version = gguf.get_int(key("version")).value_or(-1);
  if (version != kVersion) {
    fail("{}: checkpoint version {}, expected {}: it is of another version of this program", gguf.path(),
         version, kVersion);
  }
}

uint64_t required(const Gguf& gguf, std::string_view name) {
  const GgufValue* value = gguf.find(key(name));
  const auto* number = value ? std::get_if<uint64_t>(&value->value) : nullptr;
  if (!number) fail("{}: {}: missing, or not an unsigned number", gguf.path(), key(name));
  return *number;
}

int64_t required_count(const Gguf& gguf, std::string_view name) {
  const uint64_t number = required(gguf, name);
  if (number > uint64_t{1} << 62) fail("{}: {}: {} is no count", gguf.path(), key(name), number);
  return int64_t(number);
}

double finite(const Gguf& gguf, std::string_view name) {
  const auto value = gguf.get_float(key(name));
  if (!value || !std::isfinite(*value))
    fail("{}: {}: missing, or not a finite number", gguf.path(), key(name));
  return *value;
}

// Those that are there; all else of an evaluation may be missing.
template <class E, class Loss, class Count, class Text>
void for_each_field(E& e, const Loss& loss, const Count& count, const Text& text) {
  loss("val_loss_before", e.before);
  loss("best_val_loss", e.best);
  loss("last_val_loss", e.last);
  count("best_iteration", e.best_iteration);
  count("last_val_iteration", e.last_iteration);
  count("n_no_better", e.n_no_better);
  text("sample_prompt", e.sample_prompt);
  text("sample_before", e.sample_before);
  text("sample_best", e.sample_best);
}

Evaluations parse_evaluations(const Gguf& gguf) {
  Evaluations evaluations;
  for_each_field(
      evaluations,
      [&](std::string_view name, std::optional<double>& loss) {
        loss = gguf.get_float(key(name));
        // The first versions stored the best of held-out losses that were no numbers: there is none, then.
        if (loss && !std::isfinite(*loss)) loss.reset();
      },
      [&](std::string_view name, int64_t& count) {
        if (gguf.find(key(name))) count = required_count(gguf, name);
      },
      [&](std::string_view name, std::string& text) { text = gguf.get_string(key(name)).value_or(""); });
  return evaluations;
}

void write_evaluations(GgufWriter& writer, const Evaluations& evaluations) {
  for_each_field(
      evaluations,
      [&](std::string_view name, const std::optional<double>& loss) {
        if (loss) writer.set_f64(key(name), *loss);
      },
      [&](std::string_view name, int64_t count) {
        if (count > 0) writer.set_u64(key(name), uint64_t(count));
      },
      [&](std::string_view name, const std::string& text) {
        if (!text.empty()) writer.set_string(key(name), text);
      });
}

TrainState parse_state(const Gguf& gguf) {
  TrainState state;
  state.iteration = required_count(gguf, "iteration");
  state.cursor = uint64_t(required_count(gguf, "cursor"));
  state.seed = required(gguf, "seed");
  state.shuffle_seed = required(gguf, "shuffle_seed");
  state.shuffle_begin = required(gguf, "shuffle_begin");
  if (state.shuffle_begin > state.cursor) {
    fail("{}: {}: {} is behind the cursor {}", gguf.path(), key("shuffle_begin"), state.shuffle_begin,
         state.cursor);
  }
  state.convergence.losses = gguf.get_floats(key("losses")).value_or(std::vector<double>{});
  state.convergence.best = finite(gguf, "best_loss");
  state.convergence.n_no_improvement = required_count(gguf, "n_no_improvement");
  state.evaluations = parse_evaluations(gguf);
  state.evaluation_due = gguf.get_bool(key("evaluation_due")).value_or(false);
  return state;
}

Settings parse_settings(const Gguf& gguf, std::string_view prefix = kSetting) {
  Settings settings;
  for (const auto& [name, value] : gguf.values()) {
    if (!name.starts_with(prefix)) continue;
    const auto text = gguf.get_string(name);
    if (!text) fail("{}: {}: expected a text", gguf.path(), printable(name));
    settings.emplace_back(name.substr(prefix.size()), *text);
  }
  return settings;
}

// The pairs of a file, by their A and B; values are still to be read.
std::vector<LoraParameters::Pair> parse_pairs(const Gguf& gguf) {
  constexpr std::string_view kA = ".lora_a";
  std::vector<LoraParameters::Pair> pairs;
  for (const GgufTensor& a : gguf.tensors()) {
    if (!a.name.ends_with(kA)) continue;
    const std::string base = a.name.substr(0, a.name.size() - kA.size());
    const GgufTensor& b = gguf.tensor(base + ".lora_b");
    if (a.ne[1] != b.ne[0] || a.ne[2] != b.ne[2] || a.ne[3] != 1 || b.ne[3] != 1 || a.n_elements() < 1 ||
        b.n_elements() < 1) {
      fail("{}: tensor {}: {} does not fit its other half, {}", gguf.path(), printable(a.name), a.shape(),
           b.shape());
    }
    pairs.push_back({base, a.ne[0], b.ne[1], a.ne[1], 0, 0, a.ne[2]});
  }
  if (pairs.empty()) fail("{}: no adapter in it", gguf.path());
  return pairs;
}

}  // namespace

void write_checkpoint(const std::string& path, const TrainState& state, const Settings& settings,
                      Optimizer optimizer, const LoraParameters& parameters, const LbfgsHistory& lbfgs,
                      const Model& model) {
  GgufWriter writer;
  writer.set_string("general.type", "checkpoint");
  writer.set_string("general.architecture", std::string(model.config.architecture->name));
  writer.set_u32(key("version"), kVersion);
  writer.set_u64(key("iteration"), uint64_t(state.iteration));
  writer.set_f32(key("alpha"), parameters.alpha);
  writer.set_bool(key("rslora"), parameters.rslora);
  writer.set_string(key("optimizer"), std::string(name_of(optimizer)));
  writer.set_u64(key("seed"), state.seed);
  writer.set_u64(key("cursor"), state.cursor);
  writer.set_u64(key("shuffle_seed"), state.shuffle_seed);
  writer.set_u64(key("shuffle_begin"), state.shuffle_begin);
  writer.set_f64s(key("losses"), state.convergence.losses);
  writer.set_f64(key("best_loss"), state.convergence.best);
  writer.set_u64(key("n_no_improvement"), uint64_t(state.convergence.n_no_improvement));
  write_evaluations(writer, state.evaluations);
  if (state.evaluation_due) writer.set_bool(key("evaluation_due"), true);
  for (const auto& [name, value] : settings) writer.set_string(std::string(kSetting) + name, value);
  for (const auto& [name, value] : state.changeable)
    writer.set_string(std::string(kChangeable) + name, value);
  for_each_array(parameters, lbfgs, optimizer == Optimizer::adam,
                 [&](const std::string& name, const std::vector<int64_t>& ne, const float* data) {
                   int64_t n = 1;
                   for (int64_t extent : ne) n *= extent;
                   writer.add_tensor(name, Type::F32, ne, std::as_bytes(std::span(data, size_t(n))));
                 });
  writer.write(path, kChecksum);
}

void verify_checkpoint(std::span<const std::byte> bytes, const Gguf& gguf) {
  expect_kind(gguf);
  const GgufTensor& stored = gguf.tensor(kChecksum);
  uint64_t expected = 0;
  if (stored.data.size() != sizeof expected) fail("{}: tensor {}: not a number", gguf.path(), kChecksum);
  std::memcpy(&expected, stored.data.data(), sizeof expected);
  const size_t n_before = size_t(stored.data.data() - bytes.data());
  const auto behind = bytes.subspan(n_before + sizeof expected);
  const bool is_last = std::ranges::all_of(behind, [](std::byte b) { return b == std::byte{0}; });
  if (!is_last || checksum(bytes.first(n_before)) != expected) {
    fail("{}: the checksum does not agree: the file is damaged", gguf.path());
  }
}

Checkpoint parse_checkpoint(const Gguf& gguf) {
  expect_kind(gguf);
  Checkpoint c;
  c.architecture = gguf.get_string("general.architecture").value_or("");
  c.state = parse_state(gguf);
  c.state.changeable = parse_settings(gguf, kChangeable);
  const std::string optimizer = gguf.get_string(key("optimizer")).value_or("");
  if (optimizer != "adam" && optimizer != "lbfgs") {
    fail("{}: {}: expected adam or lbfgs, found '{}'", gguf.path(), key("optimizer"), printable(optimizer));
  }
  c.optimizer = optimizer == "adam" ? Optimizer::adam : Optimizer::lbfgs;
  c.settings = parse_settings(gguf);
  c.parameters = make_parameters(parse_pairs(gguf), float(finite(gguf, "alpha")),
                                 gguf.get_bool(key("rslora")).value_or(false));
  for (size_t i = 0; i < kLbfgsPairs && gguf.find_tensor(fmt::format("lbfgs.{}.s", i)); ++i) {
    c.lbfgs.pairs.push_back(
        {Buffer<float>(c.parameters.values.size()), Buffer<float>(c.parameters.values.size())});
  }
  size_t n_arrays = 1;  // the checksum
  for_each_array(c.parameters, c.lbfgs, c.optimizer == Optimizer::adam,
                 [&](const std::string& name, const std::vector<int64_t>& ne, float* data) {
                   const GgufTensor& tensor = gguf.tensor(name);
                   int64_t n = 1;
                   bool fits = tensor.type == Type::F32;
                   for (size_t i = 0; i < ne.size(); ++i) {
                     fits &= tensor.ne[i] == ne[i];
                     n *= ne[i];
                   }
                   if (!fits || tensor.n_elements() != n) {
                     fail("{}: tensor {}: {} {} is not what its adapter needs", gguf.path(), printable(name),
                          traits(tensor.type).name, tensor.shape());
                   }
                   std::memcpy(data, tensor.data.data(), tensor.data.size());
                   ++n_arrays;
                 });
  if (gguf.tensors().size() != n_arrays) {
    fail("{}: {} tensors, expected {}", gguf.path(), gguf.tensors().size(), n_arrays);
  }
  return c;
}

Checkpoint read_checkpoint(const std::string& path) {
  const MappedFile file(path);
  const Gguf gguf = Gguf::parse(file.bytes(), path);
  verify_checkpoint(file.bytes(), gguf);
  return parse_checkpoint(gguf);
}

CheckpointHead read_checkpoint_head(const std::string& path) {
  const Gguf gguf = Gguf::open(path);
  expect_kind(gguf);
  return {required_count(gguf, "iteration"), parse_settings(gguf)};
}

std::string setting(const Checkpoint& checkpoint, std::string_view name) {
  for (const auto& [key, value] : checkpoint.settings) {
    if (key == name) return value;
  }
  return "";
}

double number_setting(const Checkpoint& checkpoint, const std::string& path, std::string_view name) {
  const auto number = number_in<double>(setting(checkpoint, name));
  if (!number) fail("{}: setting {}: missing, or no number", path, name);
  return *number;
}

std::string run_id(Settings settings) {
  std::ranges::sort(settings);
  uint64_t h = kHashStart;
  for (const auto& [name, value] : settings) {
    for (const std::string& text : {name, value}) h = hash(fmt::format("{} {}", text.size(), text), h);
  }
  return fmt::format("{:016x}", h);
}

void expect_fits(const Settings& checkpoint, const std::string& path, const Settings& run,
                 const std::function<std::string(std::string_view)>& typed) {
  const auto value_in = [](const Settings& list, const std::string& name) {
    const auto found = std::ranges::find_if(list, [&](const auto& entry) { return entry.first == name; });
    const char* const unsaid = name == "--layers" ? "all" : "(none)";
    return found == list.end() ? std::string(unsaid) : found->second;
  };
  // Either list may have a setting that the other lacks.
  Settings names = run;
  names.insert(names.end(), checkpoint.begin(), checkpoint.end());
  for (const auto& [name, unused] : names) {
    const std::string then = value_in(checkpoint, name), now = value_in(run, name);
    // What the data are is known once they are read.
    const bool is_of_data = name == "data" || name == "conversations";
    if (then == now || (is_of_data && now == "(none)")) continue;
    if (name == "conversations") {
      fail(
          "{}: the conversations of --train-data are written down otherwise than when this run was begun: by "
          "another "
          "template or version; {}",
          path, kWaysOut);
    }
    if (name == "model" || name == "data") {
      fail("{}: {} differs: {} than this run was begun with; {}", path, name,
           name == "model" ? "--model-base is another file" : "--train-data is another text", kWaysOut);
    }
    fail("{}: {} differs: {} in the checkpoint, {} now; {}", path, printable(typed(name)), printable(then),
         printable(now), kWaysOut);
  }
}

void expect_fits(const Checkpoint& checkpoint, const std::string& path, const LoraParameters& parameters) {
  for (size_t i = 0; i < std::max(parameters.pairs.size(), checkpoint.parameters.pairs.size()); ++i) {
    const auto shape = [&](const LoraParameters& p) {
      if (i >= p.pairs.size()) return std::string("none");
      const auto& pair = p.pairs[i];
      return fmt::format("{} of rank {} ({} x {}{})", printable(pair.base), pair.rank, pair.n_in, pair.n_out,
                         pair.n_slices > 1 ? fmt::format(" x {}", pair.n_slices) : "");
    };
    const std::string then = shape(checkpoint.parameters), now = shape(parameters);
    if (then != now)
      fail("{}: trained tensors differ: {} in the checkpoint, {} now; {}", path, then, now, kWaysOut);
  }
}

}  // namespace lora
