#include "data/record.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.h"
#include "data/data_test_util.h"

namespace lora {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string why_not(std::string_view text) {
  return test::error_of([&] { parse_record(text); });
}

// The spans as text, with [ ] around what is trained on.
std::string marked(const Record& record, std::string_view family = "chatml", bool train_on_all = false) {
  std::string text;
  bool is_trained = false;
  for (const RecordSpan& span :
       record_spans(record, {find_chat_family(family), "<s>", "</s>"}, train_on_all)) {
    if (span.is_trained != is_trained) text += span.is_trained ? "[" : "]";
    is_trained = span.is_trained;
    text += span.text;
  }
  return text + (is_trained ? "]" : "");
}

TEST(Record, TextIsTrainedOnWhole) {
  EXPECT_EQ(marked(parse_record(R"({"text": "the\r\nwhale", "id": 7})")), "[the\nwhale]");
}

TEST(Record, CompletionAlone) {
  EXPECT_EQ(marked(parse_record(R"({"prompt": "Q: ", "completion": "A"})")), "Q: [A]");
  EXPECT_EQ(marked(parse_record(R"({"prompt": "", "completion": "A"})")), "[A]");
  EXPECT_EQ(marked(parse_record(R"({"prompt": "Q: ", "completion": "A"})"), "chatml", true), "[Q: A]");
}

TEST(Record, AlpacaWithAndWithoutInput) {
  EXPECT_EQ(
      marked(parse_record(R"({"instruction": "Add.", "input": "1 2", "output": "3"})")),
      "Below is an instruction that describes a task, paired with an input that provides further context. "
      "Write a response that appropriately completes the request.\n\n"
      "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n[3]");
  const std::string bare =
      "Below is an instruction that describes a task. Write a response that appropriately completes the "
      "request.\n\n### Instruction:\nAdd.\n\n### Response:\n[3]";
  EXPECT_EQ(marked(parse_record(R"({"instruction": "Add.", "input": "", "output": "3"})")), bare);
  EXPECT_EQ(marked(parse_record(R"({"instruction": "Add.", "input": null, "output": "3"})")), bare);
  EXPECT_EQ(marked(parse_record(R"({"instruction": "Add.", "output": "3"})")), bare);
  for (const std::string word : {"[]", "{}", "null", "None"}) {  // texts like others
    EXPECT_THAT(
        marked(parse_record(R"({"instruction": "Read.", "input": ")" + word + R"(", "output": "3"})")),
        testing::HasSubstr("### Input:\n" + word + "\n\n"));
    EXPECT_EQ(marked(parse_record(R"({"instruction": "Add.", "history": ")" + word + R"(", "tools": ")" +
                                  word + R"(", "output": "3"})")),
              bare);
  }
}

constexpr const char* kMessages =
    R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A"}, {"role": "user", "content": "V"},
        {"role": "assistant", "content": "B"}, {"role": "user", "content": "W"}]})";

TEST(Record, EveryReplyWithItsEndOfTurnAndNothingAfterTheLast) {
  EXPECT_EQ(marked(parse_record(kMessages)),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
            "[A<|im_end|>]\n<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n[B<|im_end|>]");
  EXPECT_EQ(marked(parse_record(kMessages), "llama2"),
            "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST][ A </s>]<s>[INST] V [/INST][ B </s>]");
}

TEST(Record, TrainOnAllTakesEveryTurn) {
  EXPECT_EQ(marked(parse_record(kMessages), "vicuna", true),
            "[S USER: U ASSISTANT: A</s>USER: V ASSISTANT: B</s>USER: W ]");
}

TEST(Record, ConversationsFromAndValue) {
  const Record record =
      parse_record(R"({"conversations": [{"from": "human", "value": "U"}, {"from": "gpt", "value": "A"}]})");
  EXPECT_EQ(marked(record), "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n[A<|im_end|>]");
}

TEST(Record, ContentMayBeAListOfTexts) {
  const Record record = parse_record(
      R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})");
  EXPECT_EQ(record.messages[0].content, "ab");
}

