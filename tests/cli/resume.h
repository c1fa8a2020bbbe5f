// For tests of commands that are given twice: a run as most people write it, and its refusals.
#pragma once

#include <map>

#include "cli_test.h"

namespace lora::test {

using Args = std::vector<std::string>;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Resume : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override {
    folder.write("text.txt", ship_sentences());
    folder.write("other.txt", ship_sentences("<s>Once. "));
  }

  // Without --checkpoint-in, as most people write it.
  static Args flags(const Args& more = {}) {
    return Args{"finetune", "-m",          "model.gguf", "--train-data", "text.txt", "--sample-start",
                "<s>",      "--ctx",       "32",         "-b",           "2",        "--seed",
                "5",        "--adam-iter", "2",          "--threads",    "1"} +
           more;
  }
  RunResult run(const Args& more = {}) const {
    const RunResult result = folder.lora(flags(more));
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  }
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> bytes;
    for (const std::string& name : folder.names()) bytes[name] = folder.read(name);
    return bytes;
  }
  // Refused with both ways out, and nothing has changed.
  void expect_refused(const Args& more, const std::string& what) const {
    const auto before = files();
    const RunResult result = folder.lora(flags(more));
    expect_error(result, 1, what);
    EXPECT_THAT(result.err, AllOf(HasSubstr("--checkpoint-in '' begins anew"),
                                  HasSubstr("other names in --checkpoint-out and --lora-out")));
    EXPECT_TRUE(files() == before) << what;
  }
};

}  // namespace lora::test
