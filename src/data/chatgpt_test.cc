// Files made by hand as ChatGPT exports its conversations.
#include "data/chatgpt.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "data/data_test_util.h"
#include "data/record.h"

namespace lora {
namespace chatgpt_test {

using nlohmann::ordered_json;
using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

ordered_json node(const char* parent, const char* role, const ordered_json& content,
                  const ordered_json& more = ordered_json::object()) {
  ordered_json message = {{"id", "m"},          {"author", {{"role", role}, {"name", nullptr}}},
                          {"content", content}, {"status", "finished_successfully"},
                          {"weight", 1.0},      {"recipient", "all"}};
  message.update(more);
  return {{"message", message}, {"parent", parent}, {"children", {"next"}}};
}

ordered_json text(const char* words) {
  return {{"content_type", "text"}, {"parts", {words}}};
}

// A question that was asked twice, and answered after the model had thought.
ordered_json exported() {
  ordered_json mapping;
  mapping["root"] = {{"message", nullptr}, {"parent", nullptr}, {"children", {"system"}}};
  mapping["system"] = node("root", "system", text(""), {{"weight", 0.0}});
  mapping["about"] =
      node("system", "user", {{"content_type", "user_editable_context"}, {"user_profile", "A cook."}});
  mapping["first"] = node("about", "user", text("How do whale sleep?"));
  mapping["dropped"] = node("first", "assistant", text("Which whale?"));
  mapping["again"] = node("about", "user", text("How do whales sleep?"));
  mapping["thoughts"] = node("again", "assistant", {{"content_type", "thoughts"}, {"thoughts", {"Hm"}}});
  mapping["answer"] = node("thoughts", "assistant", text("Half a brain at a time."));
  mapping["bye"] = node("answer", "user", {{"content_type", "text"}, {"parts", {"Thank ", "you"}}});
  mapping["last"] = node("bye", "assistant", text("You are welcome."));
  return {{"title", "Whales"},      {"create_time", 1700000000.5},
          {"mapping", mapping},     {"moderation_results", ordered_json::array()},
          {"current_node", "last"}, {"id", "c"}};
}

std::vector<std::string> said(const Record& record) {
  std::vector<std::string> lines;
  for (const ChatMessage& message : record.chat->messages)
    lines.push_back(message.role + ": " + message.content);
  return lines;
}

TEST(ChatGpt, ShownBranchIsReadAndWhatIsLeftOutIsNamed) {
  const Record record = read_record(exported());
  EXPECT_THAT(said(record), ElementsAre("user: How do whales sleep?", "assistant: Half a brain at a time.",
                                        "user: Thank you", "assistant: You are welcome."));
  EXPECT_THAT(record.ignored, ElementsAre("mapping[] (custom instructions)", "mapping[] (other branches)",
                                          "mapping[] (summaries of thoughts)"));
  EXPECT_TRUE(record.splits_between_turns);
}

TEST(ChatGpt, WithoutACurrentNodeTheOnlyBranchIsIt) {
  ordered_json chat = exported();
  chat.erase("current_node");
  chat["mapping"].erase("dropped");
  chat["mapping"].erase("first");
  chat["mapping"]["last"]["children"] = ordered_json::array();
  EXPECT_EQ(said(read_record(chat)).size(), 4u);
  chat["mapping"]["bye"]["children"] = ordered_json::array();
  EXPECT_THAT(error_of([&] { read_record(chat); }), HasSubstr("current_node: missing"));
}

TEST(ChatGpt, TreesThatAreNoneAreRefused) {
  ordered_json chat = exported();
  chat["mapping"]["system"]["parent"] = "bye";
  EXPECT_THAT(error_of([&] { read_record(chat); }), HasSubstr("go in a circle"));
  chat["mapping"]["system"]["parent"] = "nowhere";
  EXPECT_THAT(error_of([&] { read_record(chat); }), HasSubstr("there is no node nowhere"));
}

TEST(ChatGpt, WhatIsNoTextIsRefusedByName) {
  const auto error_with = [](const ordered_json& other) {
    ordered_json chat = exported();
    chat["mapping"]["answer"]["message"].update(other);
    return error_of([&] { read_record(chat); });
  };
  EXPECT_THAT(error_with({{"content",
                           {{"content_type", "multimodal_text"},
                            {"parts", {{{"content_type", "image_asset_pointer"}}, "A whale"}}}}}),
              HasSubstr("mapping.answer: content: a part of type image_asset_pointer"));
  EXPECT_THAT(error_with({{"author", {{"role", "tool"}, {"name", "python"}}}}),
              HasSubstr("a tool's message"));
  EXPECT_THAT(error_with({{"recipient", "python"}, {"content", {{"content_type", "code"}, {"text", "1"}}}}),
              HasSubstr("a call of the tool python"));
  EXPECT_THAT(error_with({{"content", {{"content_type", "code"}, {"text", "1"}}}}), HasSubstr("code"));
  EXPECT_THAT(error_with({{"author", {{"role", "critic"}}}}), HasSubstr("critic"));
}

TEST(ChatGpt, HiddenMessagesAreLeftOutAndWeightIsHeeded) {
  ordered_json chat = exported();
  chat["mapping"]["system"]["message"].update(
      {{"content", text("Old instructions")},
       {"metadata", {{"is_visually_hidden_from_conversation", true}}}});
  chat["mapping"]["answer"]["message"]["weight"] = 0.0;
  const Record record = read_record(chat);
  EXPECT_EQ(said(record).size(), 4u);
  EXPECT_TRUE(record.ignored.contains("mapping[] (hidden messages)"));
  EXPECT_TRUE(record.chat->messages[1].is_context);
  EXPECT_FALSE(record.chat->messages[3].is_context);
}

// The file as it is: a list of conversations; and one of them alone.
TEST(ChatGpt, ExportBecomesSamples) {
  TextOptions options;
  options.chat_template = "vicuna";
  ThreadPool pool(1);
  for (const ordered_json& file : {ordered_json::array({exported(), exported()}), exported()}) {
    const ScratchFile path("conversations.json", file.dump(1));
    const Dataset data({path.path}, tiny_tokenizer(), options, pool);
    EXPECT_EQ(data.n_samples(), file.is_array() ? 2 : 1);
    EXPECT_THAT(marked(data), HasSubstr("How do whales sleep? ASSISTANT:{+ Half a brain at a time."));
    for (const auto& [name, n] : data.report().ignored_fields) EXPECT_THAT(name, HasSubstr("mapping[]"));
  }
}

}  // namespace chatgpt_test
}  // namespace lora
