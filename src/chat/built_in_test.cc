#include "chat/built_in.h"

#include <gmock/gmock.h>

#include "base/regex_test_util.h"
#include "chat/chat_template.h"
#include "chat/conversation.h"
#include "chat/training_text.h"

namespace lora {
namespace built_in_test {

const Conversation kConversation = {
    {{"system", "Be kind."}, {"user", "Hi"}, {"assistant", "Hello"}, {"user", "Bye"}}};

ChatTemplate built_in(std::string_view name) {
  return {std::string(name), *find_built_in_template(name), {"<s>", "</s>", "", ""}};
}

std::string rendered(std::string_view name) {
  const ChatTemplate chat = built_in(name);
  return WrittenDown(kConversation, chat).text(4, true);
}

TEST(BuiltInTemplate, RendersChatml) {
  EXPECT_EQ(rendered("chatml"),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(BuiltInTemplate, RendersLlama3) {
  EXPECT_EQ(rendered("llama3"),
            "<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(BuiltInTemplate, RendersLlama2) {
  EXPECT_EQ(rendered("llama2"),
            "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello </s><s>[INST] Bye [/INST]");
}

TEST(BuiltInTemplate, RendersMistral) {
  EXPECT_EQ(rendered("mistral"), "[INST] Be kind.\n\nHi [/INST] Hello</s>[INST] Bye [/INST]");
}

TEST(BuiltInTemplate, RendersLaterMistrals) {
  EXPECT_EQ(rendered("mistral-v3"), "[INST] Be kind.\n\nHi[/INST] Hello</s>[INST] Bye[/INST]");
  EXPECT_EQ(rendered("mistral-v3-tekken"), "[INST]Be kind.\n\nHi[/INST]Hello</s>[INST]Bye[/INST]");
  EXPECT_EQ(rendered("mistral-v7"),
            "[SYSTEM_PROMPT] Be kind.[/SYSTEM_PROMPT][INST] Hi[/INST] Hello</s>[INST] Bye[/INST]");
  EXPECT_EQ(rendered("mistral-v7-tekken"),
            "[SYSTEM_PROMPT]Be kind.[/SYSTEM_PROMPT][INST]Hi[/INST]Hello</s>[INST]Bye[/INST]");
}

TEST(BuiltInTemplate, RendersGemma) {
  EXPECT_EQ(rendered("gemma"),
            "<start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
            "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n");
}

TEST(BuiltInTemplate, RendersGemma4) {
  EXPECT_EQ(rendered("gemma4"),
            "<|turn>system\nBe kind.<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\nHello<turn|>\n"
            "<|turn>user\nBye<turn|>\n<|turn>model\n");
}

TEST(BuiltInTemplate, RendersPhi3) {
  EXPECT_EQ(rendered("phi3"),
            "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n"
            "<|user|>\nBye<|end|>\n<|assistant|>\n");
}

TEST(BuiltInTemplate, RendersPhi4) {
  EXPECT_EQ(rendered("phi4"),
            "<|im_start|>system<|im_sep|>Be kind.<|im_end|><|im_start|>user<|im_sep|>Hi<|im_end|>"
            "<|im_start|>assistant<|im_sep|>Hello<|im_end|><|im_start|>user<|im_sep|>Bye<|im_end|>"
            "<|im_start|>assistant<|im_sep|>");
}

TEST(BuiltInTemplate, RendersZephyr) {
  EXPECT_EQ(rendered("zephyr"),
            "<|system|>\nBe kind.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello</s>\n"
            "<|user|>\nBye</s>\n<|assistant|>\n");
}

TEST(BuiltInTemplate, RendersAlpaca) {
  EXPECT_EQ(rendered("alpaca"),
            "Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello</s>\n\n"
            "### Instruction:\nBye\n\n### Response:\n");
}

TEST(BuiltInTemplate, RendersVicuna) {
  EXPECT_EQ(rendered("vicuna"), "Be kind. USER: Hi ASSISTANT: Hello</s>USER: Bye ASSISTANT:");
}

TEST(BuiltInTemplate, RendersDeepseek) {
  EXPECT_EQ(rendered("deepseek"),
            "Be kind.<｜User｜>Hi<｜Assistant｜>Hello<｜end▁of▁sentence｜><｜User｜>Bye<｜Assistant｜>");
  EXPECT_EQ(rendered("deepseek2"), "Be kind.\n\nUser: Hi\n\nAssistant: Hello</s>User: Bye\n\nAssistant:");
}

TEST(BuiltInTemplate, DefaultSystemMessageStandsWhereNoneIsGiven) {
  const Conversation hi = {{{"user", "Hi"}}};
  EXPECT_THAT(WrittenDown(hi, built_in("alpaca")).text(1, false),
              matches_regex("Below is an instruction .* request\\.\n\n### Instruction:\nHi\n\n"));
  EXPECT_EQ(WrittenDown(hi, built_in("gemma")).text(1, false), "<start_of_turn>user\nHi<end_of_turn>\n");
}

// What is trained on of each, up to the end of a turn.
TEST(BuiltInTemplate, TrainsTheReplyAndTheEndOfItsTurn) {
  const std::pair<const char*, const char*> cases[] = {
      {"alpaca", "Hello</s>"},
      {"chatml", "Hello<|im_end|>"},
      {"deepseek", "Hello<｜end▁of▁sentence｜>"},
      {"deepseek2", " Hello</s>"},
      {"gemma", "Hello<end_of_turn>"},
      {"gemma4", "Hello<turn|>"},
      {"llama2", " Hello </s>"},
      {"llama3", "Hello<|eot_id|>"},
      {"mistral", " Hello</s>"},
      {"mistral-v3", " Hello</s>"},
      {"mistral-v3-tekken", "Hello</s>"},
      {"mistral-v7", " Hello</s>"},
      {"mistral-v7-tekken", "Hello</s>"},
      {"phi3", "Hello<|end|>"},
      {"phi4", "Hello<|im_end|>"},
      {"vicuna", " Hello</s>"},
      {"zephyr", "Hello</s>"},
  };
  ASSERT_EQ(std::size(cases), built_in_templates().size());
  for (const auto& [name, trained] : cases) {
    const ChatTemplate chat = built_in(name);
    const std::vector<TrainingText> texts = training_texts(kConversation, chat, {}, {});
    ASSERT_EQ(texts.size(), 1u) << name;
    ASSERT_EQ(texts[0].trained.size(), 1u) << name;
    const TextRange range = texts[0].trained[0];
    EXPECT_EQ(texts[0].text.substr(range.begin, range.end - range.begin), trained) << name;
    EXPECT_THAT(rendered(name), testing::StartsWith(texts[0].text)) << name;
  }
}

TEST(BuiltInTemplate, RepliesAreOverWhereTheNextMessageBegins) {
  EXPECT_THAT(built_in("chatml").stops(), testing::Contains("<|im_end|>"));
  EXPECT_THAT(built_in("alpaca").stops(),
              testing::IsSupersetOf({"</s>", "\n\n### Instruction:", "### Instruction:"}));
  EXPECT_THAT(built_in("vicuna").stops(), testing::Contains("USER:"));
}

}  // namespace built_in_test
}  // namespace lora
