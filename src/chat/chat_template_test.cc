#include "chat/chat_template.h"

#include <gmock/gmock.h>

#include "tokenizer/test_vocabularies.h"

namespace lora {
namespace {

using test::error_of;
using testing::HasSubstr;

const std::vector<ChatMessage> kConversation = {
    {"system", "Be kind."}, {"user", "Hi"}, {"assistant", "Hello"}, {"user", "Bye"}};

ChatTemplate family(std::string_view name) {
  return {find_chat_family(name), "<s>", "</s>"};
}

std::string rendered(std::string_view name) {
  return render(family(name), kConversation, true);
}

TEST(ChatTemplate, RendersChatml) {
  EXPECT_EQ(rendered("chatml"),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(ChatTemplate, RendersLlama3) {
  EXPECT_EQ(rendered("llama3"),
            "<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(ChatTemplate, RendersLlama2) {
  EXPECT_EQ(rendered("llama2"),
            "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello </s><s>[INST] Bye [/INST]");
}

TEST(ChatTemplate, RendersMistral) {
  EXPECT_EQ(rendered("mistral"), "[INST] Be kind.\n\nHi [/INST] Hello</s>[INST] Bye [/INST]");
}

TEST(ChatTemplate, RendersLaterMistrals) {
  EXPECT_EQ(rendered("mistral-v3"), "[INST] Be kind.\n\nHi[/INST] Hello</s>[INST] Bye[/INST]");
  EXPECT_EQ(rendered("mistral-v3-tekken"), "[INST]Be kind.\n\nHi[/INST]Hello</s>[INST]Bye[/INST]");
  EXPECT_EQ(rendered("mistral-v7"),
            "[SYSTEM_PROMPT] Be kind.[/SYSTEM_PROMPT][INST] Hi[/INST] Hello</s>[INST] Bye[/INST]");
  EXPECT_EQ(rendered("mistral-v7-tekken"),
            "[SYSTEM_PROMPT]Be kind.[/SYSTEM_PROMPT][INST]Hi[/INST]Hello</s>[INST]Bye[/INST]");
}

TEST(ChatTemplate, RendersGemma) {
  EXPECT_EQ(rendered("gemma"),
            "<start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
            "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n");
}

TEST(ChatTemplate, RendersPhi3) {
  EXPECT_EQ(rendered("phi3"),
            "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n"
            "<|user|>\nBye<|end|>\n<|assistant|>\n");
}

TEST(ChatTemplate, RendersPhi4) {
  EXPECT_EQ(rendered("phi4"),
            "<|im_start|>system<|im_sep|>Be kind.<|im_end|><|im_start|>user<|im_sep|>Hi<|im_end|>"
            "<|im_start|>assistant<|im_sep|>Hello<|im_end|><|im_start|>user<|im_sep|>Bye<|im_end|>"
            "<|im_start|>assistant<|im_sep|>");
}

TEST(ChatTemplate, RendersZephyr) {
  EXPECT_EQ(rendered("zephyr"),
            "<|system|>\nBe kind.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello</s>\n"
            "<|user|>\nBye</s>\n<|assistant|>\n");
}

TEST(ChatTemplate, RendersAlpaca) {
  EXPECT_EQ(rendered("alpaca"),
            "Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello</s>\n\n"
            "### Instruction:\nBye\n\n### Response:\n");
}

TEST(ChatTemplate, RendersVicuna) {
  EXPECT_EQ(rendered("vicuna"), "Be kind. USER: Hi ASSISTANT: Hello</s>USER: Bye ASSISTANT:");
}

TEST(ChatTemplate, RendersDeepseek) {
  EXPECT_EQ(rendered("deepseek"),
            "Be kind.<｜User｜>Hi<｜Assistant｜>Hello<｜end▁of▁sentence｜><｜User｜>Bye<｜Assistant｜>");
  EXPECT_EQ(rendered("deepseek2"), "Be kind.\n\nUser: Hi\n\nAssistant: Hello</s>User: Bye\n\nAssistant:");
}

TEST(ChatTemplate, DefaultSystemMessageStandsWhereNoneIsGiven) {
  const std::vector<ChatMessage> hi = {{"user", "Hi"}};
  EXPECT_THAT(render(family("alpaca"), hi, false),
              testing::MatchesRegex("Below is an instruction .* request\\.\n\n### Instruction:\nHi\n\n"));
  EXPECT_EQ(render(family("gemma"), hi, false), "<start_of_turn>user\nHi<end_of_turn>\n");
}

TEST(ChatTemplate, TextOfABeginIsAPrefixOfTheWhole) {
  for (const ChatFamily& row : chat_families()) {
    for (size_t n = 2; n <= kConversation.size(); ++n) {
      const auto begin = std::span(kConversation).first(n);
      EXPECT_THAT(rendered(row.name), testing::StartsWith(render(family(row.name), begin, false)))
          << row.name;
    }
  }
}

TEST(ChatTemplate, ReplyEndsWithTheEndOfItsTurn) {
  for (const ChatFamily& row : chat_families()) {
    const ChatTemplate chat = family(row.name);
    EXPECT_THAT(render(chat, std::span(kConversation).first(3), false),
                testing::EndsWith("Hello" + end_of_turn(chat) + after_turn(chat)));
  }
}

TEST(ChatTemplate, ContentIsNotSearchedForPlaceholders) {
  const std::vector<ChatMessage> hi = {{"user", "{eos}"}};
  EXPECT_EQ(render(family("zephyr"), hi, false), "<|user|>\n{eos}</s>\n");
}

TEST(ChatTemplate, EndThatIsATokenOfItsOwnIsAStopTextToo) {
  EXPECT_THAT(chat_stops(family("chatml")), testing::ElementsAre("<|im_end|>"));
  EXPECT_THAT(chat_stops(family("mistral")), testing::IsEmpty());
  EXPECT_THAT(chat_stops(family("alpaca")), testing::Contains("### Instruction:"));
}

std::string recognized(const char* text) {
  const ChatFamily* found = recognize_chat_family(text);
  return found ? std::string(found->name) : "none";
}

TEST(ChatTemplate, MarksInTheMetadataTellTheFamily) {
  const std::pair<const char*, const char*> cases[] = {
      {"chatml", "{{ '<|im_start|>' + message.role }}"},
      {"llama3", "{{ '<|start_header_id|>' + role }}"},
      {"llama2", "{{ '[INST] <<SYS>>' }}"},
      {"mistral-v7", "{{ '[INST] ' + content + '[/INST]' }}{{ '[SYSTEM_PROMPT] ' }}"},
      {"mistral-v7-tekken", "{{ '[SYSTEM_PROMPT]' }}{{ '[INST]' + content + '[/INST]' }}"},
      {"mistral-v3", "{{ '[INST] ' + content + '[/INST]' }}"},
      {"mistral-v3-tekken", "{{ '[INST]' + content + '[/INST]' }}"},
      {"mistral", "{{ bos_token + '[INST] ' + content + ' [/INST]' }}"},
      {"gemma", "{{ '<start_of_turn>' + role }}"},
      {"phi3", "{{ '<|user|>' + content + '<|end|>' }}"},
      {"phi4", "{{ '<|im_start|>user<|im_sep|>' }}"},
      {"zephyr", "{{ '<|user|>' + content + eos_token }}"},
      {"alpaca", "{{ '### Instruction:' }}"},
      {"vicuna", "{{ 'USER: ' }} {{ 'ASSISTANT: ' }}"},
      {"deepseek", "{{ '<｜User｜>' + content }}"},
      {"deepseek2", "{{ 'User: ' + content }}{{ 'Assistant: ' + content + eos_token }}"}};
  ASSERT_EQ(std::size(cases), chat_families().size());
  for (const auto& [name, text] : cases) EXPECT_EQ(recognized(text), name);
  for (const char* unknown : {"", "{{ message }}", "### Instruction: <|EOT|>"}) {
    EXPECT_EQ(recognize_chat_family(unknown), nullptr) << unknown;
  }
}

TEST(ChatTemplate, MistralsWithToolsAreToldApartBySpaces) {
  const std::pair<const char*, const char*> cases[] = {
      {"mistral", "{{ '[AVAILABLE_TOOLS] ' }}{{ '[INST] ' + content + ' [/INST]' }}"},
      {"mistral-v3", "{{ '[AVAILABLE_TOOLS] ' }}{{ '[INST] ' + content + '[/INST]' }}"},
      {"mistral-v3-tekken", "{{ '[AVAILABLE_TOOLS]' }}{{ '[INST]' + content + '[/INST]' }}"},
      {"mistral-v7-tekken",
       "{{ '[AVAILABLE_TOOLS]' }}{{ '[SYSTEM_PROMPT]' }}{{ '[INST]' + content + '[/INST]' }}"}};
  for (const auto& [name, text] : cases) EXPECT_EQ(recognized(text), name) << text;
}

TEST(ChatTemplate, ChoosesByNameOrMetadataAndElseListsTheFamilies) {
  test::VocabularyFile file;
  file.add("<unk>", 0, TokenKind::unknown).add("<begin>", 0, TokenKind::control);
  for (int byte = 0; byte < 256; ++byte) file.add(fmt::format("<0x{:02X}>", byte), 0, TokenKind::byte);
  file.writer.set_u32("tokenizer.ggml.bos_token_id", 1);
  file.writer.set_string("tokenizer.chat_template", "<|im_start|>");
  const Tokenizer tokenizer(file.open()), plain(Gguf::open(test::bundled_model()));
  EXPECT_EQ(choose_chat_template("auto", tokenizer, "m.gguf").family->name, "chatml");
  const ChatTemplate named = choose_chat_template("vicuna", tokenizer, "m.gguf");
  EXPECT_EQ(named.family->name, "vicuna");
  EXPECT_EQ(named.bos, "<begin>");
  EXPECT_EQ(choose_chat_template("alpaca", plain, "m.gguf").eos, "</s>");
  EXPECT_THAT(error_of([&] { choose_chat_template("auto", plain, "m.gguf"); }),
              testing::AllOf(HasSubstr("m.gguf: the model has no chat template"), HasSubstr("llama3")));
  EXPECT_THAT(error_of([&] { choose_chat_template("none", plain, "m.gguf"); }),
              testing::AllOf(HasSubstr("--chat-template: no family 'none'"), HasSubstr("llama3")));
}

}  // namespace
}  // namespace lora
