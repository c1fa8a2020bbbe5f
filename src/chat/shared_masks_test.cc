// What is trained on of the templates of real models: drawn out for some, and what holds for all.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "chat/training_text_test_util.h"

namespace lora {
namespace shared_masks_test {

using nlohmann::ordered_json;

const std::string kFolder = LORA_SHARED_DIR "/templates/";

ChatTemplate template_of(const std::string& file, ordered_json variables = nullptr) {
  return {file,
          MappedFile(kFolder + file).text(),
          {"<s>", "</s>", "", ""},
          {std::make_shared<ordered_json>(std::move(variables)), {2026, 11, 28, 12, 0, 0}}};
}

// From the question on, "Hi": what stands before it is the template's own system message.
using Drawn = std::vector<std::pair<std::string, std::vector<std::string>>>;
void expect_drawn(const Drawn& rows, const Conversation& conversation) {
  if (!std::filesystem::exists(kFolder)) GTEST_SKIP() << kFolder << " is not here";
  for (const auto& [file, expected] : rows) {
    const ChatTemplate chat = template_of(file + ".jinja");
    std::vector<std::string> found;
    for (const std::string& text : test::shown(training_texts(conversation, chat, {}, {}))) {
      const std::string end = text.substr(0, text.rfind('}') + 1);
      found.push_back(end.substr(end.rfind("Hi")));
    }
    EXPECT_EQ(found, expected) << file;
  }
}

TEST(SharedMasks, OfTwoTurns) {
  expect_drawn(
      {
          {"Apertus-8B-Instruct",
           {"Hi<|user_end|><|assistant_start|>{Hello<|assistant_end|>}<|user_start|>Bye<|user_end|>"
            "<|assistant_start|>{Farewell<|assistant_end|>}"}},
          {"ByteDance-Seed-OSS",
           {"Hi<seed:eos><seed:bos>assistant\n{Hello<seed:eos>}<seed:bos>user\nBye<seed:eos>"
            "<seed:bos>assistant\n{Farewell<seed:eos>}"}},
          {"Mistral-Small-3.2-24B-Instruct-2506", {"Hi[/INST]{Hello</s>}[INST]Bye[/INST]{Farewell</s>}"}},
          {"cohere2",
           {"Hi<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
            "<|START_RESPONSE|>{Hello<|END_RESPONSE|><|END_OF_TURN_TOKEN|>}<|START_OF_TURN_TOKEN|>"
            "<|USER_TOKEN|>Bye<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
            "<|START_RESPONSE|>{Farewell<|END_RESPONSE|><|END_OF_TURN_TOKEN|>}"}},
          {"deepseekv3",
           {"Hi<｜Assistant｜>{Hello<｜end▁of▁sentence｜>}"
            "<｜User｜>Bye<｜Assistant｜>{Farewell<｜end▁of▁sentence｜>}"}},
          {"gemma-4",
           {"Hi<turn|>\n<|turn>model\n{Hello<turn|>}\n<|turn>user\nBye<turn|>\n"
            "<|turn>model\n{Farewell<turn|>}"}},
          {"gemma3",
           {"Hi<end_of_turn>\n<start_of_turn>model\n{Hello<end_of_turn>}\n"
            "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n{Farewell<end_of_turn>}"}},
          {"glm4moe",
           {"Hi<|assistant|>{\n<think></think>\nHello<|user|>}\nBye<|assistant|>{\n<think>"
            "</think>\nFarewell<|user|>}"}},
          {"gptoss",
           {"Hi<|end|><|start|>assistant{<|channel|>final<|message|>Hello<|return|>}",
            "Hi<|end|><|start|>assistant<|channel|>final<|message|>Hello<|end|>"
            "<|start|>user<|message|>Bye<|end|>"
            "<|start|>assistant{<|channel|>final<|message|>Farewell<|return|>}"}},
          {"lfm2",
           {"Hi<|im_end|>\n<|im_start|>assistant\n{Hello<|im_end|>}\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n{Farewell<|im_end|>}"}},
          {"llama3_2",
           {"Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n{Hello<|eot_id|>}"
            "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n{Farewell<|eot_id|>}"}},
          {"mistralai-Mistral-Nemo-Instruct-2407", {"Hi[/INST]{Hello</s>}[INST]Bye[/INST]{Farewell</s>}"}},
          {"nemotron_3_nano",
           {"Hi<|im_end|>\n<|im_start|>assistant\n<think>{</think>Hello<|im_end|>}\n"
            "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n<think>{</think>Farewell<|im_end|>}"}},
          {"phi3",
           {"Hi<|end|>\n<|assistant|>\n{Hello<|end|>}\n<|user|>\nBye<|end|>\n<|assistant|>\n{Farewell<|end|>"
            "}"}},
          {"qwen2_5",
           {"Hi<|im_end|>\n<|im_start|>assistant\n{Hello<|im_end|>}\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n{Farewell<|im_end|>}"}},
          {"qwen3",
           {"Hi<|im_end|>\n<|im_start|>assistant\n{<think>\n\n</think>\n\nHello<|im_end|>}",
            "Hi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n{<think>\n\n</think>\n\nFarewell<|im_end|>}"}},
          {"qwen3_6",
           {"Hi<|im_end|>\n<|im_start|>assistant\n<think>\n{\n</think>\n\nHello<|im_end|>}",
            "Hi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n<think>\n{\n</think>\n\nFarewell<|im_end|>}"}},
      },
      {{{"user", "Hi"}, {"assistant", "Hello"}, {"user", "Bye"}, {"assistant", "Farewell"}}});
}

TEST(SharedMasks, OfThoughts) {
  expect_drawn(
      {
          {"ByteDance-Seed-OSS",
           {"Hi<seed:eos><seed:bos>assistant\n{<seed:think>greet</seed:think>\nHello<seed:eos>}"
            "<seed:bos>user\nBye<seed:eos>"
            "<seed:bos>assistant\n{<seed:think>part</seed:think>\nFarewell<seed:eos>}"}},
          {"glm4moe",
           {"Hi<|assistant|>{\n<think>greet</think>\nHello<|user|>}",
            "Hi<|assistant|>\n<think></think>\nHello<|user|>\nBye<|assistant|>{\n"
            "<think>part</think>\nFarewell<|user|>}"}},
          {"gptoss",
           {"Hi<|end|><|start|>assistant{<|channel|>analysis<|message|>greet<|end|>"
            "<|start|>assistant<|channel|>final<|message|>Hello<|return|>}",
            "Hi<|end|><|start|>assistant<|channel|>final<|message|>Hello<|end|>"
            "<|start|>user<|message|>Bye<|end|><|start|>assistant{<|channel|>analysis<|message|>part<|end|>"
            "<|start|>assistant<|channel|>final<|message|>Farewell<|return|>}"}},
          {"nemotron_3_nano",
           {"Hi<|im_end|>\n<|im_start|>assistant\n<think>\n{greet\n</think>\nHello<|im_end|>}",
            "Hi<|im_end|>\n<|im_start|>assistant\n<think></think>\nHello<|im_end|>\n"
            "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n<think>\n{part\n"
            "</think>\nFarewell<|im_end|>}"}},
          {"qwen3",
           {"Hi<|im_end|>\n<|im_start|>assistant\n{<think>\ngreet\n</think>\n\nHello<|im_end|>}",
            "Hi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n{<think>\npart\n</think>\n\nFarewell<|im_end|>}"}},
          {"qwen3_6",
           {"Hi<|im_end|>\n<|im_start|>assistant\n<think>\n{greet\n</think>\n\nHello<|im_end|>}",
            "Hi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n<think>\n{part\n</think>\n\nFarewell<|im_end|>}"}},
      },
      {{{"user", "Hi"},
        {"assistant", "Hello", false, {{"reasoning_content", "greet"}}},
        {"user", "Bye"},
        {"assistant", "Farewell", false, {{"reasoning_content", "part"}}}}});
}

TEST(SharedMasks, OfToolsCalls) {
  const ordered_json function = ordered_json::parse(
      R"({"name": "f", "description": "F", "parameters": {"type": "object", )"
      R"("properties": {"n": {"type": "integer", "description": "N"}}, "required": ["n"]}})");
  const ordered_json call = {
      {"id", "abcdefgh1"}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", {{"n", 2}}}}}};
  expect_drawn(
      {
          {"ByteDance-Seed-OSS",
           {"Hi<seed:eos><seed:bos>assistant\n{<seed:tool_call>\n<function=f>\n<parameter=n>2</parameter>\n"
            "</function>\n</seed:tool_call><seed:eos>}<seed:bos>tool\n4<seed:eos>"
            "<seed:bos>assistant\n{Four<seed:eos>}"}},
          {"Mistral-Small-3.2-24B-Instruct-2506",
           {"Hi[/INST]{[TOOL_CALLS]f[CALL_ID]abcdefgh1[ARGS]{\"n\": 2}</s>}"
            "[TOOL_RESULTS]abcdefgh1[TOOL_CONTENT]4[/TOOL_RESULTS]{Four</s>}"}},
          {"gemma-4",
           {"Hi<turn|>\n<|turn>model\n{<|tool_call>call:f{n:2}<tool_call|><|tool_response>}"
            "response:f{value:<|\"|>4<|\"|>}<tool_response|>{Four<turn|>}"}},
          {"glm4moe",
           {"Hi<|assistant|>{\n<think></think>\n<tool_call>f\n<arg_key>n</arg_key>\n"
            "<arg_value>2</arg_value>\n</tool_call><|observation|>}\n<tool_response>\n4\n</tool_response>"
            "<|assistant|>{\n<think></think>\nFour<|user|>}"}},
          {"gptoss",
           {"Hi<|end|><|start|>assistant{ to=functions.f<|channel|>commentary json<|message|>{\"n\": 2}"
            "<|call|>}<|start|>functions.f to=assistant<|channel|>commentary<|message|>\"4\"<|end|>"
            "<|start|>assistant{<|channel|>final<|message|>Four<|return|>}"}},
          {"llama3_2",
           {"Hi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n{{\"name\": \"f\", \"parameters\": {\"n\": 2}}"
            "<|eot_id|>}<|start_header_id|>ipython<|end_header_id|>\n\n\"4\"<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n{Four<|eot_id|>}"}},
          {"mistralai-Mistral-Nemo-Instruct-2407",
           {"Hi[/INST]{[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"n\": 2}, \"id\": \"abcdefgh1\"}]</s>}"
            "[TOOL_RESULTS]{\"content\": 4, \"call_id\": \"abcdefgh1\"}[/TOOL_RESULTS]{Four</s>}"}},
          {"nemotron_3_nano",
           {"Hi<|im_end|>\n<|im_start|>assistant\n<think>{</think>\n<tool_call>\n<function=f>\n"
            "<parameter=n>\n2\n</parameter>\n</function>\n</tool_call>\n<|im_end|>}\n<|im_start|>user\n"
            "<tool_response>\n4\n</tool_response>\n<|im_end|>\n<|im_start|>assistant\n"
            "<think>{</think>Four<|im_end|>}"}},
          {"qwen2_5",
           {"Hi<|im_end|>\n<|im_start|>assistant\n{<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 2}}"
            "\n</tool_call><|im_end|>}\n<|im_start|>user\n<tool_response>\n4\n</tool_response><|im_end|>\n"
            "<|im_start|>assistant\n{Four<|im_end|>}"}},
          {"qwen3",
           {"Hi<|im_end|>\n<|im_start|>assistant\n{<think>\n\n</think>\n\n"
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 2}}\n</tool_call><|im_end|>}",
            "Hi<|im_end|>\n<|im_start|>assistant\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 2}}\n"
            "</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n4\n</tool_response><|im_end|>\n"
            "<|im_start|>assistant\n{<think>\n\n</think>\n\nFour<|im_end|>}"}},
          {"Qwen3-Coder",
           {"Hi<|im_end|>\n<|im_start|>assistant\n{<tool_call>\n<function=f>\n<parameter=n>\n2\n"
            "</parameter>\n</function>\n</tool_call><|im_end|>}\n<|im_start|>user\n<tool_response>\n4\n"
            "</tool_response>\n<|im_end|>\n<|im_start|>assistant\n{Four<|im_end|>}"}},
      },
      {{{"user", "Hi"},
        {"assistant", "", false, {{"tool_calls", {call}}}},
        {"tool", "4", false, {{"tool_call_id", "abcdefgh1"}, {"name", "f"}}},
        {"assistant", "Four"}},
       ordered_json::array({{{"type", "function"}, {"function", function}}})});
}