TEST(Record, AnEmptyReplyIsNotTrainedOn) {
  const Record record = parse_record(
      R"({"messages": [{"role": "user", "content": "U"}, {"role": "assistant", "content": ""},
          {"role": "user", "content": "V"}, {"role": "assistant", "content": "B"}]})");
  EXPECT_EQ(marked(record),
            "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n"
            "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n[B<|im_end|>]");
}

// A conversation of two questions and replies, each with further fields.
std::string turns(std::string_view first_reply, std::string_view last_reply,
                  std::string_view first_question = "") {
  return fmt::format(
      R"({{"messages": [{{"role": "user", "content": "U"{}}}, {{"role": "assistant", "content": "A"{}}},)"
      R"({{"role": "user", "content": "V"}}, {{"role": "assistant", "content": "B"{}}}]}})",
      first_question, first_reply, last_reply);
}

TEST(Record, AMessageOfWeightZeroIsReadAndNotTrainedOn) {
  const std::string zero = R"(, "weight": 0)", one = R"(, "weight": 1)";
  EXPECT_EQ(marked(parse_record(turns(zero, one)), "vicuna"),
            "USER: U ASSISTANT: A</s>USER: V ASSISTANT:[ B</s>]");
  EXPECT_EQ(marked(parse_record(turns("", R"(, "train": false)")), "vicuna"), "USER: U ASSISTANT:[ A</s>]");
  EXPECT_EQ(marked(parse_record(turns(zero, zero)), "vicuna"), "");
  EXPECT_EQ(marked(parse_record(turns(zero, one)), "llama2", true),
            "[<s>[INST] U [/INST]] A </s>[<s>[INST] V [/INST] B </s>]");
  EXPECT_EQ(marked(parse_record(turns("", zero, zero)), "vicuna", true),
            "USER: U [ASSISTANT: A</s>USER: V ]");
}

TEST(Record, OnlyARepliesTrainingCanBeAskedFor) {
  const Record record = parse_record(turns("", "", R"(, "train": true)"));
  EXPECT_THAT(test::error_of([&] { marked(record); }),
              testing::StartsWith("messages[0]: it asks to be trained on"));
  EXPECT_EQ(marked(record, "vicuna", true), "[USER: U ASSISTANT: A</s>USER: V ASSISTANT: B</s>]");
  EXPECT_EQ(marked(parse_record(turns("", "", R"(, "weight": 1)")), "vicuna"),
            marked(parse_record(turns("", "")), "vicuna"));
}

TEST(Record, ASystemFieldGoesBeforeAConversation) {
  for (const char* name : {"system", "system_prompt", "system_message"}) {
    const std::string field = fmt::format("{{\"{}\": \"S\", ", name);
    EXPECT_EQ(marked(parse_record(field + turns("", "").substr(1)), "vicuna"),
              "S USER: U ASSISTANT:[ A</s>]USER: V ASSISTANT:[ B</s>]");
  }
  const char* const both = R"({"system": "S", "messages": [{"role": "system", "content": "%"},
                                                           {"role": "assistant", "content": "A"}]})";
  const auto with_own = [&](char own) {
    std::string text = both;
    text[text.find('%')] = own;
    return text;
  };
  EXPECT_EQ(marked(parse_record(with_own('S')), "vicuna"), "S ASSISTANT:[ A</s>]");
  EXPECT_EQ(why_not(with_own('T')), "system: the conversation begins with another system message");
  EXPECT_EQ(why_not(R"({"system": "S", "system_prompt": "T", "text": "a"})"),
            "system_prompt: it has another system message, too");
  EXPECT_EQ(marked(parse_record(R"({"system": "", "prompt": "a", "completion": "b"})")), "a[b]");
  for (const char* form : {R"("prompt": "a", "completion": "b")", R"("text": "a")"}) {
    EXPECT_THAT(why_not(fmt::format("{{{}, \"system\": \"S\"}}", form)),
                HasSubstr("are trained on as they stand, with no place for it"));
  }
  EXPECT_EQ(why_not(R"({"system": 7, "messages": []})"), "system: expected a text, found number");
}

