// lora template: what a chat template makes of a conversation, and what of it would be trained on.
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli_test.h"

namespace lora::test {
namespace template_test {

using nlohmann::ordered_json;
using testing::HasSubstr;

class TemplateCommand : public testing::Test {
 protected:
  static constexpr const char* kChatml =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  Folder folder;
};

TEST_F(TemplateCommand, ShowsAShortConversationWithWhatIsTrainedOn) {
  folder.write("t.jinja", kChatml);
  const RunResult run = folder.lora({"template", "t.jinja"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(
      run.out,
      HasSubstr("<|im_start|>assistant\n{+One half of the brain at a time.<|im_end|>+}\n<|im_start|>user"));
  EXPECT_THAT(folder.lora({"template", "vicuna"}).out,
              HasSubstr("ASSISTANT:{+ One half of the brain at a time.</s>+}USER:"));
}

TEST_F(TemplateCommand, RendersTheVariablesOfAFileAndNothingElse) {
  folder.write(
      "t.jinja",
      "{{ bos_token }}{{ messages[0].content }}{{ tools|length }}{{ more }}{{ eos_token is defined }}"
      "{{ strftime_now('%d %b %Y') }}\n\n");
  folder.write(
      "m.json",
      R"({"messages": [{"role": "user", "content": "ü\u001b"}], "tools": [1, 2], "more": true, "bos_token": "<b>"})");
  const RunResult run = folder.lora({"template", "t.jinja", "--messages", "m.json", "--date", "2026-11-28"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.out,
            "<b>ü\x1b"
            "2TrueFalse28 Nov 2026\n");
}

TEST_F(TemplateCommand, JsonGivesTheBytesThatAreTrainedOn) {
  folder.write("t.jinja", kChatml);
  folder.write("m.json", R"([{"role": "user", "content": "Grüße"}, {"role": "assistant", "content": "雪"}])");
  const RunResult run = folder.lora({"template", "t.jinja", "--messages", "m.json", "--json"});
  ASSERT_EQ(run.status, 0) << run.err;
  const auto result = parse_json(run.out);
  const std::string text = result["text"];
  EXPECT_EQ(text, "<|im_start|>user\nGrüße<|im_end|>\n<|im_start|>assistant\n雪<|im_end|>\n");
  ASSERT_EQ(result["trained"].size(), 1u);
  const size_t begin = result["trained"][0][0], end = result["trained"][0][1];
  EXPECT_EQ(text.substr(begin, end - begin), "雪<|im_end|>");
}

TEST_F(TemplateCommand, TakesTheModelsTokens) {
  folder.write("t.jinja", "{{ bos_token }}|{{ eos_token }}");
  folder.write("m.json", R"({"messages": [], "bos_token": "no", "eos_token": "no"})");
  const RunResult run =
      folder.lora({"template", "-m", "model.gguf", "--chat-template", "t.jinja", "--messages", "m.json"});
  EXPECT_EQ(run.out, "<s>|</s>") << run.err;
}

TEST_F(TemplateCommand, ErrorsAreTheTemplatesWithItsLine) {
  folder.write("t.jinja", "\n{{ raise_exception('roles must alternate') }}");
  folder.write("bad.jinja", "a\nb\n{{ x|sparkle }}");
  folder.write("m.json", "{\"messages\": []}");
  expect_error(folder.lora({"template", "t.jinja", "--messages", "m.json"}), 1,
               "t.jinja: line 2: roles must alternate");
  expect_error(folder.lora({"template", "bad.jinja"}), 1, "bad.jinja: line 3: ");
}

TEST_F(TemplateCommand, RefusesWhatIsNoConversation) {
  folder.write("t.jinja", kChatml);
  folder.write("text.json", "\"Hello\"");
  folder.write("cut.json", "{\"messages\": [");
  folder.write("deep.json", std::string(3000, '['));
  expect_error(folder.lora({"template", "t.jinja", "--messages", "text.json"}), 1,
               "text.json: expected an object with a list of messages");
  expect_error(folder.lora({"template", "t.jinja", "--messages", "cut.json"}), 1, "cut.json: no valid JSON");
  expect_error(folder.lora({"template", "t.jinja", "--messages", "deep.json"}), 1,
               "deep.json: nests more than");
  expect_error(folder.lora({"template", "t.jinja", "--date", "2026-02-30"}), 2, "--date: expected a date");
  expect_error(folder.lora({"template"}), 2, "FILE: expected");
  expect_error(folder.lora({"template", "none.jinja"}), 1, "none.jinja: cannot open");
}

}  // namespace template_test
}  // namespace lora::test
