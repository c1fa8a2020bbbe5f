// Small templates over the whole language, against what Python's Jinja makes of them
// (tests/golden/make_jinja.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "template/template_test_util.h"

namespace lora::jinja {
namespace template_golden_test {

TEST(Golden, TemplatesRenderAsPythonRendersThem) {
  const auto golden = nlohmann::ordered_json::parse(read(LORA_SOURCE_DIR "/tests/golden/jinja.json"));
  size_t compared = 0;
  for (const auto& want : golden.at("cases")) {
    const std::string source = want.at("template");
    SCOPED_TRACE(source);
    const auto got = outcome(source, golden.at("variables"));
    ++compared;
    if (want.contains("text")) {
      EXPECT_EQ(got.value("text", got.dump()), want.at("text").get<std::string>());
      continue;
    }
    // Only the type where the message differs from one version of Python to the next.
    const std::string error = want.at("error");
    std::string found = got.value("error", "the text " + got.dump());
    if (error.find(':') == error.npos) found = found.substr(0, found.find(':'));
    EXPECT_EQ(found, error);
  }
  EXPECT_GT(compared, 1300u);
}

}  // namespace template_golden_test
}  // namespace lora::jinja
