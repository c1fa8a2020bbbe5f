// For tests of merging: a small model, adapters of random numbers, and what the two compute.
#pragma once

#include <cmath>
#include <fstream>
#include <list>
#include <numeric>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/parameters.h"
#include "base/error.h"
#include "convert/merge.h"
#include "convert/test_models.h"
#include "generate/session.h"
#include "model/step.h"

namespace lora::test {

inline std::string bytes_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<float> values_of(const GgufTensor& tensor) {
  std::vector<float> values(size_t(tensor.n_elements()));
  traits(tensor.type).decode(values.data(), tensor.data.data(), tensor.n_elements());
  return values;
}

inline bool same_bytes(const GgufTensor& a, const GgufTensor& b) {
  return a.type == b.type && a.shape() == b.shape() && std::ranges::equal(a.data, b.data);
}

// An adapter of random numbers for the tensors given, of a size that shows.
inline Adapter make_adapter(const Gguf& base, const std::vector<std::string>& tensors, int64_t rank,
                            uint64_t seed, float size = 0.3f) {
  Adapter adapter;
  adapter.architecture = base.get_string("general.architecture").value();
  adapter.alpha = 2 * float(rank);
  for (const std::string& name : tensors) {
    const GgufTensor& tensor = base.tensor(name);
    const bool flipped = name == kTokenEmbedding;
    LoraPair pair{name, tensor.ne[flipped ? 1 : 0], tensor.ne[flipped ? 0 : 1], rank, {}, {}};
    const auto numbers = [&](int64_t n, uint64_t which) {
      std::vector<float> values(static_cast<size_t>(n));
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = size * (random_uniform(seed, Purpose::test, stream_id(name) + which, i) - 0.5f);
      return values;
    };
    pair.a = numbers(rank * pair.n_in, 0), pair.b = numbers(pair.n_out * rank, 1);
    adapter.pairs.push_back(std::move(pair));
  }
  return adapter;
}

// A model, two adapters that overlap, and what is merged of them.
struct Fixture {
  TemporaryFolder folder;
  std::string base, out = folder.at("out.gguf");
  explicit Fixture(const ModelShape& shape) : base(TestModel(shape).write(folder.at("base.gguf"))) {}

  std::string adapter(const std::string& name, const std::vector<std::string>& tensors, int64_t rank,
                      float size = 0.3f) const {
    write_adapter_gguf(make_adapter(Gguf::open(base), tensors, rank, uint64_t(rank), size), folder.at(name));
    return folder.at(name);
  }
  MergeOptions options(std::vector<LoraFile> loras) const {
    return {base, out, std::move(loras), "", nullptr, 2};
  }
  std::string error(const MergeOptions& o) const {
    const size_t n_files = folder.n_files();
    try {
      merge(o, {});
    } catch (const Error& e) {
      EXPECT_EQ(folder.n_files(), n_files) << e.what();
      return e.what();
    }
    return "no error";
  }
};

inline std::vector<LoraFile> two_adapters(const Fixture& f, bool output) {
  std::vector<std::string> first = {"token_embd.weight", "blk.0.attn_q.weight", "blk.1.ffn_down.weight"};
  if (output) first.push_back("output.weight");
  return {
      {f.adapter("first.gguf", first, 3), 0.7},
      {f.adapter("second.gguf", {"blk.1.ffn_down.weight", "blk.1.attn_v.weight", "blk.0.attn_q.weight"}, 8),
       -1.5}};
}

inline std::vector<float> logits_of(const std::string& path, const std::vector<LoraFile>& loras,
                                    const RopeValues& rope = {}) {
  std::list<Adapter> adapters;
  Model model = load_model(path, {rope.freq_base, rope.freq_scale, {}});
  for (const LoraFile& file : loras) {
    adapters.push_back(read_adapter(file.path, model.gguf));
    attach(model, adapters.back(), float(file.scale));
  }
  std::vector<int32_t> ids(40), targets(40, -1), positions(40);
  std::iota(positions.begin(), positions.end(), 0);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t(i * 7 % 48);
  const AttentionSegment whole = {0, 40, 0, 40};
  ThreadPool pool(2);
  Step step(model, plan_step(model, 40, 40, 0, false, GemmInput::f32, 2), GemmInput::f32, pool);
  std::vector<float> logits(ids.size() * size_t(model.config.n_vocab));
  step.logits(logits.data(), {ids, targets, positions, {&whole, 1}});
  return logits;
}

inline double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double d = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    d = std::max(d, std::fabs(double(a[i]) - double(b[i])));
    size = std::max(size, std::fabs(double(b[i])));
  }
  return d / size;
}

}  // namespace lora::test
