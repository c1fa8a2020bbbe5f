// The two files of a PEFT or MLX folder, put together by hand, for tests.
#pragma once

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/random.h"

namespace lora {

inline std::vector<float> numbers(int64_t n, uint64_t stream) {
  std::vector<float> result(static_cast<size_t>(n));
  for (size_t i = 0; i < result.size(); ++i) result[i] = random_uniform(3, Purpose::test, stream, i) - 0.5f;
  return result;
}

inline nlohmann::ordered_json plain_config(int rank = 2, double alpha = 4) {
  return {{"peft_type", "LORA"}, {"r", rank}, {"lora_alpha", alpha}, {"bias", "none"}};
}

struct PeftFiles {
  nlohmann::ordered_json config = plain_config(), header = nlohmann::ordered_json::object();
  std::string data{};

  // F32, row-major.
  void tensor(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
    const size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
  }
  void pair(const std::string& module, int64_t n_in, int64_t n_out, int64_t rank) {
    tensor(module + ".lora_A.weight", {rank, n_in}, a_of(module, rank * n_in));
    tensor(module + ".lora_B.weight", {n_out, rank}, b_of(module, n_out * rank));
  }
  static std::vector<float> a_of(const std::string& module, int64_t n) {
    return numbers(n, stream_id(module));
  }
  static std::vector<float> b_of(const std::string& module, int64_t n) {
    return numbers(n, stream_id(module) + 1);
  }

  std::string safetensors() const {
    const std::string text = header.dump();
    const uint64_t size = text.size();
    return std::string(reinterpret_cast<const char*>(&size), 8) + text + data;
  }
  void write(const std::string& folder, const std::string& weights = "adapter_model.safetensors") const {
    std::ofstream(folder + "/adapter_config.json", std::ios::binary) << config.dump();
    std::ofstream(folder + "/" + weights, std::ios::binary) << safetensors();
  }
};

}  // namespace lora
