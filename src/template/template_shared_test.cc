// The templates of real models against what Python's Jinja renders with them.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "template/template.h"
#include "template/template_test_util.h"

namespace lora::jinja {
namespace template_shared_test {

TEST(SharedTemplates, RenderAsPythonRendersThem) {
  const std::string folder = LORA_SHARED_DIR "/templates/";
  if (!std::filesystem::exists(folder + "cases.json")) GTEST_SKIP() << folder << " is not here";
  const auto cases = nlohmann::ordered_json::parse(read(folder + "cases.json"));
  const auto expected = nlohmann::ordered_json::parse(read(folder + "expected.json"));
  int64_t compared = 0;
  for (const auto& [file, renderings] : expected.items()) {
    const Template chat(read(folder + file));
    for (const auto& [name, want] : renderings.items()) {
      SCOPED_TRACE(file + " with " + name);
      EXPECT_EQ(outcome(chat, cases.at(name)), want);
      ++compared;
    }
  }
  EXPECT_GE(compared, 644);
}

}  // namespace template_shared_test
}  // namespace lora::jinja
