// For tests of outputs: a folder of their own, by way of base/ alone, which takes names of any length.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <set>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"

namespace lora {

using Names = std::set<std::string>;

class Outputs : public testing::Test {
 protected:
  const std::string folder = testing::TempDir() + "lora_outputs_" + std::to_string(process_id()) + "/";
  const std::string out = folder + "out";

  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }

  void put(const std::string& name, const std::string& text) const {
    remove_name(folder + name);
    SystemFile file;
    size_t n = 0;
    ASSERT_FALSE(file.create(folder + name, "") || file.write_at(0, text.data(), text.size(), n)) << name;
    ASSERT_EQ(n, text.size());
  }
  std::string text(const std::string& name) const { return std::string(MappedFile(folder + name).text()); }
  Names names() const {
    std::vector<std::string> all;
    EXPECT_FALSE(list_folder(folder, all));
    return {all.begin(), all.end()};
  }
  static void write(const std::string& path, const std::string& text) {
    AtomicFile file(path);
    file.write(text);
    file.commit();
  }
  static std::string error_of(const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
};

}  // namespace lora
