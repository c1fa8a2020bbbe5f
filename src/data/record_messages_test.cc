// Messages as programs write them: roles, tools, calls, thoughts.
#include "data/record_messages.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "data/data_test_util.h"
#include "data/record.h"

namespace lora {
namespace record_messages_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// A record of these messages, with further fields behind a comma.
std::string of(std::string_view messages, std::string_view more = "") {
  return fmt::format(R"({{"messages": [{}]{}}})", messages, more);
}
ChatMessage only_message(std::string_view message) {
  const Record record = parse_record(of(message));
  EXPECT_EQ(record.chat->messages.size(), 1u);
  return record.chat->messages.at(0);
}
std::string why_not(std::string_view messages, std::string_view more = "") {
  return test::error_of([&] { parse_record(of(messages, more)); });
}

TEST(RecordMessages, RolesInTheWordsOfTemplates) {
  for (const auto& [name, role] : {std::pair{"system", "system"},
                                   {"developer", "system"},
                                   {"human", "user"},
                                   {"user", "user"},
                                   {"gpt", "assistant"},
                                   {"model", "assistant"},
                                   {"tool", "tool"},
                                   {"function", "tool"},
                                   {"observation", "tool"},
                                   {"ipython", "tool"},
                                   {"tool_response", "tool"}}) {
    EXPECT_EQ(only_message(fmt::format(R"({{"role": "{}", "content": "a\r\nb"}})", name)).role, role);
  }
}

constexpr const char* kCall =
    R"({"id":"c1","type":"function","function":{"name":"f","arguments":{"z":1,"a":"x"}}})";

// One call, however it is written.
TEST(RecordMessages, CallsAreWhatTemplatesRead) {
  for (
      const char* calls :
      {R"([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": "x"}}}])",
       R"([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"z\": 1, \"a\": \"x\"}"}}])",
       R"([{"id": "c1", "function": {"arguments": "{\"z\": 1, \"a\": \"x\"}", "name": "f"}}])",
       R"([{"name": "f", "arguments": {"z": 1, "a": "x"}, "id": "c1"}])",
       R"([{"name": "f", "parameters": {"z": 1, "a": "x"}, "id": "c1"}])",
       R"("[{\"name\": \"f\", \"arguments\": {\"z\": 1, \"a\": \"x\"}, \"id\": \"c1\"}]")"}) {
    for (const char* content : {"null", "\"\""}) {
      const ChatMessage message = only_message(
          fmt::format(R"({{"role": "assistant", "content": {}, "tool_calls": {}}})", content, calls));
      EXPECT_EQ(message.content, "");
      EXPECT_EQ(message.more.dump(), fmt::format(R"({{"tool_calls":[{}]}})", kCall)) << calls;
    }
  }
  const ChatMessage bare = only_message(
      R"({"role": "assistant", "content": "Wait.", "function_call": {"name": "g", "arguments": ""}})");
  EXPECT_EQ(bare.content, "Wait.");
  EXPECT_EQ(bare.more.dump(),
            R"({"tool_calls":[{"type":"function","function":{"name":"g","arguments":{}}}]})");
}

