// No field goes unheeded: honoured, refused by name, or listed.
#include "data/record_fields.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "data/data_test_util.h"
#include "data/record.h"

namespace lora {
namespace record_fields_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::string why_not(std::string_view text) {
  return test::error_of([&] { parse_record(text); });
}

constexpr const char* kForms[] = {R"("text": "a")", R"("prompt": "a", "completion": "b")",
                                  R"("instruction": "a", "output": "b")",
                                  R"("messages": [{"role": "user", "content": "a"}])",
                                  R"("conversations": [{"from": "gpt", "value": "a"}])"};

std::string with(std::string_view form, std::string_view name, std::string_view value) {
  return fmt::format("{{{}, \"{}\": {}}}", form, name, value);
}
std::string message_with(std::string_view name, std::string_view value, std::string_view role = "assistant") {
  return fmt::format(R"({{"messages": [{{"role": "{}", "content": "a", "{}": {}}}]}})", role, name, value);
}

TEST(RecordFields, WhatChangesWhatIsLearnedIsRefusedByName) {
  for (const char* name :
       {"tool_calls", "function_call", "tool_responses", "documents", "images", "image", "videos", "audios",
        "chosen", "rejected", "kto_tag", "mask", "loss_mask", "loss_scale", "sample_weight", "train_detail",
        "chat_template", "chat_template_kwargs", "instruction_template"}) {
    for (const char* form : kForms) {
      for (const char* value : {"\"x\"", "[1]", "{\"a\": 1}", "true"}) {
        EXPECT_THAT(why_not(with(form, name, value)), StartsWith(std::string(name) + ": ")) << form;
      }
      for (const char* nothing : {"null", "\"\"", "\" \"", "[]", "{}", "\"[]\""}) {
        EXPECT_EQ(why_not(with(form, name, nothing)), "") << name;
      }
    }
  }
  for (const char* name : {"tool_responses", "documents", "images", "mask"}) {
    EXPECT_THAT(why_not(message_with(name, "\"x\"")), StartsWith(fmt::format("messages[0]: {}: ", name)));
    EXPECT_EQ(why_not(message_with(name, "null")), "");
    EXPECT_EQ(parse_record(message_with(name, "[]")).ignored.size(), 0u);
  }
  // Named even where the form is not whole.
  EXPECT_THAT(why_not(R"({"prompt": "a", "chosen": "b", "rejected": "c"})"), StartsWith("chosen: "));
}

// What one form reads and another has no place for.
TEST(RecordFields, WhatAFormHasNoPlaceForIsRefusedByName) {
  for (const char* name : {"tools", "functions", "history", "reasoning_content", "thinking"}) {
    for (const char* form : {kForms[0], kForms[1]}) {
      EXPECT_THAT(why_not(with(form, name, "[1]")),
                  StartsWith(fmt::format("{}: texts are trained on as they stand", name)));
      EXPECT_EQ(why_not(with(form, name, "[]")), "");
    }
  }
  for (const char* name : {"history", "reasoning"}) {
    EXPECT_THAT(why_not(with(kForms[3], name, "\"x\"")),
                StartsWith(fmt::format("{}: messages have no place for it beside them", name)));
  }
}

// label is KTO's verdict on a completion, and elsewhere the class of a text.
TEST(RecordFields, ALabelIsRefusedWhereItIsAVerdict) {
  EXPECT_THAT(why_not(R"({"prompt": "a", "completion": "b", "label": false})"), StartsWith("label: "));
  EXPECT_THAT(why_not(R"({"prompt": "a", "completion": "b", "label": "True"})"), StartsWith("label: "));
  EXPECT_THAT(parse_record(R"({"text": "a", "label": 1})").ignored, ElementsAre("label"));
  EXPECT_THAT(parse_record(R"({"text": "a", "label": "1", "labels": ["x"]})").ignored,
              ElementsAre("label", "labels"));
  EXPECT_THAT(why_not(R"({"text": "a", "labels": [-100, 3]})"), StartsWith("labels: "));
}

TEST(RecordFields, WeightsAreZeroOrOne) {
  for (const char* name : {"weight", "train", "training", "trainable", "loss"}) {
    for (const char* value : {"1", "1.0", "true", "\"1\"", "\"true\"", "\"True\"", "null", "\"\""}) {
      EXPECT_FALSE(parse_record(message_with(name, value)).chat->messages[0].is_context) << name << value;
    }
    for (const char* value : {"0", "0.0", "-0.0", "false", "\"0\"", "\"False\""}) {
      EXPECT_TRUE(parse_record(message_with(name, value)).chat->messages[0].is_context) << name << value;
    }
    for (const char* value : {"0.5", "2", "-1", "\"yes\"", "[1]", "{\"a\": 1}", "1e-300"}) {
      EXPECT_THAT(why_not(message_with(name, value)),
                  StartsWith(fmt::format("messages[0]: {}: expected 1 or true, or 0 or false", name)));
    }
  }
  EXPECT_EQ(why_not(R"({"messages": [{"role": "assistant", "content": "a", "weight": 1, "train": false}]})"),
            "messages[0]: weight and train: one says to train on it, the other not to");
}

TEST(RecordFields, AWholeRecordMayHaveAWeight) {
  for (const char* form : kForms) {
    EXPECT_EQ(why_not(with(form, "weight", "1")), "");
    EXPECT_EQ(why_not(with(form, "weight", "0")), "nothing to train on: the record's weight is 0");
    EXPECT_EQ(why_not(with(form, "train", "false")), "nothing to train on: the record's weight is 0");
    EXPECT_THAT(why_not(with(form, "weight", "0.5")), HasSubstr("weight: expected 1 or true"));
    EXPECT_THAT(parse_record(with(form, "loss", "0.37")).ignored, ElementsAre("loss"));
  }
}

TEST(RecordFields, OthersAreListed) {
  EXPECT_THAT(parse_record(R"({"text": "a", "source": "x", "id": 0, "\u001b[2J": true, "note": ""})").ignored,
              ElementsAre("\\x1b[2J", "id", "source"));
  EXPECT_THAT(parse_record(R"({"messages": [{"role": "user", "content": "a", "name": "Ann"},
                                            {"role": "user", "content": "a", "name": "Bo", "id": 1}],
                              "prompt": "a", "refusal": null})")
                  .ignored,
              ElementsAre("messages[].id", "messages[].name", "prompt"));
  EXPECT_THAT(parse_record(R"({"instruction": "a", "input": "", "output": "b", "text": "c"})").ignored,
              ElementsAre("text"));
  EXPECT_THAT(parse_record(R"({"prompt": "a", "completion": "b", "input": "c"})").ignored,
              ElementsAre("input"));
  EXPECT_THAT(
      parse_record(R"({"instruction": "a", "output": "b", "system": "s", "history": [["q", "r"]]})").ignored,
      IsEmpty());
}

}  // namespace record_fields_test
}  // namespace lora
