#include "chat/chat_template.h"

#include <gmock/gmock.h>

#include "tokenizer/test_vocabularies.h"

namespace lora {
namespace {

using test::error_of;
using testing::HasSubstr;

const ChatTemplate::Tokens kTokens = {"<s>", "</s>", "", ""};
constexpr const char* kStrict =
    "{% if messages[0].role != 'user' %}{{ raise_exception('the user begins') }}{% endif %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}<|end|>{% endfor %}";

TEST(ChatTemplate, KnowsTheMarksThatEndATurn) {
  EXPECT_EQ(mark_size("<|im_end|>\n", "</s>"), 10u);
  EXPECT_EQ(mark_size("</s>", ""), 4u);
  EXPECT_EQ(mark_size("EOS.", "EOS"), 3u);
  EXPECT_EQ(mark_size("<｜end▁of▁sentence｜>", ""), std::string_view("<｜end▁of▁sentence｜>").size());
  EXPECT_EQ(mark_size("[/INST] Hi", ""), 7u);
  for (const char* text : {"", "<", "<>", "< b>", "<<b>", "a<b>", "[]", "[1]", "[a]", "[INST"}) {
    EXPECT_EQ(mark_size(text, ""), 0u) << text;
  }
}

TEST(ChatTemplate, TellsWhatStandsAroundAReply) {
  const ChatTemplate glm("glm",
                         "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
                         "{% if add_generation_prompt %}<|assistant|>{% endif %}",
                         kTokens);
  EXPECT_EQ(glm.end_of_turn(), "<|user|>");
  EXPECT_EQ(glm.after_reply(), "");
  EXPECT_EQ(glm.generation_prompt(), "<|assistant|>");
  EXPECT_EQ(glm.before_reply(), "\n");
}

TEST(ChatTemplate, SystemMessageThatIsRefusedGoesIntoTheFirstOfTheUser) {
  const ChatTemplate chat("strict", kStrict, kTokens);
  const Conversation conversation = {{{"system", "Be kind."}, {"user", "Hi"}, {"assistant", "Hello"}}};
  const ChatForm form = find_form(conversation, chat, false);
  EXPECT_TRUE(form.system_in_user);
  EXPECT_EQ(WrittenDown(conversation, chat, form).text(3, false),
            "[user]Be kind.\n\nHi<|end|>[assistant]Hello<|end|>");
}

TEST(ChatTemplate, ReplyThatBeginsGetsAQuestionWhereItIsRefused) {
  const ChatTemplate chat("strict", kStrict, kTokens);
  const Conversation conversation = {{{"system", "Be kind."}, {"assistant", "Hello"}}};
  const ChatForm form = find_form(conversation, chat, false);
  EXPECT_TRUE(form.user_first && form.system_in_user);
  EXPECT_EQ(WrittenDown(conversation, chat, form).text(2, false),
            "[user]Be kind.\n\n[Start a new chat]<|end|>[assistant]Hello<|end|>");
  const Conversation goes_on = {{{"system", "Be kind."}, {"assistant", "Hello"}, {"user", "Hi"}}};
  EXPECT_EQ(WrittenDown(goes_on, chat, form).text(3, false),
            "[user]Be kind.\n\n[Start a new chat]<|end|>[assistant]Hello<|end|>[user]Hi<|end|>");
}

// As Qwen 3.5's: the whole has a question, its beginning has none.
TEST(ChatTemplate, ReplyThatBeginsGetsAQuestionWhereItsBeginningAloneIsRefused) {
  const ChatTemplate chat("asks",
                          "{% if not messages|selectattr('role', 'equalto', 'user')|list %}"
                          "{{ raise_exception('no question') }}{% endif %}"
                          "{% for m in messages %}[{{ m.role }}]{{ m.content }}<|end|>{% endfor %}",
                          kTokens);
  EXPECT_TRUE(
      find_form({{{"assistant", "Hello"}, {"user", "Hi"}, {"assistant", "Ah"}}}, chat, false).user_first);
}

TEST(ChatTemplate, ArgumentsAreATextForTemplatesThatTakeThemSo) {
  const ChatTemplate chat(
      "calls", "{% for m in messages %}{{ m.content + m.tool_calls[0].function.arguments }}{% endfor %}",
      kTokens);
  const Conversation conversation = {
      {{"assistant",
        "",
        false,
        {{"tool_calls", {{{"function", {{"name", "f"}, {"arguments", {{"n", 1}}}}}}}}}}}};
  const ChatForm form = find_form(conversation, chat, false);
  EXPECT_TRUE(form.arguments_as_text);
  EXPECT_EQ(WrittenDown(conversation, chat, form).text(1, false), R"({"n":1})");
}

TEST(ChatTemplate, ContentIsAListOfPartsWhereItWouldBeLost) {
  const ChatTemplate chat(
      "parts", "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}",
      kTokens);
  const Conversation conversation = {{{"user", "Hi"}}};
  EXPECT_TRUE(chat.takes_parts_only());
  EXPECT_EQ(WrittenDown(conversation, chat).text(1, false), "Hi");
}

TEST(ChatTemplate, OneThatHitsABoundIsTriedOnce) {
  const std::string endless =
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
  EXPECT_THAT(error_of([&] { ChatTemplate("bomb", endless, kTokens); }), HasSubstr("too many steps"));
  const ChatTemplate chat(
      "of tools",
      "{% for m in messages %}{{ m.content }}{% if m.tool_calls %}" + endless + "{% endif %}{% endfor %}",
      kTokens);
  const Conversation conversation = {
      {{"system", "a"}, {"assistant", "b", false, {{"tool_calls", {{{"function", {{"name", "f"}}}}}}}}}};
  try {
    find_form(conversation, chat, false);
    FAIL() << "no error";
  } catch (const jinja::TemplateError& error) {
    EXPECT_TRUE(error.hits_bound());
  }
}

TEST(ChatTemplate, BeginningsAreRenderedOnce) {
  const ChatTemplate chat("turns", "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}",
                          kTokens);
  const Conversation conversation = {{{"user", "a"}, {"assistant", "b"}, {"user", "c"}}};
  const WrittenDown written = WrittenDown::in_its_form(conversation, chat, false);
  EXPECT_EQ(written.beginning(3, false), written.beginning(3, false)) << "the same text, kept";
  EXPECT_EQ(written.beginning(2, false), written.beginning(2, false));
  const WrittenDown other = written.with_other(2, {"assistant", "x"}, {"user", "y"});
  EXPECT_EQ(other.text(3, false), "[user]a[assistant]x[user]c");
  EXPECT_EQ(written.with_other(3, {"user", "x"}, {"tool", "y"}).text(4, false),
            "[user]a[assistant]b[user]x[tool]y");
}

TEST(ChatTemplate, WhatNoFormMendsIsTheTemplatesError) {
  const ChatTemplate chat("no", "{{ raise_exception('never') }}", kTokens);
  const Conversation conversation = {{{"system", "a"}, {"user", "b"}}};
  EXPECT_THAT(error_of([&] { find_form(conversation, chat, true); }), HasSubstr("never"));
}

TEST(ChatTemplates, AreTheModelsOwnNamedBuiltInOrAFile) {
  test::VocabularyFile file;
  file.add("<unk>", 0, TokenKind::unknown).add("<begin>", 0, TokenKind::control);
  for (int byte = 0; byte < 256; ++byte) file.add(fmt::format("<0x{:02X}>", byte), 0, TokenKind::byte);
  file.writer.set_u32("tokenizer.ggml.bos_token_id", 1);
  file.writer.set_string("tokenizer.chat_template", "own {{ bos_token }}");
  file.writer.set_string("tokenizer.chat_template.tool_use", "tools");
  file.writer.set_strings("tokenizer.chat_templates", {"tool_use"});
  const Tokenizer tokenizer(file.open());
  const auto text = [&](std::string_view choice, const Conversation& conversation) {
    return WrittenDown(conversation, ChatTemplates(choice, tokenizer, "m.gguf", {}).of(conversation))
        .text(1, true);
  };
  const Conversation hi = {{{"user", "Hi"}}};
  Conversation with_tools = hi;
  with_tools.tools = {{{"name", "f"}}};
  EXPECT_EQ(text("auto", hi), "own <begin>");
  EXPECT_EQ(text("auto", with_tools), "tools");
  EXPECT_EQ(text("tool_use", hi), "tools");
  EXPECT_EQ(text("vicuna", hi), "USER: Hi ASSISTANT:");
  EXPECT_THAT(error_of([&] { text("none", hi); }),
              testing::AllOf(HasSubstr("--chat-template: no template 'none'"), HasSubstr("tool_use"),
                             HasSubstr("llama3")));
  EXPECT_THAT(error_of([&] { text("none.jinja", hi); }), HasSubstr("none.jinja: cannot open"));
}

TEST(ChatTemplates, WithoutOneTheErrorNamesThoseWhoseTokensAreThere) {
  const Tokenizer plain(Gguf::open(test::bundled_model()));
  const std::string error = error_of([&] { ChatTemplates("auto", plain, "m.gguf", {}); });
  EXPECT_THAT(error, testing::AllOf(HasSubstr("m.gguf: the model has no chat template"), HasSubstr("alpaca"),
                                    testing::Not(HasSubstr("llama3"))));
}

TEST(ChatTemplates, OneThatCannotBeRunIsRefusedWithWhatItUses) {
  test::VocabularyFile file;
  file.add("<unk>", 0, TokenKind::unknown);
  for (int byte = 0; byte < 256; ++byte) file.add(fmt::format("<0x{:02X}>", byte), 0, TokenKind::byte);
  file.writer.set_string("tokenizer.chat_template", "\n{{ messages|shuffle }}");
  const Tokenizer tokenizer(file.open());
  EXPECT_THAT(error_of([&] { ChatTemplates("auto", tokenizer, "m.gguf", {}); }),
              testing::AllOf(HasSubstr("m.gguf: tokenizer.chat_template"), HasSubstr("line 2"),
                             HasSubstr("shuffle")));
}

}  // namespace
}  // namespace lora