TEST(RecordMessages, CallsThatAreNone) {
  const auto why = [](std::string_view call) {
    return why_not(fmt::format(R"({{"role": "assistant", "content": null, "tool_calls": {}}})", call));
  };
  EXPECT_EQ(
      why(R"([{"name": "f", "arguments": "f of x"}])"),
      "messages[0]: tool_calls[0]: arguments: expected an object or its JSON text: no valid JSON in UTF-8 "
      "from its byte 2 on");
  EXPECT_EQ(
      why(R"([{"name": "f", "arguments": "[1]"}])"),
      "messages[0]: tool_calls[0]: arguments: expected an object or its JSON text, found the text of array");
  EXPECT_EQ(why(R"([{"name": "f", "arguments": 7}])"),
            "messages[0]: tool_calls[0]: arguments: expected an object, found number");
  EXPECT_EQ(why(R"([{"arguments": {}}])"), "messages[0]: tool_calls[0]: name: missing");
  EXPECT_EQ(why(R"([{"function": {"name": 7}}])"),
            "messages[0]: tool_calls[0]: name: expected a text, found number");
  EXPECT_EQ(why(R"([{"type": "custom", "name": "f"}])"),
            "messages[0]: tool_calls[0]: type: expected function, found \"custom\"");
  EXPECT_EQ(why("[7]"), "messages[0]: tool_calls[0]: the call: expected an object, found number");
  EXPECT_EQ(why("7"), "messages[0]: tool_calls: expected a list, found number");
  EXPECT_EQ(why("[]"), "messages[0]: no content or value");
  EXPECT_EQ(why_not(R"({"role": "user", "content": "a", "tool_calls": [{"name": "f"}]})"),
            "messages[0]: tool_calls: only the assistant calls tools");
  EXPECT_EQ(
      why_not(R"({"role": "assistant", "tool_calls": [{"name": "f"}], "function_call": {"name": "f"}})"),
      "messages[0]: function_call: it has other calls, too");
}

TEST(RecordMessages, WhatAToolGaveBack) {
  const Record record = parse_record(
      of(R"({"role": "tool", "tool_call_id": "c1", "name": "f", "content": [{"type": "text", "text": "fog"}]},
            {"role": "function", "name": "g", "content": "rain"}, {"role": "observation", "content": "{}"})"));
  const auto& messages = record.chat->messages;
  EXPECT_EQ(messages[0].content, "fog");
  EXPECT_EQ(messages[0].more.dump(), R"({"tool_call_id":"c1","name":"f"})");
  EXPECT_EQ(messages[1].more.dump(), R"({"name":"g"})");
  EXPECT_TRUE(messages[2].more.is_null());
  EXPECT_THAT(record.ignored, IsEmpty());
}

TEST(RecordMessages, ShareGptsCallsAndObservations) {
  const Record record = parse_record(
      R"({"conversations": [{"from": "human", "value": "U"},
           {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"z\": 1, \"a\": \"x\"}, \"id\": \"c1\"}"},
           {"from": "observation", "value": "fog"}, {"from": "gpt", "value": "A"},
           {"from": "function_call", "value": " [{\"name\": \"f\"}, {\"name\": \"g\"}]"}],
          "system": "S", "tools": "[{\"name\": \"f\", \"description\": \"d\"}]"})");
  const auto& messages = record.chat->messages;
  ASSERT_EQ(messages.size(), 6u);
  EXPECT_EQ(messages[0].content, "S");
  EXPECT_EQ(messages[2].role, "assistant");
  EXPECT_EQ(messages[2].content, "");
  EXPECT_EQ(messages[2].more.dump(), fmt::format(R"({{"tool_calls":[{}]}})", kCall));
  EXPECT_EQ(messages[3].role, "tool");
  EXPECT_EQ(messages[5].more["tool_calls"].size(), 2u);
  EXPECT_EQ(record.chat->tools.dump(), R"([{"type":"function","function":{"name":"f","description":"d"}}])");
  EXPECT_THAT(why_not(R"({"from": "function_call", "value": "f of 1"
})"),
              StartsWith("messages[0]: function_call: expected a list or its JSON text: no valid JSON"));
  EXPECT_EQ(why_not(R"({"from": "function_call", "value": "[]"})"), "messages[0]: function_call: no call");
}

