#include "data/record.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.h"
#include "chat/training_text.h"
#include "data/data_test_util.h"

namespace lora {
namespace record_test {

using testing::ElementsAre;
using testing::HasSubstr;

std::string why_not(std::string_view text) {
  return test::error_of([&] { parse_record(text); });
}

// The record written down, with [ ] around what is trained on.
std::string marked(const Record& record, std::string family = "chatml", bool train_on_all = false) {
  if (!train_on_all && !record.only_with_all.empty()) fail("{}", record.only_with_all);
  if (!record.chat) {
    return train_on_all ? "[" + record.prompt + record.completion + "]"
                        : record.prompt + "[" + record.completion + "]";
  }
  if (record.in_alpacas_words) family = "alpaca";
  const ChatTemplate chat = read_chat_template(family, {"<s>", "</s>", "", ""}, {});
  std::string shown;
  for (const TrainingText& written : training_texts(*record.chat, chat, {}, {train_on_all})) {
    size_t at = 0;
    for (const TextRange& range : written.trained) {
      shown += written.text.substr(at, range.begin - at) + "[" +
               written.text.substr(range.begin, range.end - range.begin) + "]";
      at = range.end;
    }
    shown += written.text.substr(at);
  }
  return shown;
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
      "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n[3</s>]");
  const std::string bare =
      "Below is an instruction that describes a task. Write a response that appropriately completes the "
      "request.\n\n### Instruction:\nAdd.\n\n### Response:\n[3</s>]";
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
  EXPECT_EQ(record.chat->messages[0].content, "ab");
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
  EXPECT_EQ(why_not(R"({"system": "S", "system_prompt": "T", "messages": []})"),
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
            "S\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n[3</s>]");
  const std::string earlier =
      R"({"instruction": "Go on.", "output": "C", "system": "S", "history": [["Q", "A"], ["R", ""]]})";
  EXPECT_EQ(
      marked(parse_record(earlier)),
      "S\n\n### Instruction:\nQ\n\n### Response:\n[A</s>]\n\n### Instruction:\nR\n\n### Response:\n</s>\n\n"
      "### Instruction:\nGo on.\n\n### Response:\n[C</s>]");
  for (const char* history : {"[\"x\"]", "[[\"a\"]]", "[[\"a\", null]]", "\"[1]\""}) {
    EXPECT_EQ(why_not(fmt::format(R"({{"instruction": "a", "output": "b", "history": {}}})", history)),
              "history: expected a list of [question, answer] pairs");
  }
  for (const char* history : {"\"x\"", "{\"a\": \"b\"}"}) {
    EXPECT_THAT(why_not(fmt::format(R"({{"instruction": "a", "output": "b", "history": {}}})", history)),
                testing::StartsWith("history: expected a list"));
  }
  EXPECT_EQ(
      marked(parse_record(
          R"({"instruction": "b", "output": "c", "history": "[[\"q\", \"r\"]]", "system": "S"})")),
      "S\n\n### Instruction:\nq\n\n### Response:\n[r</s>]\n\n### Instruction:\nb\n\n### Response:\n[c</s>]");
  for (const char* form : {R"("text": "a")", R"("prompt": "a", "completion": "b")", R"("messages": [])"}) {
    EXPECT_THAT(why_not(fmt::format(R"({{{}, "history": [["a", "b"]]}})", form)),
                testing::AllOf(testing::StartsWith("history: "), HasSubstr("no place for it")));
    EXPECT_EQ(why_not(fmt::format(R"({{{}, "history": []}})", form)), "");
  }
}

// The conversation as lines of ROLE: CONTENT, with * at what is not learned from.
std::string lines_of(const Record& record) {
  std::string lines;
  for (const ChatMessage& message : record.chat->messages) {
    lines += fmt::format("{}{}: {}\n", message.role, message.is_context ? "*" : "", message.content);
  }
  return lines;
}

TEST(Record, AQuestionAndItsAnswerAreAConversationOfTheModels) {
  for (const auto& [question, answer] :
       {std::pair{"question", "answer"}, std::pair{"prompt", "response"}, std::pair{"query", "response"}}) {
    const Record record = parse_record(
        fmt::format(R"({{"{}": "Q", "{}": "A", "system": "S", "history": [["P", "B"]], "reasoning": "R",)"
                    R"( "tools": [{{"name": "f"}}]}})",
                    question, answer));
    EXPECT_FALSE(record.in_alpacas_words);
    EXPECT_EQ(lines_of(record), "system: S\nuser: P\nassistant: B\nuser: Q\nassistant: A\n");
    EXPECT_EQ(record.chat->messages[4].more.dump(), R"({"reasoning_content":"R"})");
    EXPECT_EQ(record.chat->tools.dump(), R"([{"type":"function","function":{"name":"f"}}])");
    EXPECT_TRUE(record.ignored.empty());
    EXPECT_THAT(why_not(fmt::format(R"({{"{}": "Q", "{}": "A", "context": "C"}})", question, answer)),
                testing::StartsWith("context: a question and its answer have no place for it"));
  }
  EXPECT_EQ(lines_of(parse_record(R"({"question": "Q", "input": "I", "answer": "A"})")),
            "user: Q\nI\nassistant: A\n");
  EXPECT_EQ(marked(parse_record(R"({"question": "U", "answer": "A"})"), "vicuna"),
            "USER: U ASSISTANT:[ A</s>]");
}

TEST(Record, DollysContextIsAnInput) {
  const Record dolly =
      parse_record(R"({"instruction": "Add.", "context": "1 2", "response": "3", "category": "closed_qa"})");
  EXPECT_TRUE(dolly.in_alpacas_words);
  EXPECT_EQ(marked(dolly), marked(parse_record(R"({"instruction": "Add.", "input": "1 2", "output": "3"})")));
  EXPECT_THAT(dolly.ignored, ElementsAre("category"));
  EXPECT_EQ(why_not(R"({"instruction": "a", "input": "b", "context": "c", "output": "d"})"),
            "context: it has an input, too");
  for (const char* name : {"tools", "reasoning_content"}) {
    EXPECT_EQ(why_not(fmt::format(R"({{"instruction": "a", "output": "b", "{}": "[1]"}})", name)),
              fmt::format("{}: Alpaca's words have no place for it; use messages", name));
  }
}

// As TRL has them: what the assistant said before the completion is not trained on.
TEST(Record, PromptAndCompletionAsMessages) {
  const Record record = parse_record(
      R"({"prompt": [{"role": "user", "content": "U"}, {"role": "assistant", "content": "A"},
                     {"role": "user", "content": "V"}],
          "completion": [{"role": "assistant", "content": "B"}], "system": "S"})");
  EXPECT_EQ(lines_of(record), "system: S\nuser: U\nassistant*: A\nuser: V\nassistant: B\n");
  EXPECT_EQ(marked(record, "vicuna"), "S USER: U ASSISTANT: A</s>USER: V ASSISTANT:[ B</s>]");
  EXPECT_EQ(why_not(R"({"prompt": [{"role": "user", "content": "U"}]})"), "completion: missing");
  EXPECT_EQ(why_not(R"({"completion": [{"role": "user", "content": "U"}]})"), "prompt: missing");
  EXPECT_EQ(why_not(R"({"prompt": "a", "completion": [{"role": "assistant", "content": "B"}]})"),
            "prompt and completion: one is a list of messages, the other is not");
  EXPECT_EQ(
      why_not(R"({"prompt": [{"role": "assistant", "content": "A", "train": true}], "completion": []})"),
      "prompt[0]: it asks to be trained on, but belongs to the prompt");
  EXPECT_EQ(why_not(R"({"prompt": [], "completion": [{"role": "x", "content": "A"}]})").substr(0, 28),
            "completion[0]: unknown role ");
}

TEST(Record, TheFirstWholeFormCounts) {
  EXPECT_EQ(marked(parse_record(R"({"prompt": "p", "instruction": "i", "output": "o", "text": "t"})")),
            marked(parse_record(R"({"instruction": "i", "output": "o"})")));
  EXPECT_EQ(parse_record(R"({"question": "q", "text": "t"})").completion, "t");
  EXPECT_EQ(
      lines_of(parse_record(R"({"messages": null, "conversation": [{"role": "user", "content": "U"}]})")),
      "user: U\n");
}

TEST(Record, ListsMayBeJsonTexts) {
  EXPECT_EQ(lines_of(parse_record(R"({"messages": "[{\"role\": \"user\", \"content\": \"U\"}]"})")),
            "user: U\n");
  EXPECT_EQ(why_not(R"({"messages": "[{'role': 'user', 'content': 'U'}]"})"),
            "messages: expected a list or its JSON text: no valid JSON in UTF-8 from its byte 3 on; it is as "
            "Python prints it, json.dumps() writes JSON");
  EXPECT_EQ(why_not(R"({"messages": "{}"})"),
            "messages: expected a list or its JSON text, found the text of object");
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
  EXPECT_EQ(why_not("{\"question\": \"a\"}"), "answer: missing");
  EXPECT_EQ(why_not("{\"response\": \"a\"}"), "prompt: missing");
  EXPECT_THAT(
      why_not("{\"frage\": \"a\", \"antwort\": \"b\"}"),
      HasSubstr("found the fields frage, antwort; expected one of these forms: prompt and completion, "));
  EXPECT_EQ(why_not("{\"messages\": 7}"), "messages: expected a list, found number");
  std::string wide = "{\"text\": \"a\"";
  for (int i = 0; i < 5000; ++i) wide += fmt::format(", \"f{}\": 1", i);
  EXPECT_EQ(why_not(wide + "}"), "an object of more than 4096 fields");
  EXPECT_EQ(why_not(R"({"text": "a", "text": "b"})"), "two fields of one object are named text");
  EXPECT_EQ(why_not(R"({"messages": [{"role": "user", "content": "a:{", "role": "x"}]})"),
            "two fields of one object are named role");
  EXPECT_EQ(why_not(R"({"text": "a", "more": [{"id": 1}, {"id": 2, "a": {"id": ":"}}]})"), "");
  EXPECT_EQ(why_not("{\"messages\": [1]}"), "messages[0]: expected an object, found number");
  EXPECT_EQ(why_not(R"({"messages": [{"content": "a"}]})"), "messages[0]: no role or from");
  EXPECT_EQ(why_not(R"({"messages": [{"role": "user", "content": null}]})"),
            "messages[0]: no content or value");
  EXPECT_THAT(why_not(R"({"messages": [{"role": "narrator", "content": "a"}]})"),
              HasSubstr("unknown role \"narrator\"; known are system, "));
  EXPECT_EQ(why_not(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})"),
            "messages[0]: content: a part of type \"image_url\"; only text can be trained on");
  EXPECT_EQ(why_not(R"({"messages": [{"role": "user", "content": [{"type": "thinking", "text": "a"}]}]})"),
            "messages[0]: content: a part of type \"thinking\"; only text can be trained on");
  EXPECT_EQ(why_not(R"({"messages": [{"role": "user", "content": ["a"]}]})"),
            "messages[0]: content: a part that is no text");
}

}  // namespace record_test
}  // namespace lora
