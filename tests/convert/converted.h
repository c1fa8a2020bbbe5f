// For tests of conversion: a model's folder, and what is made of it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/process.h"
#include "convert/convert.h"
#include "gguf/gguf.h"
#include "gguf/test_files.h"
#include "hf_models.h"

namespace lora::test {

namespace fs = std::filesystem;

inline const std::string kVocabulary = LORA_SOURCE_DIR "/models/tiny-q8_0.gguf";

struct Folder {
  std::string path;
  Folder() {
    static int n = 0;
    path = testing::TempDir() + fmt::format("lora_convert_{}_{}", process_id(), n++);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string at(const std::string& name) const { return path + "/" + name; }
  void write(const std::string& name, std::string_view text) const {
    std::ofstream(at(name), std::ios::binary).write(text.data(), std::streamsize(text.size()));
  }
  std::string read(const std::string& name) const {
    std::ifstream in(at(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::set<std::string> names() const {
    std::set<std::string> result;
    for (const auto& entry : fs::directory_iterator(path)) result.insert(entry.path().filename().string());
    return result;
  }
};

inline const std::vector<HfModel>& models() {
  static const std::vector<HfModel> all = make_hf_models();
  return all;
}

inline const HfModel& model_named(const std::string& name) {
  for (const HfModel& model : models()) {
    if (model.name == name) return model;
  }
  throw std::runtime_error(name);
}

// One model's folder, and what conversion makes of it.
struct Converted {
  Folder folder;
  explicit Converted(const HfModel& model) { write_hf_folder(model, folder.at("hf"), kVocabulary); }
  explicit Converted(const std::string& name) : Converted(model_named(name)) {}

  ConvertOptions options(const std::string& type = "f32") const {
    ConvertOptions o;
    o.folder = folder.at("hf");
    o.outfile = folder.at("out.gguf");
    o.outtype = type;
    o.n_threads = 2;
    return o;
  }
  Gguf convert(const ConvertOptions& o) const { return Gguf::open(lora::convert(o, {}).files.front()); }
  Gguf convert(const std::string& type = "f32") const { return convert(options(type)); }
  // What is thrown; nothing may be left beside the input.
  std::string error(const std::string& type = "f32") const {
    const std::string message = error_of([&] { convert(type); });
    EXPECT_THAT(folder.names(), testing::ElementsAre("hf")) << message;
    return message;
  }
};

inline std::vector<float> values_of(const GgufTensor& tensor) {
  std::vector<float> values(size_t(tensor.n_elements()));
  traits(tensor.type).decode(values.data(), tensor.data.data(), tensor.n_elements());
  return values;
}

}  // namespace lora::test
