// SillyTavern's chats as samples: exactly what is read, and what of it is trained on.
#include <gmock/gmock.h>

#include "data/data_test_util.h"

namespace lora {
namespace sillytavern_samples_test {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kChat =
    R"({"user_name":"Ann","character_name":"Bo","chat_metadata":{}}
{"name":"Bo","is_user":false,"mes":"Hello {{user}}"}
{"name":"Ann","is_user":true,"mes":"Who are you?"}
{"name":"Bo","is_user":false,"mes":"I am {{char}}."}
)";

TextOptions options_with(bool names, const std::string& card = "") {
  TextOptions options;
  options.chat_template = "zephyr";
  options.n_ctx = 512;
  options.names = names;
  options.card = card;
  return options;
}

Dataset dataset_of_files(const std::vector<std::string>& paths, const TextOptions& options) {
  ThreadPool pool(2);
  return Dataset(paths, tiny_tokenizer(), options, pool);
}

TEST(SillyTavernSamples, EveryMessageOfTheCharacterIsTrainedOn) {
  const ScratchFile chat("chat.jsonl", kChat);
  EXPECT_EQ(
      marked(dataset_of_files({chat.path}, options_with(false))),
      " <|assistant|>\n{+Hello Ann</s>+} \n<|user|>\nWho are you?</s> \n<|assistant|>\n{+I am Bo.</s>+}");
  EXPECT_EQ(marked(dataset_of_files({chat.path}, options_with(true))),
            " <|assistant|>\n{+Bo: Hello Ann</s>+} \n<|user|>\nAnn: Who are you?</s> \n"
            "<|assistant|>\n{+Bo: I am Bo.</s>+}");
}

TEST(SillyTavernSamples, OneCardGoesBeforeAllChats) {
  const ScratchFile chat("a.jsonl", kChat), other("b.jsonl", R"({"name":"Cy","is_user":false,"mes":"Hm"})"),
      record("c.jsonl", R"({"text":"plain"})"),
      card("card.json",
           R"({"name":"Bo","description":"{{char}} is kind.","first_mes":"x","system_prompt":""})");
  const Dataset data = dataset_of_files({chat.path, other.path, record.path}, options_with(false, card.path));
  ASSERT_EQ(data.n_samples(), 3);
  EXPECT_THAT(marked(data, 0),
              testing::StartsWith(" <|system|>\nBo is kind.</s> \n<|assistant|>\n{+Hello Ann</s>+}"));
  EXPECT_EQ(marked(data, 1), " <|system|>\nCy is kind.</s> \n<|assistant|>\n{+Hm</s>+}");
  EXPECT_EQ(marked(data, 2), "{+ plain</s>+}");
  const TavernReport& report = data.report().tavern;
  EXPECT_EQ(report.n_chats, 2);
  EXPECT_EQ(report.card, card.path + " (Bo)");
  EXPECT_THAT(report.used, ElementsAre("description"));
  EXPECT_EQ(report.n_strange, 1);
  EXPECT_EQ(report.first_strange, other.path + ": Cy");
  EXPECT_EQ(test::error_of([&] { dataset_of_files({record.path}, options_with(false, card.path)); }),
            "--card: there is no SillyTavern chat in " + record.path);
  EXPECT_THAT(test::error_of([&] { dataset_of_files({chat.path}, options_with(false, record.path)); }),
              HasSubstr("c.jsonl: no character card: it has no name"));
}

}  // namespace sillytavern_samples_test
}  // namespace lora
