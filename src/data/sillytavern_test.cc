#include "data/sillytavern.h"

#include <gmock/gmock.h>

#include "data/data_test_util.h"

namespace lora {
namespace {

using testing::ElementsAre;

constexpr std::string_view kSillyTavern =
    R"({"user_name":"Ann","character_name":"Bo","chat_metadata":{}}
{"name":"Bo","is_user":false,"mes":"Hello"}
{"name":"Ann","is_user":true,"mes":"Hi"}
{"name":"System","is_user":false,"is_system":true,"mes":"hidden"}
{"name":"Bo","is_user":false,"mes":"Bye"}
)";

TEST(SillyTavern, LinesAreOneConversation) {
  const auto chat = read_sillytavern_chat(kSillyTavern, RecordFormat::jsonl, nullptr);
  ASSERT_TRUE(chat && chat->is_chat);
  ASSERT_EQ(chat->messages.size(), 3u);
  EXPECT_EQ(chat->messages[0].role, "assistant");
  EXPECT_EQ(chat->messages[0].content, "Hello");
  EXPECT_EQ(chat->messages[1].role, "user");
  EXPECT_EQ(chat->messages[2].content, "Bye");
  EXPECT_FALSE(read_sillytavern_chat(R"({"text":"a"})", RecordFormat::jsonl, nullptr));
  EXPECT_FALSE(read_sillytavern_chat("", RecordFormat::jsonl, nullptr));
}

TEST(SillyTavern, OwnFieldsAreNotListedAndWhatTheModelSawIs) {
  const auto chat = read_sillytavern_chat(
      R"({"user_name":"Ann","character_name":"Bo","chat_metadata":{"a":1},"create_date":"x"}
{"name":"Bo","is_user":false,"is_system":false,"send_date":"x","mes":"Hello","extra":{"api":"x","reasoning":"why"},"swipes":["a","b"],"swipe_id":0,"gen_started":"x"}
{"name":"Ann","is_user":true,"mes":"Hi","mood":"good","extra":{}}
)",
      RecordFormat::jsonl, nullptr);
  EXPECT_THAT(chat->ignored, ElementsAre("extra.reasoning", "mood"));
}

TEST(SillyTavern, BadLinesAreErrorsOrSkipped) {
  const std::string text = std::string(kSillyTavern) + "{\"text\":\"a\"}\n{";
  EXPECT_EQ(test::error_of([&] { read_sillytavern_chat(text, RecordFormat::jsonl, nullptr); }),
            "line 6: no line of a SillyTavern chat: it has no mes");
  std::vector<std::string> skipped;
  EXPECT_EQ(read_sillytavern_chat(text, RecordFormat::jsonl, &skipped)->messages.size(), 3u);
  EXPECT_THAT(skipped, ElementsAre("line 6: no line of a SillyTavern chat: it has no mes",
                                   "line 7: no valid JSON in UTF-8"));
}

}  // namespace
}  // namespace lora
