// Types that llama.cpp's quantizer (0.7.0, `llama-quantize --dry-run`) gives the tensors of mixtures of
// experts: tests/golden/mixture-types.json, by family, layers, experts, heads and heads of keys.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "convert/mixes.h"
#include "convert/test_models.h"

namespace lora {
namespace mixtures_test {

using nlohmann::json;
using test::TemporaryFolder;

struct Mixture {
  std::string family;
  int64_t n_layers = 0, n_expert = 0, n_head = 0, n_head_kv = 0;
};

Mixture read_name(const std::string& name) {
  std::istringstream in(name);
  Mixture m;
  in >> m.family >> m.n_layers >> m.n_expert >> m.n_head >> m.n_head_kv;
  return m;
}

// A model of these names, every matrix of two rows of 256 zeros.
Gguf write_model(const Mixture& m, const json& golden, const std::string& path) {
  GgufWriter writer;
  writer.set_string("general.architecture", m.family);
  writer.set_u32(m.family + ".block_count", uint32_t(m.n_layers));
  writer.set_u32(m.family + ".expert_count", uint32_t(m.n_expert));
  writer.set_u32(m.family + ".attention.head_count", uint32_t(m.n_head));
  writer.set_u32(m.family + ".attention.head_count_kv", uint32_t(m.n_head_kv));
  const std::vector<std::byte> zeros(size_t(256 * 2 * m.n_expert) * sizeof(float));
  const auto add = [&](const std::string& prefix, const json& names) {
    std::istringstream each(names.get<std::string>());
    size_t n_dims = 0;
    for (std::string name; each >> name >> n_dims;) {
      std::vector<int64_t> ne = {256, 2, m.n_expert};
      ne.resize(n_dims);
      size_t bytes = sizeof(float);
      for (const int64_t n : ne) bytes *= size_t(n);
      writer.add_tensor(prefix + name, Type::F32, ne, std::span(zeros).first(bytes));
    }
  };
  add("", golden["tensors"]);
  int64_t layer = 0;
  for (const json& group : golden["layers"]) {
    for (int64_t i = 0; i < group[0]; ++i) add(fmt::format("blk.{}.", layer++), group[1]);
  }
  EXPECT_EQ(layer, m.n_layers);
  writer.write(path);
  return Gguf::open(path);
}

// "Q6_K*2 Q4_K": Q6_K, Q6_K, Q4_K; "-" where a layer has no such tensor
std::vector<std::string> unpacked(const std::string& types) {
  std::vector<std::string> all;
  std::istringstream each(types);
  for (std::string run; each >> run;) {
    const size_t star = run.find('*');
    all.insert(all.end(), star == run.npos ? 1 : std::stoul(run.substr(star + 1)), run.substr(0, star));
  }
  return all;
}

TEST(Mixes, MixturesGetLlamaCppsTypes) {
  const auto cases = json::parse(std::ifstream(LORA_SOURCE_DIR "/tests/golden/mixture-types.json"));
  EXPECT_GE(cases.size(), 14u);
  for (const auto& [name, golden] : cases.items()) {
    const TemporaryFolder folder;
    const Gguf model = write_model(read_name(name), golden, folder.at("model.gguf"));
    for (const auto& [mix, groups] : golden["types"].items()) {
      std::map<std::string, std::string> expected;  // of those that do not stay F32
      for (const auto& [types, tensors] : groups.items()) {
        const std::vector<std::string> each = unpacked(types);
        std::istringstream names(tensors.get<std::string>());
        for (std::string tensor; names >> tensor;) {
          for (size_t i = 0; i < each.size(); ++i) {
            const bool in_layers = !model.find_tensor(tensor);
            if (each[i] != "-") expected[in_layers ? fmt::format("blk.{}.{}", i, tensor) : tensor] = each[i];
          }
        }
      }
      ASSERT_NE(find_mix(mix), nullptr) << mix;
      const auto choices = choose_types(model, *find_mix(mix), {});
      for (size_t i = 0; i < choices.size(); ++i) {
        const std::string& tensor = model.tensors()[i].name;
        const auto found = expected.find(tensor);
        EXPECT_EQ(traits(choices[i].type).name, found == expected.end() ? "F32" : found->second)
            << name << ' ' << mix << ' ' << tensor;
      }
    }
  }
}

}  // namespace mixtures_test
}  // namespace lora
