#include "data/record.h"

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
  bool is_reply = false;
  for (const ChatSpan& span : record_spans(record, {find_chat_family(family), "<s>", "</s>"}, train_on_all)) {
    if (span.is_reply != is_reply) text += span.is_reply ? "[" : "]";
    is_reply = span.is_reply;
    text += span.text;
  }
  return text + (is_reply ? "]" : "");
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
            "messages[0]: a part that is no text");
}

}  // namespace
}  // namespace lora
