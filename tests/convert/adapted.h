// For tests of adapters: a Hugging Face model, an adapter of it, and what the two are merged.
#pragma once

#include <gmock/gmock.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/head_parts.h"
#include "adapter/pairs.h"
#include "adapter/peft_test_files.h"
#include "convert/convert_lora.h"
#include "converted.h"
#include "family_models.h"
#include "gguf/safetensors.h"

namespace lora::test {

inline constexpr int64_t kRank = 2;
inline constexpr double kScale = 2;  // of plain_config

// values (n_rows, n_cols) plus scale B A.
inline void add_product(std::vector<float>& values, int64_t n_rows, int64_t n_cols, std::span<const float> a,
                        std::span<const float> b, int64_t rank, double scale) {
  for (int64_t row = 0; row < n_rows; ++row) {
    for (int64_t col = 0; col < n_cols; ++col) {
      double sum = 0;
      for (int64_t r = 0; r < rank; ++r)
        sum += double(b[size_t(row * rank + r)]) * double(a[size_t(r * n_cols + col)]);
      float& value = values[size_t(row * n_cols + col)];
      value = float(double(value) + scale * sum);
    }
  }
}

inline std::vector<float> with_adapter(const Gguf& gguf, const Adapter& whole, const std::string& tensor) {
  std::vector<float> values = values_of(gguf.tensor(tensor));
  Adapter adapter = whole;
  for (const LoraPair& pair : whole.pairs) {
    if (!whole.heads || !is_of_heads(pair.base)) continue;
    for (LoraPair& part : cut_pairs(pair, *whole.heads)) adapter.pairs.push_back(std::move(part));
  }
  const LoraPair* pair = adapter.find(tensor);
  if (!pair) return values;
  const int64_t n = pair->n_out * pair->n_in;
  for (int64_t slice = 0; slice < pair->n_slices; ++slice) {
    std::vector<float> one(values.begin() + slice * n, values.begin() + (slice + 1) * n);
    add_product(one, pair->n_out, pair->n_in,
                std::span(pair->a).subspan(size_t(slice * pair->rank * pair->n_in)),
                std::span(pair->b).subspan(size_t(slice * pair->n_out * pair->rank)), pair->rank,
                double(adapter.scale(*pair)));
    std::ranges::copy(one, values.begin() + slice * n);
  }
  return values;
}

// A model, an adapter on some of its modules, and the model merged with it.
struct Adapted {
  HfModel model, merged;
  PeftFiles peft{};
  Converted converted;
  std::vector<std::string> said{};

  explicit Adapted(const HfModel& m) : model(m), merged(model), converted(model) { converted.convert(); }
  explicit Adapted(const Architecture& family) : Adapted(family_model(family)) {}
  explicit Adapted(std::string_view family) : Adapted(*find_architecture(family)) {}

  // Hugging Face may have a column of a matrix for each output.
  bool is_transposed(const std::string& module) const {
    bool found = false;
    for_each_layer_module(*find_architecture(model.architecture)->hf, [&](const HfModule& m) {
      found = found || (m.transposed && !is_of_heads(m.stack) && module.ends_with(m.hf));
    });
    return found;
  }
  void add(const std::string& module, int64_t rank = kRank) {
    HfStored& weight = merged.tensors.at(module + ".weight");
    int64_t n_out = weight.shape[0], n_in = weight.shape[1];
    const std::string name = "base_model.model." + module;
    const bool turned = is_transposed(module);
    if (turned) {
      weight.values = transposed(weight.values, n_out, n_in);
      std::swap(n_out, n_in);
    }
    peft.pair(name, n_in, n_out, rank);
    add_product(weight.values, n_out, n_in, PeftFiles::a_of(name, rank * n_in),
                PeftFiles::b_of(name, n_out * rank), rank, kScale);
    if (turned) weight.values = transposed(weight.values, n_out, n_in);
    weight.bytes.assign(reinterpret_cast<const char*>(weight.values.data()),
                        weight.values.size() * sizeof(float));
  }
  std::string at(const std::string& name) const { return converted.folder.at(name); }

  ConvertLoraOptions options(const std::string& from, const std::string& base) const {
    ConvertLoraOptions o;
    o.input = at(from);
    o.base = at(base);
    return o;
  }
  void run(const ConvertLoraOptions& o) {
    convert_lora(o, [&](std::string_view line) { said.emplace_back(line); });
  }
  void write_peft() {
    fs::create_directories(at("peft"));
    peft.write(at("peft"));
  }
  Adapter to_gguf(const std::string& base = "out.gguf") {
    write_peft();
    ConvertLoraOptions o = options("peft", base);
    o.outfile = at("lora.gguf");
    run(o);
    return read_adapter(o.outfile, Gguf::open(at("out.gguf")));
  }
  void to_peft(const std::string& from, const std::string& to, const std::string& base = "out.gguf") {
    ConvertLoraOptions o = options(from, base);
    o.to_peft = at(to);
    run(o);
  }
  void expect_as_merged(const Adapter& adapter) const {
    const Gguf gguf = Gguf::open(at("out.gguf")), want = Converted(merged).convert();
    for (const GgufTensor& tensor : want.tensors()) {
      if (tensor.name == kTokenEmbedding) continue;
      const std::vector<float> found = with_adapter(gguf, adapter, tensor.name), expected = values_of(tensor);
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        ASSERT_NEAR(found[i], expected[i], 1e-5) << model.name << " " << tensor.name << " " << i;
      }
    }
  }
  void expect_same_folders(const std::string& first, const std::string& second) const {
    const SafeTensors a = SafeTensors::open(at(first + "/adapter_model.safetensors"));
    const SafeTensors b = SafeTensors::open(at(second + "/adapter_model.safetensors"));
    EXPECT_EQ(a.tensors().size(), b.tensors().size());
    for (const SafeTensor& tensor : a.tensors()) {
      const SafeTensor* found = b.find(tensor.name);
      ASSERT_NE(found, nullptr) << tensor.name;
      EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
      EXPECT_TRUE(std::ranges::equal(found->data, tensor.data)) << tensor.name;
    }
  }
};

}  // namespace lora::test
