#include "data/sillytavern.h"

#include <gmock/gmock.h>

#include "data/data_test_util.h"
#include "data/record_file.h"

namespace lora {
namespace sillytavern_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

struct Read {
  std::optional<Record> chat;
  TavernReport report;
  std::vector<std::string> skipped;

  // "ROLE: CONTENT" of each message.
  std::vector<std::string> messages() const {
    std::vector<std::string> lines;
    for (const ChatMessage& m : chat->chat->messages) lines.push_back(m.role + ": " + m.content);
    return lines;
  }
};

Read read(std::string_view text, const TavernOptions& options = {}, bool skips = false,
          RecordFormat format = RecordFormat::jsonl) {
  Read r;
  r.chat = read_sillytavern_chat(text, "chat", format, options, r.report, skips ? &r.skipped : nullptr);
  return r;
}
std::string why_not(std::string_view text, const TavernOptions& options = {},
                    RecordFormat format = RecordFormat::jsonl) {
  return test::error_of([&] { read(text, options, false, format); });
}

const TavernOptions kNames{.names = true};

constexpr std::string_view kChat =
    R"({"user_name":"Ann","character_name":"Bo","chat_metadata":{}}
{"name":"Bo","is_user":false,"mes":"Hello {{user}}"}
{"name":"Ann","is_user":true,"mes":"Hi {{char}}\r\n"}
{"name":"System","is_user":false,"is_system":true,"mes":"hidden"}
{"name":"Bo","is_user":false,"mes":""}
{"name":"Bo","is_user":false,"mes":"Bye"}
)";

TEST(SillyTavern, LinesAreOneConversation) {
  const Read r = read(kChat);
  ASSERT_TRUE(r.chat && r.chat->chat && r.chat->splits_between_turns);
  EXPECT_THAT(r.messages(),
              ElementsAre("assistant: Hello Ann", "user: Hi Bo\n", "assistant: ", "assistant: Bye"));
  EXPECT_EQ(r.report.n_chats, 1);
  EXPECT_EQ(r.report.n_hidden, 1);
  EXPECT_EQ(r.report.n_groups, 0);
  EXPECT_FALSE(read(R"({"text":"a"})").chat);
  EXPECT_FALSE(read("").chat);
  EXPECT_FALSE(read("mes\na\n", {}, false, RecordFormat::csv).chat);
}

TEST(SillyTavern, WithNamesTheyStandBeforeWhatIsSaid) {
  EXPECT_THAT(read(kChat, kNames).messages(), ElementsAre("assistant: Bo: Hello Ann", "user: Ann: Hi Bo\n",
                                                          "assistant: ", "assistant: Bo: Bye"));
  // A line without a name has the header's; without that, nothing says who speaks.
  const std::string line = R"({"is_user":false,"mes":"Yes"})";
  EXPECT_THAT(read(R"({"character_name":"Bo"})"
                   "\n" +
                       line,
                   kNames)
                  .messages(),
              ElementsAre("assistant: Bo: Yes"));
  EXPECT_EQ(why_not(line, kNames), "line 1: --names: nothing says who speaks");
}

// Newer versions write "unused" in place of names, which then are those of the messages.
TEST(SillyTavern, NamesAreTheHeadersOrTheMessages) {
  const Read r = read(R"({"user_name":"unused","character_name":"unused","chat_metadata":{}}
{"name":"Bo","is_user":false,"mes":"<USER> {{char}}"}
{"name":"Ann","is_user":true,"mes":"{{user}} {{group}}"})");
  EXPECT_THAT(r.messages(), ElementsAre("assistant: Ann Bo", "user: Ann Bo"));
  EXPECT_THAT(r.report.left.counts, IsEmpty());
}

constexpr std::string_view kGroup =
    R"({"name":"Bo","is_user":false,"mes":"I am {{char}} of {{group}}"}
{"name":"Cy","is_user":false,"mes":"And I {{char}}"}
{"name":"Ann","is_user":true,"mes":"Hi {{char}}"}
{"name":"Narrator","is_user":false,"mes":"It rains on {{char}}.","extra":{"type":"narrator"}}
{"name":"Bo","is_user":false,"mes":"Oh"})";

