// SillyTavern's chats and cards on the command line: what is said of them, and what a run keeps of the flags.
#include "cli_test.h"

namespace lora::test {
namespace sillytavern_test {

using Args = std::vector<std::string>;
using testing::HasSubstr;
using testing::Not;

class SillyTavern : public testing::Test {
 protected:
  Folder folder;

  SillyTavern() {
    folder.write("bo.jsonl", R"({"user_name":"Ann","character_name":"Bo"}
{"name":"Bo","is_user":false,"mes":"Hello {{user}}"}
{"name":"Ann","is_user":true,"mes":"Is it {{time}}?"}
{"name":"Bo","is_user":false,"mes":"Yes."})");
    folder.write("group.jsonl", R"({"name":"Cy","is_user":false,"mes":"Hm"}
{"name":"Dot","is_user":false,"mes":"Oh"}
{"name":"Dot","is_user":false,"is_system":true,"mes":"hidden"})");
    folder.write("card.json", R"({"name":"Bo","description":"{{char}} is kind.","personality":"calm",)"
                              R"("post_history_instructions":"Be brief."})");
  }

  RunResult shown(const Args& flags) const {
    return folder.lora(Args{"tokenize", "-m", "model.gguf", "--chat-template", "vicuna", "-c", "256",
                            "--train-data", "bo.jsonl", "--train-data", "group.jsonl"} +
                       flags);
  }
};

TEST_F(SillyTavern, WhatIsReadIsShownAndWhatIsNotIsSaid) {
  const RunResult plain = shown({});
  EXPECT_EQ(plain.status, 0) << plain.err;
  EXPECT_THAT(plain.out, HasSubstr("{+ Hello Ann</s>+}"));
  EXPECT_THAT(plain.err,
              HasSubstr("data: in 1 chat several characters speak, who cannot be told apart without "
                        "--names; the first: group.jsonl: Cy and Dot\n"));
  EXPECT_THAT(plain.err, HasSubstr("data: 1 hidden message of SillyTavern left out\n"));
  EXPECT_THAT(plain.err,
              HasSubstr("warning: macros that stay as they are, as nothing says what they stand for: "
                        "{{time}} (1)\n"));
  EXPECT_THAT(plain.err, Not(HasSubstr("system message")));

  const RunResult full = shown({"--names", "--card", "card.json"});
  EXPECT_EQ(full.status, 0) << full.err;
  EXPECT_THAT(full.out, HasSubstr("Bo is kind.\nBo's personality: calm"));
  EXPECT_THAT(full.out, HasSubstr("{+ Bo: Hello Ann</s>+}"));
  EXPECT_THAT(full.out, HasSubstr("Ann: Is it {{time}}?"));
  EXPECT_THAT(full.err,
              HasSubstr("data: system message from card.json (Bo): description, personality; not used: "
                        "post_history_instructions\n"));
  EXPECT_THAT(
      full.err,
      HasSubstr("data: the card is of another character than 1 chat, the first: group.jsonl: Cy and Dot\n"));
  EXPECT_THAT(full.err, Not(HasSubstr("told apart")));
}

TEST_F(SillyTavern, FlagsWithoutAChatAreAnErrorOrSaid) {
  folder.write("a.jsonl", R"({"text":"plain"})");
  const Args tokenize = {"tokenize", "-m", "model.gguf", "--train-data", "a.jsonl"};
  expect_error(folder.lora(tokenize + Args{"--card", "card.json"}), 1,
               "--card: there is no SillyTavern chat in a.jsonl");
  EXPECT_THAT(folder.lora(tokenize + Args{"--names"}).err,
              HasSubstr("warning: --names has no effect: there is no SillyTavern chat\n"));
  expect_error(folder.lora(tokenize + Args{"--card", "none.json"}), 1, "none.json: cannot open");
  expect_error(folder.lora(tokenize + Args{"--card", "model.gguf"}), 1,
               "model.gguf: not a character card: it is");
  expect_error(folder.lora(tokenize + Args{"--overlap-turns", "-1"}), 2, "--overlap-turns: expected");
}

// They change what is trained on.
TEST_F(SillyTavern, ARunGoesOnWithItsOwnNamesAndCardAlone) {
  const auto finetune = [&](const Args& flags, int64_t n_iterations) {
    return folder.lora(Args{"finetune", "-m", "model.gguf", "--train-data", "bo.jsonl", "--chat-template",
                            "vicuna", "--lora-out", "", "-c", "128", "--adam-iter",
                            std::to_string(n_iterations), "--seed", "1"} +
                       flags);
  };
  const Args flags = {"--names", "--card", "card.json", "--overlap-turns", "2"};
  const RunResult begun = finetune(flags, 1);
  ASSERT_EQ(begun.status, 0) << begun.err;
  EXPECT_EQ(finetune(flags, 2).status, 0);
  expect_error(finetune({"--card", "card.json", "--overlap-turns", "2"}, 3), 1,
               "--names differs: on in the checkpoint");
  expect_error(finetune({"--names", "--card", "card.json"}, 3), 1,
               "--overlap-turns differs: 2 in the checkpoint");
  folder.write("card.json", R"({"name":"Bo","description":"{{char}} is not."})");
  expect_error(finetune(flags, 3), 1, "--card differs: ");
  expect_error(finetune({"--names", "--card", "bo.jsonl", "--overlap-turns", "2"}, 3), 1,
               "bo.jsonl: no valid JSON in UTF-8");
}

}  // namespace sillytavern_test
}  // namespace lora::test
