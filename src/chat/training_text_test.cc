#include "chat/training_text.h"

#include <gmock/gmock.h>

#include "chat/training_text_test_util.h"
#include "tokenizer/test_vocabularies.h"

namespace lora {
namespace training_text_test {

using test::error_of;
using test::shown;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> trained(std::string_view source, const Conversation& conversation,
                                 const TrainingTextOptions& options = {}) {
  const ChatTemplate chat("test", source, {"<s>", "</s>", "", ""});
  return shown(training_texts(conversation, chat, find_form(conversation, chat, false), options));
}

constexpr const char* kChatml =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
constexpr const char* kGlm =
    "[gMASK]{% for m in messages %}{{ '<|observation|>' if m.role == 'tool' else '<|' + m.role + '|>' }}\n"
    "{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";
// Thoughts stay in the last message alone, and the prompt for a reply ends in their beginning.
constexpr const char* kThinking =
    "{% for m in messages %}<{{ m.role }}>"
    "{% if m.reasoning_content and loop.last %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant><think>{% endif %}";

const Conversation kTwoTurns = {
    {{"user", "Hi"}, {"assistant", "Hello"}, {"user", "Bye"}, {"assistant", "Farewell"}}};

TEST(TrainingText, IsEachReplyWithTheTokenThatEndsItsTurn) {
  EXPECT_THAT(trained(kChatml, kTwoTurns),
              ElementsAre("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{Hello<|im_end|>}\n"
                          "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n{Farewell<|im_end|>}"));
}

TEST(TrainingText, TokenThatEndsATurnMayBeginTheNext) {
  EXPECT_THAT(trained(kGlm, kTwoTurns), ElementsAre("[gMASK]<|user|>\nHi<|assistant|>{\nHello<|user|>}\nBye"
                                                    "<|assistant|>{\nFarewell<|user|>}"));
}

TEST(TrainingText, ACallEndsWithTheTokenThatBeginsItsResult) {
  const nlohmann::ordered_json call = {{"tool_calls", {{{"function", {{"name", "f"}}}}}}};
  EXPECT_THAT(trained(kGlm, {{{"user", "Hi"}, {"assistant", "", false, call}}}),
              ElementsAre("[gMASK]<|user|>\nHi<|assistant|>{\nf<|observation|>}"));
}

// What a call ends with is spelled as a mark is, and so may be what a reply says.
TEST(TrainingText, WhatTheTurnSaysAtItsEndIsNotItsEnd) {
  EXPECT_THAT(trained(kGlm, {{{"user", "Hi"}, {"assistant", "<b>Hello</b>"}}}),
              ElementsAre("[gMASK]<|user|>\nHi<|assistant|>{\n<b>Hello</b><|user|>}"));
  const nlohmann::ordered_json call = {{"tool_calls", {{{"function", {{"name", "<call>f</call>"}}}}}}};
  EXPECT_THAT(trained(kGlm, {{{"user", "Hi"}, {"assistant", "", false, call}, {"tool", "x"}}}),
              ElementsAre("[gMASK]<|user|>\nHi<|assistant|>{\n<call>f</call><|observation|>}"));
}

TEST(TrainingText, EveryMarkThatEndsATurnIsTrained) {
  const std::string two =
      "{% for m in messages %}<{{ m.role }}><begin>{{ m.content }}<end><over>{% endfor %}"
      "{% if add_generation_prompt %}<assistant><begin>{% endif %}";
  EXPECT_THAT(trained(two + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}", kTwoTurns),
              ElementsAre("<user><begin>Hi<end><over><assistant><begin>{Hello<end><over>}"
                          "<user><begin>Bye<end><over><assistant><begin>{Farewell<end><over>}"));
  const ChatTemplate chat("test", two, {"<s>", "</s>", "", ""});
  EXPECT_EQ(chat.end_of_turn(), "<end>");
  EXPECT_EQ(chat.closing(), "<end><over>");
}

TEST(TrainingText, ThoughtsStandWhereTheTemplateReadsThem) {
  const Conversation thinking = {
      {{"user", "Hi"}, {"assistant", "Hello", false, {{"reasoning_content", "a"}}}}};
  for (const std::string field : {"m.reasoning_content", "m.thinking", "m['reasoning']"}) {
    EXPECT_THAT(trained("{% for m in messages %}<{{ m.role }}>{% if enable_thinking or " + field + " %}({{ " +
                            field + " }}){% endif %}{{ m.content }}<end>{% endfor %}",
                        thinking),
                ElementsAre(testing::EndsWith("(a)Hello<end>}")))
        << field;
  }
}

// As Llama 3's first one does.
TEST(TrainingText, TheNextRepliesHeaderIsNotTrainedWhereATemplateAlwaysWritesIt) {
  EXPECT_THAT(trained("{% for m in messages %}<|h|>{{ m.role }}<|/h|>{{ m.content }}<|eot|>{% endfor %}"
                      "<|h|>assistant<|/h|>",
                      kTwoTurns),
              ElementsAre("<|h|>user<|/h|>Hi<|eot|><|h|>assistant<|/h|>{Hello<|eot|>}"
                          "<|h|>user<|/h|>Bye<|eot|><|h|>assistant<|/h|>{Farewell<|eot|>}"));
}

TEST(TrainingText, APromptThatTheAnswerWouldChangeStays) {
  const char* mistral =
      "{% set system = messages[0].content %}{% for m in messages[1:] %}{% if m.role == 'user' %}"
      "[INST]{% if loop.last %}{{ system }}. {% endif %}{{ m.content }}[/INST]{% else %} {{ m.content }}"
      "{{ eos_token }}{% endif %}{% endfor %}";
  Conversation asked = kTwoTurns;
  asked.messages.insert(asked.messages.begin(), {"system", "Be kind"});
  EXPECT_THAT(trained(mistral, asked),
              ElementsAre("[INST]Be kind. Hi[/INST]{ Hello</s>}",
                          "[INST]Hi[/INST] Hello</s>[INST]Be kind. Bye[/INST]{ Farewell</s>}"));
}

TEST(TrainingText, EndMayDifferFromOneReplyToAnother) {
  const char* harmony =
      "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}"
      "{{ '<|return|>' if loop.last and m.role == 'assistant' else '<|end|>' }}{% endfor %}"
      "{% if add_generation_prompt %}<|start|>assistant{% endif %}";
  EXPECT_THAT(
      trained(harmony, kTwoTurns),
      ElementsAre("<|start|>user<|message|>Hi<|end|><|start|>assistant{<|message|>Hello<|return|>}",
                  "<|start|>user<|message|>Hi<|end|><|start|>assistant<|message|>Hello<|end|>"
                  "<|start|>user<|message|>Bye<|end|><|start|>assistant{<|message|>Farewell<|return|>}"));
}

TEST(TrainingText, TurnsAreTrainedOneByOneWhereThoughtsAreDropped) {
  Conversation thinking = kTwoTurns;
  thinking.messages[1].more = {{"reasoning_content", "a"}};
  thinking.messages[3].more = {{"reasoning_content", "b"}};
  EXPECT_THAT(
      trained(kThinking, thinking),
      ElementsAre(
          "<user>Hi<end><assistant><think>{a</think>Hello<end>}",
          "<user>Hi<end><assistant>Hello<end><user>Bye<end><assistant><think>{b</think>Farewell<end>}"));
}

TEST(TrainingText, PromptThatEndsOtherwiseThanTheReplyBeginsIsSharedUpToItsLastMark) {
  EXPECT_THAT(trained(kThinking, kTwoTurns),
              ElementsAre("<user>Hi<end><assistant>{Hello<end>}<user>Bye<end><assistant>{Farewell<end>}"));
  EXPECT_THAT(trained(kThinking, {{{"user", "Hi"}, {"assistant", "<thanks>"}}}),
              ElementsAre("<user>Hi<end><assistant>{<thanks><end>}"));
}

TEST(TrainingText, GenerationBlocksSayWhatIsTrainedOn) {
  const char* marked =
      "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{{ 'Answer: ' }}"
      "{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<end>\n"
      "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
  EXPECT_THAT(trained(marked, kTwoTurns),
              ElementsAre("<user>Hi<end>\n<assistant>Answer: {Hello<end>}\n<user>Bye<end>\n"
                          "<assistant>Answer: {Farewell<end>}"));
}

TEST(TrainingText, ContextIsNotTrainedOn) {
  Conversation weighted = kTwoTurns;
  weighted.messages[1].is_context = true;
  EXPECT_THAT(trained("{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
                      "{% if add_generation_prompt %}<assistant>{% endif %}",
                      weighted),
              ElementsAre("<user>Hi<end><assistant>Hello<end><user>Bye<end><assistant>{Farewell<end>}"));
  EXPECT_THAT(
      trained("{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}", weighted, {true}),
      ElementsAre("{<user>Hi<end>}<assistant>Hello<end>{<user>Bye<end><assistant>Farewell<end>}"));
  weighted.messages[3].is_context = true;
  EXPECT_THAT(trained(kChatml, weighted), testing::IsEmpty());
}

TEST(TrainingText, EmptyRepliesAreNotTrainedOn) {
  EXPECT_THAT(trained(kChatml, {{{"user", "Hi"}, {"assistant", " \n"}}}), testing::IsEmpty());
}

TEST(TrainingText, ReplyBeforeAnyQuestionIsTrainedFromBehindItsMark) {
  EXPECT_THAT(trained(kChatml, {{{"assistant", "Hello"}, {"user", "Hi"}}}),
              ElementsAre("<|im_start|>assistant\n{Hello<|im_end|>}"));
  EXPECT_THAT(trained(std::string("{% set first = messages[0].role %}") + kChatml,
                      {{{"assistant", "Hello"}, {"user", "Hi"}}}),
              ElementsAre("<|im_start|>assistant\n{Hello<|im_end|>}"));
}

// A template that refuses a reply without a question within its loop: the question that is put there is no
// reply.
TEST(TrainingText, QuestionThatIsPutBeforeAReplyIsNotTrainedOn) {
  const char* strict =
      "{% for m in messages %}{% if loop.first and m.role != 'user' %}{{ raise_exception('no') }}"
      "{% endif %}[{{ m.role }}]{{ m.content }}<end>{% endfor %}"
      "{% if add_generation_prompt %}[assistant]{% endif %}";
  EXPECT_THAT(
      trained(strict, {{{"system", "S"}, {"assistant", "Hello"}, {"user", "Hi"}, {"assistant", "Ah"}}}),
      ElementsAre(
          "[user]S\n\n[Start a new chat]<end>[assistant]{Hello<end>}[user]Hi<end>[assistant]{Ah<end>}"));
}

TEST(TrainingText, EndOfATurnIsKnownAlsoWhereThoughtsWillBeDropped) {
  const char* glm =
      "{% for m in messages %}<|{{ m.role }}|>{% if m.reasoning_content and loop.last %}"
      "<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}{% endfor %}"
      "{% if add_generation_prompt %}<|assistant|>{% endif %}";
  EXPECT_THAT(trained(glm, {{{"user", "Hi"}, {"assistant", "Hello", false, {{"reasoning_content", "a"}}}}}),
              ElementsAre("<|user|>Hi<|assistant|>{<think>a</think>Hello<|user|>}"));
}

TEST(TrainingText, WithoutAMarkTheReplyEndsWhereItsTextDoes) {
  EXPECT_THAT(trained("{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}"
                      "{% if add_generation_prompt %}assistant:{% endif %}",
                      kTwoTurns),
              ElementsAre("user: Hi\n\nassistant:{ Hello}\n\nuser: Bye\n\nassistant:{ Farewell}"));
}

TEST(TrainingText, TokensThatAMessageSpellsAreNoTokens) {
  test::VocabularyFile file;
  file.add("<unk>", 0, TokenKind::unknown).add("<|im_end|>", 0, TokenKind::control);
  for (int byte = 0; byte < 256; ++byte) file.add(fmt::format("<0x{:02X}>", byte), 0, TokenKind::byte);
  const Tokenizer tokenizer(file.open());
  const ChatTemplate chat("chatml", kChatml, {});
  const Conversation asked = {{{"user", "What is <|im_end|>?"}, {"assistant", "A mark: <|im_end|>."}}};
  const auto written = training_texts(asked, chat, {}, {}, tokenizer);
  ASSERT_EQ(written.size(), 1u);
  EXPECT_THAT(shown(written),
              ElementsAre("<|im_start|>user\nWhat is <|im_end|>?<|im_end|>\n<|im_start|>assistant\n"
                          "{A mark: <|im_end|>.<|im_end|>}"));
  std::vector<Token> tokens;
  Encoder(tokenizer).append(tokens, written[0].text, written[0].special_in);
  EXPECT_EQ(std::ranges::count(tokens, 1), 2) << "only those of the template";
  const auto parsed = training_texts(asked, chat, {}, {false, true}, tokenizer);
  tokens.clear();
  Encoder(tokenizer).append(tokens, parsed[0].text, parsed[0].special_in);
  EXPECT_EQ(std::ranges::count(tokens, 1), 4);
}

std::string why_not(std::string_view source, const Conversation& conversation, bool train_on_all = false) {
  const Tokenizer tokenizer(Gguf::open(test::bundled_model()));
  const ChatTemplate chat("test", source, {"<s>", "</s>", "", ""});
  return error_of([&] { training_texts(conversation, chat, {}, {train_on_all}, tokenizer); });
}

TEST(TrainingText, WhatATemplateLeavesOutIsAnError) {
  const nlohmann::ordered_json call = {
      {"tool_calls", {{{"function", {{"name", "weather"}, {"arguments", {{"place", "Hull"}}}}}}}}};
  const std::string tools = "{% for t in tools or [] %}{{ t.function.name }} {% endfor %}";
  Conversation calls = {{{"user", "Hi"}, {"assistant", "", false, call}},
                        {{{"function", {{"name", "weather"}}}}}};
  EXPECT_THAT(why_not(tools + kChatml, calls), HasSubstr("does not write weather of a call of a tool"));
  EXPECT_THAT(
      why_not(tools + "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
                      "{% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %}<end>{% endfor %}"
                      "{% if add_generation_prompt %}<assistant>{% endif %}",
              calls),
      HasSubstr("does not write place of a call of a tool"));
  EXPECT_THAT(why_not(kChatml, calls), HasSubstr("does not write the tools"));
  // The same word stands in the question.
  Conversation thoughts = {{{"user", "soup"}, {"assistant", "Yes", false, {{"reasoning_content", "soup"}}}}};
  EXPECT_THAT(why_not(kChatml, thoughts), HasSubstr("does not write the thoughts"));
  EXPECT_EQ(why_not(kChatml, kTwoTurns), "");
}

TEST(TrainingText, OtherMessagesBehindThePromptAreAnError) {
  EXPECT_THAT(why_not("{% for m in messages|reverse %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}",
                      {{{"user", "How do whales sleep?"}, {"assistant", "Deeply."}}}),
              HasSubstr("writes other messages behind the prompt"));
}

TEST(TrainingText, GenerationThatIsHiddenIsAnErrorAndAPartOfAReplyStaysOne) {
  EXPECT_THAT(
      why_not(
          "{% for m in messages %}{% set x %}{% generation %}{{ m.content }}{% endgeneration %}{% endset %}"
          "<{{ m.role }}>{{ x }}<end>{% endfor %}",
          kTwoTurns),
      HasSubstr("a generation block within a set or filter block"));
  const ChatTemplate part(
      "part",
      "{% for m in messages %}<{{ m.role }}>{% generation %}{{ m.content[:3] }}{% endgeneration %}"
      "{{ m.content[3:] }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
      {});
  const auto texts = training_texts({{{"user", "Hi"}, {"assistant", "Hello"}}}, part, {}, {});
  EXPECT_THAT(shown(texts), ElementsAre("<user>Hi<end><assistant>{Hel}lo<end>"));
  EXPECT_FALSE(texts.at(0).ends_turn);
}

TEST(TrainingText, ACharacterThatIsNoneIsRefusedWhereTokensAreSpelled) {
  const Conversation spelled = {{{"user", "x\xEF\xB7\x90</s>"}, {"assistant", "Hello"}}};
  EXPECT_THAT(why_not(kChatml, spelled), HasSubstr("U+FDD0"));
}

TEST(TrainingText, ToolsThatSpellATokenSpellNone) {
  const Tokenizer tokenizer(Gguf::open(test::bundled_model()));
  const ChatTemplate chat("tools", std::string("{{ tools[0].function.name }}") + kChatml,
                          {"<s>", "</s>", "", ""});
  const Conversation asked = {{{"user", "Hi"}, {"assistant", "Hello"}},
                              {{{"function", {{"name", "f</s>"}}}}}};
  const auto written = training_texts(asked, chat, {}, {}, tokenizer);
  ASSERT_EQ(written.size(), 1u);
  EXPECT_THAT(written[0].text, testing::StartsWith("f</s><|im_start|>"));
  std::vector<Token> tokens;
  Encoder(tokenizer).append(tokens, written[0].text, written[0].special_in);
  EXPECT_EQ(std::ranges::count(tokens, tokenizer.eos()), 0);
}

TEST(TrainingText, AllButTheContextOfATemplateThatRewritesIsAnError) {
  Conversation weighted = kTwoTurns;
  weighted.messages[1].is_context = true;
  weighted.messages[1].more = {{"reasoning_content", "a"}};
  EXPECT_THAT(why_not(kThinking, weighted, true), HasSubstr("a message of weight 0"));
}

TEST(TrainingText, PromptEndsWhereTheReplyBegins) {
  const Tokenizer tokenizer(Gguf::open(test::bundled_model()));
  const ChatTemplate chat("chatml", kChatml, {});
  EXPECT_EQ(prompt_text({{{"user", "Hi"}}}, chat, {}, tokenizer).text,
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

}  // namespace training_text_test
}  // namespace lora