TEST(SillyTavern, AGroupHasSeveralSpeakers) {
  const Read r = read(kGroup, kNames);
  EXPECT_THAT(r.messages(), ElementsAre("assistant: Bo: I am Bo of Bo, Cy", "assistant: Cy: And I Cy",
                                        "user: Ann: Hi Bo", "system: It rains on Bo.", "assistant: Bo: Oh"));
  EXPECT_EQ(r.report.n_groups, 1);
  EXPECT_EQ(r.report.first_group, "chat: Bo and Cy");
}

TEST(SillyTavern, MacrosThatAreNotKnownStayAndAreCounted) {
  const Read r = read(R"({"name":"Bo","is_user":false,"mes":"{{time}} {{description}} {{user}}{{// x}}"})");
  EXPECT_THAT(r.messages(), ElementsAre("assistant: {{time}} {{description}} {{user}}"));
  EXPECT_THAT(r.report.left.counts, ElementsAre(Pair("description", 1), Pair("time", 1), Pair("user", 1)));
}

CharacterCard card_of(const std::string& name) {
  CharacterCard card;
  card.name = name;
  card.description = "{{char}} is {{user}}'s.";
  card.scenario = "Home.";
  return card;
}

TEST(SillyTavern, ACardIsTheSystemMessage) {
  const CharacterCard card = card_of("Bo");
  const Read r = read(kChat, {.card = &card});
  EXPECT_EQ(r.messages()[0], "system: Bo is Ann's.\nScenario: Home.");
  EXPECT_EQ(r.chat->chat->messages.size(), 5u);
  EXPECT_EQ(r.report.n_strange, 0);
  EXPECT_EQ(read(R"({"name":"Bo","is_user":false,"mes":"{{Description}} {{scenario}}"})", {.card = &card})
                .messages()[1],
            "assistant: Bo is {{user}}'s. Home.");
  // In a group the card's own character is the one it speaks of.
  const CharacterCard second = card_of("Cy");
  EXPECT_EQ(read(kGroup, {.card = &second}).messages()[0], "system: Cy is Ann's.\nScenario: Home.");
}

TEST(SillyTavern, ACardOfAnotherNameIsSaid) {
  const CharacterCard card = card_of("Dot");
  const Read r = read(kChat, {.card = &card});
  EXPECT_EQ(r.messages()[0], "system: Bo is Ann's.\nScenario: Home.");
  EXPECT_EQ(r.report.n_strange, 1);
  EXPECT_EQ(r.report.first_strange, "chat: Bo");
}

TEST(SillyTavern, AChatsOwnFieldsTakeThePlaceOfTheCards) {
  const std::string chat =
      R"({"user_name":"Ann","character_name":"Bo","chat_metadata":{"scenario":"At {{user}}'s sea.","note_prompt":"x"}}
{"name":"Bo","is_user":false,"mes":"Hello"})";
  const CharacterCard card = card_of("Bo");
  EXPECT_EQ(read(chat, {.card = &card}).messages()[0], "system: Bo is Ann's.\nScenario: At Ann's sea.");
  EXPECT_THAT(read(chat, {.card = &card}).chat->ignored, ElementsAre("chat_metadata.note_prompt"));
  EXPECT_THAT(read(chat).chat->ignored, ElementsAre("chat_metadata.note_prompt", "chat_metadata.scenario"));
}

TEST(SillyTavern, ThoughtsAreBesideAReply) {
  const Read r = read(
      R"({"name":"Bo","is_user":false,"mes":"Hello","extra":{"api":"x","reasoning":"Say hello."},"swipes":["a","b"],"swipe_id":0,"mood":"good"}
{"name":"Ann","is_user":true,"mes":"Hi","extra":{"reasoning":"","image":"","files":[]}})");
  EXPECT_EQ(r.chat->chat->messages[0].more.dump(), R"({"reasoning_content":"Say hello."})");
  EXPECT_TRUE(r.chat->chat->messages[1].more.is_null());
  EXPECT_THAT(r.chat->ignored, ElementsAre("mood"));
}

TEST(SillyTavern, WhatTheModelSawBesideTheTextIsRefused) {
  const auto line = [](const std::string& extra, const char* hidden) {
    return R"({"name":"Bo","is_user":false,"mes":"a","is_system":)" + std::string(hidden) + R"(,"extra":{)" +
           extra + "}}";
  };
  EXPECT_THAT(why_not(line(R"("image":"a.png")", "false")), HasSubstr("line 1: extra.image: only text"));
  EXPECT_THAT(why_not(line(R"("media":[{"url":"a"}])", "false")),
              HasSubstr("line 1: extra.media: only text"));
  EXPECT_THAT(why_not(line(R"("files":[{"url":"a"}])", "false")),
              HasSubstr("line 1: extra.files: SillyTavern put"));
  EXPECT_EQ(why_not(line(R"("image":"a.png")", "true")), "");
  EXPECT_THAT(why_not(line(R"("tool_invocations":[{"id":"a"}])", "true")),
              HasSubstr("line 1: extra.tool_invocations: calls of tools"));
}

TEST(SillyTavern, BadLinesAreErrorsOrSkipped) {
  const std::string text = std::string(kChat) + "{\"text\":\"a\"}\n{\n" +
                           R"({"name":7,"is_user":true,"mes":"a"})"
                           "\n" +
                           R"({"name":"Bo","is_user":true,"mes":7})";
  EXPECT_EQ(why_not(text), "line 7: no line of a SillyTavern chat: it has no mes");
  const Read r = read(text, {}, true);
  EXPECT_EQ(r.chat->chat->messages.size(), 4u);
  EXPECT_THAT(r.skipped, ElementsAre("line 7: no line of a SillyTavern chat: it has no mes",
                                     "line 8: no valid JSON in UTF-8 from its byte 3 on",
                                     "line 9: name: expected a text, found number",
                                     "line 10: mes: expected a text, found number"));
}

TEST(SillyTavern, LogsOfTextGenerationWebuiAreRead) {
  const std::string log =
      R"({"internal": [["<|BEGIN-VISIBLE-CHAT|>", "Hello <USER>"], ["Hi & {{char}}", "Yes"],
      ["", "More"]], "visible": [["", "Hello"], ["Hi &amp;", "Yes"], ["", "More"]]})";
  const Read r = read(log, {}, false, RecordFormat::json);
  EXPECT_THAT(r.messages(), ElementsAre("assistant: Hello <USER>", "user: Hi & {{char}}", "assistant: Yes",
                                        "assistant: More"));
  EXPECT_TRUE(r.chat->splits_between_turns);
  const CharacterCard card = card_of("Bo");
  EXPECT_EQ(read(log, {.card = &card}, false, RecordFormat::json).messages()[2], "user: Hi & Bo");
  EXPECT_THAT(read(R"({"data": [["a", "b"]], "data_visible": []})", {}, false, RecordFormat::json).messages(),
              ElementsAre("user: a", "assistant: b"));
  EXPECT_THAT(why_not(log, kNames, RecordFormat::json), HasSubstr("--names: nothing says who speaks"));
  EXPECT_EQ(why_not(R"({"internal": [["a"]], "visible": []})", {}, RecordFormat::json),
            "line 1: internal: expected a list of [user's, assistant's] texts");
  EXPECT_THAT(
      why_not(R"({"internal": [], "visible": [], "metadata": {"user_0": {"attachments": [{"name": "a"}]}}})",
              {}, RecordFormat::json),
      HasSubstr("line 1: metadata.user_0.attachments: only text"));
}

TEST(SillyTavern, ChatsOfOtherProgramsAreNamed) {
  const auto why = [](const char* text) { return why_not(text, {}, RecordFormat::json); };
  EXPECT_THAT(why(R"({"gamestarted":true,"prompt":"","actions":["a"]})"),
              HasSubstr("a chat of KoboldAI or Kobold"));
  EXPECT_THAT(why(R"({"histories":{"histories":[]}})"),
              HasSubstr("a chat of Character.AI, which is not read"));
  EXPECT_THAT(why(R"({"name":"x","messages":[{"msg":"a","userId":"1"}]})"), HasSubstr("a chat of Agnai"));
  EXPECT_THAT(why(R"({"type":"risuChat","data":{}})"), HasSubstr("a chat of RisuAI"));
  EXPECT_EQ(why(R"({"messages":[{"role":"user","content":"a"}]})"), "");
}

}  // namespace sillytavern_test
}  // namespace lora