Conversation conversation_of(const ordered_json& variables) {
  Conversation conversation;
  for (const ordered_json& json : variables.at("messages")) {
    ChatMessage message = {json["role"], "", false, json};
    message.more.erase("role");
    message.more.erase("content");
    const ordered_json& content = json["content"];
    if (content.is_string()) message.content = content;
    if (content.is_array()) message.content = content[0]["text"];
    conversation.messages.push_back(message);
  }
  conversation.tools = variables.value("tools", ordered_json());
  return conversation;
}

std::string_view stripped(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\n"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t\n") + 1);
}

// What holds of every conversation, however the template writes it.
void expect_sound(const Conversation& conversation, const ChatTemplate& chat, const ChatForm& form) {
  const std::vector<TrainingText> texts = training_texts(conversation, chat, form, {});
  const WrittenDown written(conversation, chat, form);
  std::vector<std::string> trained;
  for (const TrainingText& text : texts) {
    ASSERT_FALSE(text.trained.empty());
    for (const TextRange& range : text.trained)
      trained.push_back(text.text.substr(range.begin, range.end - range.begin));
    // It is what the template writes of the conversation's beginning, up to the mark that the next turn
    // begins with.
    bool begins_one = false, follows_a_prompt = false;
    for (size_t n = 1; n <= conversation.messages.size(); ++n) {
      if (conversation.messages[n - 1].role != "assistant") continue;
      const std::string whole = written.text(n, false);
      const std::string_view last = std::string_view(text.text).substr(text.trained.back().begin);
      const std::string prompt = n > 1 ? written.text(n - 1, true) : "";
      begins_one |= whole.starts_with(text.text) ||
                    (text.text.starts_with(whole) && last.ends_with(text.text.substr(whole.size())));
      // Mistral's write the system message into the last question alone.
      begins_one |= text.text.starts_with(prompt) && whole.ends_with(text.text.substr(prompt.size()));
      // "<think>\n" of the prompt may be written "<think></think>", or left out.
      const size_t shared = size_t(std::ranges::mismatch(prompt, text.text).in1 - prompt.begin());
      follows_a_prompt |= text.trained.back().begin <= shared &&
                          text.text.find_first_not_of(" \n", text.trained.back().begin) != text.text.npos;
    }
    EXPECT_TRUE(begins_one) << text.text;
    EXPECT_TRUE(follows_a_prompt || conversation.messages[0].role == "assistant") << text.text;
  }
  // What is told from the whole is what another rendering gives.
  const WrittenDown told = WrittenDown::in_its_form(conversation, chat, false);
  for (size_t n = 1; n < conversation.messages.size(); ++n) {
    for (const bool with_prompt : {false, true}) {
      const auto text_of = [&](const WrittenDown& from) -> std::string {
        try {
          return from.text(n, with_prompt);
        } catch (const jinja::TemplateError& error) {
          return error.what();
        }
      };
      EXPECT_EQ(text_of(told), text_of(WrittenDown(conversation, chat, form))) << n << with_prompt;
    }
  }
  for (const std::string& part : trained) {
    size_t mark = part.npos;
    for (size_t at = 0; at < part.size(); ++at) {
      if (mark_size(std::string_view(part).substr(at), "</s>") == part.size() - at) mark = at;
    }
    EXPECT_NE(mark, part.npos) << "ends with no mark: " << part;
  }
  for (const ChatMessage& message : conversation.messages) {
    std::string_view content = stripped(message.content);
    if (const size_t thoughts = content.rfind("</think>"); thoughts != content.npos)
      content = stripped(content.substr(thoughts + 8));
    if (content.empty()) continue;
    const bool is_trained = std::ranges::any_of(
        trained, [&](const std::string& part) { return part.find(content) != part.npos; });
    EXPECT_EQ(is_trained, message.role == "assistant") << message.role << ": " << content;
  }
}

TEST(SharedMasks, HoldWhatTheAssistantSaysAndNothingElse) {
  if (!std::filesystem::exists(kFolder)) GTEST_SKIP() << kFolder << " is not here";
  const auto cases = ordered_json::parse(MappedFile(kFolder + "cases.json").text());
  size_t n_files = 0, n_checked = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".jinja") continue;
    ++n_files;
    for (const auto& [name, variables] : cases.items()) {
      SCOPED_TRACE(entry.path().filename().string() + " with " + name);
      const ChatTemplate chat = template_of(entry.path().filename().string(), variables);
      const Conversation conversation = conversation_of(variables);
      ChatForm form;
      try {
        form = find_form(conversation, chat, false);
      } catch (const jinja::TemplateError&) {
        continue;  // it refuses such conversations
      }
      expect_sound(conversation, chat, form);
      ++n_checked;
    }
  }
  EXPECT_GE(n_files, 28u);
  EXPECT_GE(n_checked, 500u);
}

}  // namespace shared_masks_test
}  // namespace lora
