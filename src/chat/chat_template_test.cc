#include "chat/chat_template.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "base/process.h"
#include "chat/conversation.h"
#include "tokenizer/test_vocabularies.h"

namespace lora {
namespace chat_template_test {

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

// Templates that look ahead, or back from behind their loop, in every way that there is.
TEST(ChatTemplate, BeginningsThatAreToldFromTheWholeAreThoseOfAnotherRendering) {
  const Conversation conversation = {{{"system", "s"},
                                      {"user", "a"},
                                      {"assistant", "b"},
                                      {"user", "c"},
                                      {"assistant", "d"},
                                      {"user", "e"},
                                      {"assistant", "f"}}};
  const std::string loop = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
  const std::string prompt = "{% if add_generation_prompt %}[p]{% endif %}";
  const auto with = [](std::string list, std::string in_loop) {
    return "{% for m in " + list + " %}" + in_loop + "[{{ m.role }}]{{ m.content }}{% endfor %}";
  };
  struct Row {
    std::string source;
    size_t least_known;  // of the 12 texts that begin the whole, without and with a prompt
  };
  const Row rows[] = {
      {loop + prompt, 12},
      {loop, 12},
      {with("messages", "{% if loop.first %}!{% endif %}{{ loop.index }}") + prompt, 12},
      {"{% set ns = namespace(n=0) %}" + with("messages", "{% set ns.n = ns.n + 1 %}") + "{{ ns.n }}" +
           prompt,
       12},
      {"{% if messages[0].role == 'system' %}{% set list = messages[1:] %}{{ messages[0].content }}{% endif "
       "%}" +
           with("list", "") + prompt,
       10},
      {with("messages", "{% generation %}x{% endgeneration %}") + prompt, 12},
      {"{% set add_generation_prompt = true %}" + loop + prompt, 6},
      {"{% if add_generation_prompt %}?{% endif %}" + loop + prompt, 6},
      {"{% macro p() %}{% if add_generation_prompt %}?{% endif %}{% endmacro %}" +
           with("messages", "{{ p() }}"),
       6},
      {with("messages", "{% if m.role == 'user' and loop.last %}!{% endif %}") + prompt, 4},
      {with("messages", "{% if loop.last %}!{% endif %}") + prompt, 0},
      {with("messages", "{{ loop.nextitem.role }}") + prompt, 0},
      {with("messages", "{{ loop.length }}") + prompt, 0},
      {with("messages", "{{ loop.revindex }}") + prompt, 0},
      {with("messages", "{{ messages[loop.index0 + 1].role }}") + prompt, 0},
      {with("messages", "{{ messages|length }}") + prompt, 0},
      {with("messages", "{% if loop.index0 < messages|length - 2 %}!{% endif %}"), 0},
      {with("messages[::-1]", "") + prompt, 0},
      {with("messages if m.role != 'system'", "{{ loop.index }}") + prompt, 0},
      {with("messages|list", "") + prompt, 0},
      {with("messages[:3]", "") + prompt, 0},
      {with("messages[-2:]", "") + prompt, 0},
      {loop + "{{ messages[-1].role }}" + prompt, 0},
      {loop + "{{ messages|length }}" + prompt, 0},
      {loop + "{% if messages %}{{ messages[0].role }}{% endif %}" + prompt, 12},
      {loop + "{{ messages[3].role }}" + prompt, 0},
      {loop + "{% for m in messages %}{{ m.role }}{% endfor %}" + prompt, 0},
      {loop + "{% set ns = namespace(n=1) %}{{ ns.n }}" + prompt, 0},
      {"{% set g = messages|map(attribute='role') %}" + loop + "{{ g|first }}" + prompt, 0},
      {"{% set g = [1, 2]|map('string') %}" + loop + "{{ '1' in g }}{{ '1' in g }}" + prompt, 0},
      {"{% set all = [messages] %}" + loop + "{{ all }}", 0},
      {"{% set n = namespace(m=messages) %}" + loop + "{{ n.m == messages }}{{ n.m[0].role }}", 12},
      {loop + "{% set x = 1 %}{% set x = x + 1 %}{{ x }}" + prompt, 12},
      {"{% set x = 1 %}" + loop + "{{ x }}{% set x = x + 1 %}" + prompt, 12},
      {"{% set x = 'x' * 5000 %}" + loop + "{{ x }}" + prompt, 0},
      {"{% set x = 'x' * 1000000 %}" + loop + "{{ x == x ~ 'y' }}" + prompt, 0},
      {"{% if true %}" + loop + "{% endif %}" + prompt, 0},
      {with("messages", "{% if loop.index == 4 %}{% break %}{% endif %}") + prompt, 0},
      {"{% for m in messages %}{% if m.role == 'x' %}{{ m.content }}{% endif %}{% else %}none{% endfor %}",
       0},
      {"{% for m in messages %}{% for n in messages %}{{ n.role }}{% endfor %}{% endfor %}", 0},
      {"{% for m in messages[1:] %}{% for n in messages[1:] %}{{ n.role }}{% endfor %}{% endfor %}", 0},
      {loop + "{{ raise_exception('no') if add_generation_prompt }}", 0},
      {loop + "{{ m.n.o if add_generation_prompt }}", 6},
      {with("messages", "{{ raise_exception('no') if m.content == 'f' }}") + prompt, 0},
  };
  for (const auto& [source, least_known] : rows) {
    SCOPED_TRACE(source);
    const ChatTemplate chat("test", source, kTokens);
    const WrittenDown written(conversation, chat);
    const auto text_of = [](const WrittenDown& from, size_t n, bool has_prompt) -> std::string {
      try {
        const WrittenDown::Text text = from.beginning(n, has_prompt);
        std::string all = text->text;
        for (const jinja::Range& block : text->generated)
          all += fmt::format("|{}-{}", block.begin, block.end);
        return all;
      } catch (const jinja::TemplateError& error) {
        return error.what();
      }
    };
    text_of(written, written.n_messages(), false);
    for (size_t n = 1; n < written.n_messages(); ++n) {
      for (const bool with_prompt : {false, true})
        EXPECT_EQ(text_of(written, n, with_prompt), text_of(WrittenDown(conversation, chat), n, with_prompt))
            << n << with_prompt;
    }
    EXPECT_GE(written.n_known(), least_known);
    const bool ends_at_length = source.find("'x' *") != source.npos;  // so that nothing is kept
    if (ends_at_length) {
      EXPECT_EQ(written.n_known(), 0u);
    }
  }
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
  const std::string path = testing::TempDir() + "lora_chat_" + std::to_string(process_id()) + ".jinja";
  std::ofstream(path, std::ios::binary) << "\xef\xbb\xbf{% if true %}\r\nof Windows\r\n{% endif %}\r\n";
  EXPECT_EQ(text(path, hi), "of Windows\n");
  std::filesystem::remove(path);
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

}  // namespace chat_template_test
}  // namespace lora