TEST(Record, AlpacasSystemAndHistory) {
  EXPECT_EQ(marked(parse_record(R"({"instruction": "Add.", "input": "1 2", "output": "3", "system": "S"})")),
            "S\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n[3]");
  const std::string earlier =
      R"({"instruction": "Go on.", "output": "C", "system": "S", "history": [["Q", "A"], ["R", ""]]})";
  EXPECT_EQ(
      marked(parse_record(earlier)),
      "S\n\n### Instruction:\nQ\n\n### Response:\n[A</s>]\n\n### Instruction:\nR\n\n### Response:\n</s>\n\n"
      "### Instruction:\nGo on.\n\n### Response:\n[C]");
  for (const char* history : {"\"x\"", "[\"x\"]", "[[\"a\"]]", "[[\"a\", null]]", "{\"a\": \"b\"}"}) {
    EXPECT_EQ(why_not(fmt::format(R"({{"instruction": "a", "output": "b", "history": {}}})", history)),
              "history: expected a list of [instruction, output] pairs");
  }
  for (const char* form : {R"("text": "a")", R"("prompt": "a", "completion": "b")", R"("messages": [])"}) {
    EXPECT_THAT(why_not(fmt::format(R"({{{}, "history": [["a", "b"]]}})", form)),
                testing::StartsWith("history: it belongs beside instruction and output"));
    EXPECT_EQ(why_not(fmt::format(R"({{{}, "history": []}})", form)), "");
  }
}

TEST(Record, EachMistakeIsNamed) {
  EXPECT_EQ(why_not("{\"text\": "), "no valid JSON in UTF-8 from its byte 10 on");
  EXPECT_THAT(why_not("{\"text\": \"\xff\"}"), HasSubstr("no valid JSON in UTF-8"));
  EXPECT_EQ(why_not("{\"text\": 1e999}"), "a number too large for a double");
  EXPECT_EQ(why_not("[1]"), "expected an object with named fields, found array");
  EXPECT_EQ(why_not("{\"text\": 7}"), "text: expected a text, found number");
  EXPECT_EQ(why_not("{\"prompt\": \"a\"}"), "completion: missing");
  EXPECT_EQ(why_not("{\"completion\": \"a\"}"), "prompt: missing");
  EXPECT_EQ(why_not("{\"instruction\": \"a\"}"), "output: missing");
  EXPECT_THAT(why_not("{\"question\": \"a\", \"answer\": \"b\"}"),
              HasSubstr("found the fields answer, question; expected one of these forms: text; prompt and"));
  EXPECT_EQ(why_not("{\"messages\": \"a\"}"), "messages: expected a list, found string");
  EXPECT_EQ(why_not("{\"messages\": [1]}"), "messages[0]: expected an object, found number");
  EXPECT_EQ(why_not(R"({"messages": [{"content": "a"}]})"), "messages[0]: no role or from");
  EXPECT_EQ(why_not(R"({"messages": [{"role": "user", "content": null}]})"),
            "messages[0]: no content or value");
  EXPECT_THAT(why_not(R"({"messages": [{"role": "tool", "content": "a"}]})"),
              HasSubstr("unknown role \"tool\"; known are system, "));
  EXPECT_EQ(why_not(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})"),
            "messages[0]: content: a part of type \"image_url\"; only text can be trained on");
  EXPECT_EQ(why_not(R"({"messages": [{"role": "user", "content": [{"type": "thinking", "text": "a"}]}]})"),
            "messages[0]: content: a part of type \"thinking\"; only text can be trained on");
  EXPECT_EQ(why_not(R"({"messages": [{"role": "user", "content": ["a"]}]})"),
            "messages[0]: content: a part that is no text");
}

}  // namespace
}  // namespace lora
