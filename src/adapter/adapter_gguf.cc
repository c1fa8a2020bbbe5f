#include <algorithm>
#include <cmath>
#include <deque>

#include "adapter/adapter.h"
#include "adapter/head_parts.h"
#include "adapter/pairs.h"
#include "base/error.h"
#include "base/printable.h"

namespace lora {
namespace {

constexpr std::string_view kFactPrefix = "lora_cpp.";
constexpr std::string_view kRopeFreqBase = "lora_cpp.rope_freq_base";
constexpr std::string_view kRopeFreqScale = "lora_cpp.rope_freq_scale";

void expect_string(const Gguf& file, const std::string& key, const std::string& expected) {
  const auto found = file.get_string(key);
  if (found == expected) return;
  fail("{}: not a LoRA adapter: key {}: expected \"{}\", found {}", file.path(), key, expected,
       found ? fmt::format("\"{}\"", printable(*found)) : "none");
}

std::optional<float> finite_float(const Gguf& file, std::string_view key) {
  const auto value = file.get_float(key);
  if (!value) return std::nullopt;
  if (!std::isfinite(float(*value)))
    fail("{}: key {}: expected a finite number, found {}", file.path(), key, *value);
  return float(*value);
}

// Keys adapter.* say how the tensors are meant.
void check_keys(const Gguf& file) {
  for (const auto& [key, value] : file.values()) {
    if (!key.starts_with("adapter.") || key == "adapter.type" || key == "adapter.lora.alpha") continue;
    if (key == "adapter.lora.task_name" || key == "adapter.lora.prompt_prefix") continue;  // for people
    if (key.starts_with("adapter.alora.")) {
      fail("{}: key {}: activated LoRA, which counts from certain tokens on, is not supported", file.path(),
           printable(key));
    }
    fail("{}: key {}: not known, and may change what the tensors mean", file.path(), printable(key));
  }
}

LoraHalf read_half(const GgufTensor& tensor, const std::string& path) {
  LoraHalf half;
  half.tensor = printable(tensor.name);
  half.is_b = tensor.name.ends_with(".lora_b");
  if (!half.is_b && !tensor.name.ends_with(".lora_a")) {
    fail("{}: tensor {}: expected a name that ends in .lora_a or .lora_b", path, half.tensor);
  }
  half.base = tensor.name.substr(0, tensor.name.size() - std::string_view(".lora_a").size());
  if (tensor.ne[3] != 1 || tensor.ne[2] < 1) {
    fail("{}: tensor {}: expected a matrix or a stack of some, found {}", path, half.tensor, tensor.shape());
  }
  half.n_slices = tensor.ne[2];
  const TypeTraits& type = traits(tensor.type);
  if (type.decode == nullptr) {
    fail("{}: tensor {}: expected numbers of a floating or quantized type, found {}", path, half.tensor,
         type.name);
  }
  half.n_rows = tensor.ne[1];
  half.n_cols = tensor.ne[0];
  check_not_empty(half, path);
  half.values.resize(size_t(tensor.n_elements()));
  type.decode(half.values.data(), tensor.data.data(), tensor.n_elements());
  if (half.base == kTokenEmbedding && !half.is_b && half.n_slices == 1) {
    half.values = transposed(half.values, half.n_rows, half.n_cols);
    std::swap(half.n_rows, half.n_cols);
  }
  return half;
}

}  // namespace

std::string hf_repository(std::string_view url) {
  constexpr std::string_view kSite = "https://huggingface.co/";
  if (!url.starts_with(kSite)) return "";
  url.remove_prefix(kSite.size());
  if (url.ends_with('/')) url.remove_suffix(1);
  const bool is_model = std::ranges::count(url, '/') == 1 && !url.starts_with('/') &&
                        !url.starts_with("datasets/") && !url.starts_with("spaces/");
  return is_model && !url.ends_with('/') ? std::string(url) : "";
}

Adapter read_adapter_gguf(const std::string& path) {
  return parse_adapter_gguf(Gguf::open(path));
}

Adapter parse_adapter_gguf(const Gguf& file) {
  expect_string(file, "general.type", "adapter");
  expect_string(file, "adapter.type", "lora");
  check_keys(file);
  Adapter adapter;
  const auto architecture = file.get_string("general.architecture");
  if (!architecture) fail("{}: key general.architecture: missing", file.path());
  adapter.architecture = *architecture;
  adapter.alpha = finite_float(file, "adapter.lora.alpha").value_or(0);
  adapter.name = file.get_string("general.name").value_or("");
  // As llama.cpp's converter writes it, the name there is split into parts for people.
  adapter.base_model = hf_repository(file.get_string("general.base_model.0.repo_url").value_or(""));
  if (adapter.base_model.empty())
    adapter.base_model = file.get_string("general.base_model.0.name").value_or("");
  adapter.rope_freq_base = finite_float(file, kRopeFreqBase);
  adapter.rope_freq_scale = finite_float(file, kRopeFreqScale);
  for (const auto& [key, value] : file.values()) {
    if (!key.starts_with(kFactPrefix) || value.type != GgufValueType::string) continue;
    adapter.facts.emplace_back(key.substr(kFactPrefix.size()), std::get<std::string>(value.value));
  }
  std::vector<LoraHalf> halves;
  for (const GgufTensor& tensor : file.tensors()) halves.push_back(read_half(tensor, file.path()));
  pair_up(adapter, join_halves(std::move(halves), adapter.heads, file.path()), file.path());
  return adapter;
}

void write_adapter_gguf(const Adapter& adapter, const std::string& path, Type type) {
  for (const auto& [name, value] : {std::pair{"alpha", std::optional(adapter.alpha)},
                                    {"rope_freq_base", adapter.rope_freq_base},
                                    {"rope_freq_scale", adapter.rope_freq_scale}}) {
    if (value && !std::isfinite(*value)) fail("{}: {}: {} is beyond what F32 holds", path, name, *value);
  }
  GgufWriter writer;
  writer.set_string("general.architecture", adapter.architecture);
  writer.set_string("general.type", "adapter");
  if (!adapter.name.empty()) writer.set_string("general.name", adapter.name);
  if (!adapter.base_model.empty()) {
    writer.set_u32("general.base_model.count", 1);
    writer.set_string("general.base_model.0.name", adapter.base_model);
  }
  writer.set_string("adapter.type", "lora");
  writer.set_f32("adapter.lora.alpha", adapter.alpha);
  for (const auto& [name, value] : adapter.facts) {
    const std::string key = std::string(kFactPrefix) + name;
    if (key == kRopeFreqBase || key == kRopeFreqScale) fail("{}: fact {}: the name is taken", path, name);
    writer.set_string(key, value);
  }
  if (adapter.rope_freq_base) writer.set_f32(std::string(kRopeFreqBase), *adapter.rope_freq_base);
  if (adapter.rope_freq_scale) writer.set_f32(std::string(kRopeFreqScale), *adapter.rope_freq_scale);

  // The writer refers to bytes until the end.
  std::vector<float> embedding_a;
  std::deque<LoraHalf> parts;
  std::deque<std::vector<std::byte>> encoded;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& ne,
                       const std::vector<float>& values) {
    if (type == Type::F32) {
      check_values(values, type, path, name);
      return writer.add_tensor(name, type, ne, std::as_bytes(std::span(values)));
    }
    encoded.push_back(encode_matrix(values, type, path, name));
    writer.add_tensor(name, type, ne, encoded.back());
  };
  for (const LoraPair& pair : adapter.pairs) {
    if (adapter.heads && is_of_heads(pair.base)) {
      for (LoraHalf& cut : cut_halves(pair, *adapter.heads)) {
        const LoraHalf& half = parts.emplace_back(std::move(cut));
        add(half.tensor, lora_ne(half.n_cols, half.n_rows, half.n_slices), half.values);
      }
      continue;
    }
    if (pair.base == kTokenEmbedding) {
      embedding_a = transposed(pair.a, pair.rank, pair.n_in);
      add(pair.base + ".lora_a", {pair.rank, pair.n_in}, embedding_a);
    } else {
      add(pair.base + ".lora_a", lora_ne(pair.n_in, pair.rank, pair.n_slices), pair.a);
    }
    add(pair.base + ".lora_b", lora_ne(pair.rank, pair.n_out, pair.n_slices), pair.b);
  }
  writer.write(path);
}

}  // namespace lora
