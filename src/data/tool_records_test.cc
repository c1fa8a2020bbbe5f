// Records with calls of tools and with thoughts: exactly what is trained on, and what of them a template that
// does not write them would lose.
#include <gmock/gmock.h>

#include "data/data_test_util.h"

namespace lora {
namespace tool_records_test {

using testing::HasSubstr;

// As ChatML with tools; thoughts stay in the last reply alone.
constexpr std::string_view kTemplate =
    "{% if tools %}<tools>{{ tools | tojson }}</s>\n{% endif %}{% for m in messages %}<{{ m.role }}>"
    "{% if m.reasoning_content and loop.last %}({{ m.reasoning_content }}){% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "</s>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
constexpr std::string_view kPlain =
    "{% for m in messages %}{% if m.role != 'tool' %}<{{ m.role }}>{{ m.content }}</s>\n{% endif %}{% endfor "
    "%}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

Dataset records(const std::string& lines, std::string_view chat_template) {
  const ScratchFile file("a.jsonl", lines), jinja("chat.jinja", std::string(chat_template));
  TextOptions options;
  options.chat_template = jinja.path;
  options.n_ctx = 512;
  ThreadPool pool(2);
  return Dataset({file.path}, tiny_tokenizer(), options, pool);
}

constexpr const char* kCalled =
    "<user>2+2?</s> \n<assistant>{+add{\"a\": 2, \"b\": 2}</s>+} \n<tool>4</s> \n<assistant>{+Four.</s>+}";
const std::string kAsked = R"({"role": "user", "content": "2+2?"})";
const std::string kAnswered =
    R"({"role": "tool", "content": "4"}, {"role": "assistant", "content": "Four."})";

TEST(ToolRecords, CallsAndTheAnswerAreTrainedOnAndResultsAreNot) {
  for (
      const std::string call :
      {R"({"function": {"name": "add", "arguments": {"a": 2, "b": 2}}})",
       R"({"type": "function", "id": "x", "function": {"name": "add", "arguments": "{\"a\": 2, \"b\": 2}"}})",
       R"({"name": "add", "arguments": {"a": 2, "b": 2}})"}) {
    const std::string line = fmt::format(
        R"({{"messages": [{}, {{"role": "assistant", "content": null, "tool_calls": [{}]}}, {}]}})", kAsked,
        call, kAnswered);
    const Dataset data = records(line, kTemplate);
    EXPECT_EQ(marked(data), std::string(" ") + kCalled) << call;
    const Encoder encoder(tiny_tokenizer());
    Tokens inputs, targets;
    data.sample(0, inputs, targets);
    EXPECT_EQ(targets.size() - size_t(std::ranges::count(targets, kIgnore)),
              tiny_tokenizer().encode("<assistant>add{\"a\": 2, \"b\": 2}", false).size() -
                  tiny_tokenizer().encode("<assistant>", false).size() +
                  tiny_tokenizer().encode("<assistant>Four.", false).size() -
                  tiny_tokenizer().encode("<assistant>", false).size() + 2);
  }
  const std::string sharegpt =
      R"({"conversations": [{"from": "human", "value": "2+2?"}, )"
      R"({"from": "function_call", "value": "{\"name\": \"add\", \"arguments\": {\"a\": 2, \"b\": 2}}"}, )"
      R"({"from": "observation", "value": "4"}, {"from": "gpt", "value": "Four."}]})";
  EXPECT_EQ(marked(records(sharegpt, kTemplate)), std::string(" ") + kCalled);
}

TEST(ToolRecords, ToolsStandBeforeAllAndAreNotTrainedOn) {
  const std::string line =
      fmt::format(R"({{"tools": [{{"type": "function", "function": {{"name": "add"}}}}], "messages": [{}, )"
                  R"({{"role": "assistant", "content": "Four."}}]}})",
                  kAsked);
  EXPECT_EQ(marked(records(line, kTemplate)),
            " <tools>[{\"type\": \"function\", \"function\": {\"name\": \"add\"}}]</s> \n<user>2+2?</s> \n"
            "<assistant>{+Four.</s>+}");
}

TEST(ToolRecords, ThoughtsAreTrainedOnWhereTheModelSeesThem) {
  for (const char* field : {"reasoning_content", "reasoning", "thinking"}) {
    const std::string line =
        fmt::format(R"({{"messages": [{0}, {{"role": "assistant", "content": "Four.", "{1}": "easy"}}, {0}, )"
                    R"({{"role": "assistant", "content": "Still.", "{1}": "again"}}]}})",
                    kAsked, field);
    const Dataset data = records(line, kTemplate);
    ASSERT_EQ(data.n_samples(), 2) << field;
    EXPECT_EQ(marked(data, 0), " <user>2+2?</s> \n<assistant>{+(easy)Four.</s>+}");
    EXPECT_EQ(marked(data, 1),
              " <user>2+2?</s> \n<assistant>Four.</s> \n<user>2+2?</s> \n<assistant>{+(again)Still.</s>+}");
  }
}

// With the record's line, and with the template that loses it.
TEST(ToolRecords, WhatATemplateDoesNotWriteIsAnError) {
  const std::string good =
      "{\"messages\": [" + kAsked + ", {\"role\": \"assistant\", \"content\": \"4\"}]}\n";
  const auto why = [&](const std::string& before, const std::string& messages,
                       std::string_view chat_template) {
    const std::string message = test::error_of(
        [&] { records(good + "{" + before + "\"messages\": [" + messages + "]}", chat_template); });
    EXPECT_THAT(message, HasSubstr("a.jsonl: line 2: the chat template ("));
    const size_t at = message.find("chat.jinja) does not write ");
    return at == message.npos ? message : message.substr(at + 27);
  };
  const std::string reply = R"(, {"role": "assistant", "content": "Four.")";
  EXPECT_EQ(why(R"("tools": [{"function": {"name": "add"}}], )", kAsked + reply + "}", kPlain), "the tools");
  EXPECT_EQ(why("", kAsked + R"(, {"role": "assistant", "tool_calls": [{"name": "add", "arguments": {}}]})",
                kPlain),
            "add of a call of a tool");
  EXPECT_EQ(why("", kAsked + ", " + kAnswered, kPlain), "what a tool gave back");
  EXPECT_EQ(why("", kAsked + reply + R"(, "thinking": "easy"})", kPlain),
            "the thoughts beside a reply (reasoning_content)");
  const std::string drops =
      "{% for m in messages %}<{{ m.role }}>{{ m.content.split('</think>')[-1] }}</s>\n{% endfor %}";
  const std::string thinks = R"(, {"role": "assistant", "content": "<think>\neasy\n</think>\n\nFour."})";
  EXPECT_EQ(why("", kAsked + thinks, drops), "the thoughts that a reply begins with (<think>)");
  EXPECT_THAT(marked(records("{\"messages\": [" + kAsked + thinks + "]}", kPlain)),
              testing::EndsWith("<assistant>{+<think>\neasy\n</think>\n\nFour.</s>+}"));
  EXPECT_EQ(why("", R"({"role": "system", "content": "Be kind."}, )" + kAsked + reply + "}",
                "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"),
            "a message of the system");
}

}  // namespace tool_records_test
}  // namespace lora