// In the order of their fields, which a template writes down.
TEST(RecordMessages, ToolsOfARecordOrOfAMessage) {
  const std::string user = R"({"role": "user", "content": "U"})";
  const std::string wrapped =
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":{}}}])";
  const std::string bare = R"([{"name":"f","description":"d","parameters":{}}])";
  const auto tools = [](const std::string& record) { return parse_record(record).chat->tools.dump(); };
  for (const std::string& list : {wrapped, bare}) {
    for (const char* name : {"tools", "functions"}) {
      EXPECT_EQ(tools(of(user, fmt::format(R"(, "{}": {})", name, list))), wrapped);
      EXPECT_EQ(tools(of(user, fmt::format(R"(, "{}": {})", name, nlohmann::json(list).dump()))), wrapped);
      EXPECT_EQ(tools(of(fmt::format(R"({{"role": "system", "content": "S", "{}": {}}})", name, list))),
                wrapped);
    }
    EXPECT_EQ(tools(of(user, fmt::format(R"(, "tools": [{}])",
                                         nlohmann::json(list.substr(1, list.size() - 2)).dump()))),
              wrapped);
  }
  for (const char* nothing : {"[]", "null", "\"\"", "\"[]\"", "\"null\"", "\" [ ]\""}) {
    EXPECT_EQ(tools(of(user, fmt::format(R"(, "tools": {})", nothing))), "null") << nothing;
  }
  EXPECT_EQ(why_not(user, R"(, "tools": [{"name": "f"}], "functions": [{"name": "g"}])"),
            "functions: the conversation has other tools, too");
  EXPECT_EQ(why_not(user, R"(, "tools": [{"type": "retrieval"}])"),
            "tools[0]: expected a function with a name");
  EXPECT_EQ(why_not(user, R"(, "tools": [7])"), "tools[0]: the tool: expected an object, found number");
  EXPECT_THAT(why_not(user, R"(, "tools": "f, g")"), StartsWith("tools: expected a list or its JSON text: "));
}

TEST(RecordMessages, ThoughtsHaveOneName) {
  const std::string thought = R"({"reasoning_content":"why\nso"})";
  for (const char* name : {"reasoning_content", "reasoning", "thinking"}) {
    const ChatMessage message =
        only_message(fmt::format(R"({{"role": "assistant", "content": "A", "{}": "why\r\nso"}})", name));
    EXPECT_EQ(message.more.dump(), thought);
    EXPECT_EQ(message.content, "A");
    EXPECT_EQ(why_not(fmt::format(R"({{"role": "user", "content": "A", "{}": "why"}})", name)),
              fmt::format("messages[0]: {}: only the assistant's messages have thoughts", name));
  }
  for (const char* part :
       {R"({"type": "thinking", "thinking": "why\nso"})", R"({"type": "reasoning", "text": "why\nso"})",
        R"({"type": "thinking", "thinking": [{"type": "text", "text": "why\nso"}]})"}) {
    const ChatMessage message = only_message(
        fmt::format(R"({{"role": "assistant", "content": [{}, {{"type": "text", "text": "A"}}]}})", part));
    EXPECT_EQ(message.more.dump(), thought);
    EXPECT_EQ(message.content, "A");
  }
  EXPECT_TRUE(only_message(R"({"role": "assistant", "content": "A", "thinking": " "})").more.is_null());
  EXPECT_EQ(
      only_message(R"({"role": "assistant", "content": "A", "reasoning": "x", "thinking": "x"})").more.dump(),
      R"({"reasoning_content":"x"})");
  EXPECT_EQ(why_not(R"({"role": "assistant", "content": "A", "reasoning": "x", "thinking": "y"})"),
            "messages[0]: thinking: it has other thoughts, too");
  EXPECT_EQ(
      why_not(R"({"role": "assistant", "content": [{"text": "A"}, {"type": "thinking", "thinking": "x"}]})"),
      "messages[0]: content: thoughts behind a text; templates write them before it");
  EXPECT_EQ(why_not(R"({"role": "assistant", "content": "A", "thinking": true})"),
            "messages[0]: thinking: expected a text, found boolean");
}

TEST(RecordMessages, OtherFieldsOfCallsAreListed) {
  EXPECT_THAT(parse_record(of(R"({"role": "assistant", "content": null, "tool_calls":
                [{"index": 3, "id": "a", "function": {"name": "f", "strict": true}}]})"))
                  .ignored,
              ElementsAre("messages[].tool_calls[].function.strict", "messages[].tool_calls[].index"));
}

}  // namespace record_messages_test
}  // namespace lora
