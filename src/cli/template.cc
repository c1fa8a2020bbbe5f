#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "base/terminal.h"
#include "chat/conversation.h"
#include "chat/training_text.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/put.h"
#include "cli/show_samples.h"
#include "data/record_json.h"
#include "gguf/gguf.h"

namespace lora::cli {

namespace {

using nlohmann::ordered_json;

// What is rendered where no --messages are given.
ordered_json short_conversation() {
  return {{"messages",
           {{{"role", "user"}, {"content", "How do whales sleep?"}},
            {{"role", "assistant"}, {"content", "One half of the brain at a time."}},
            {{"role", "user"}, {"content", "And when do they breathe?"}},
            {{"role", "assistant"}, {"content", "Every few minutes, near the surface."}}}}};
}

ordered_json read_variables(const std::string& path) {
  const MappedFile file(path);
  ordered_json variables;
  try {
    variables = parse_json(file.text());
  } catch (const Error& error) {
    fail("{}: {}", path, error.what());
  }
  if (variables.is_array()) variables = {{"messages", std::move(variables)}};
  if (!variables.is_object() || !variables.contains("messages") || !variables["messages"].is_array())
    fail("{}: expected an object with a list of messages", path);
  return variables;
}

// What would be trained on of the messages as they are in the file; nothing where the template cannot be
// asked for their beginnings.
std::vector<TrainingText> samples_of(const ChatTemplate& chat, const ordered_json& variables) {
  Conversation conversation;
  for (const ordered_json& message : variables.at("messages")) {
    if (!message.is_object()) return {};
    const auto words = [&](const char* field) {
      const auto it = message.find(field);
      return it == message.end() ? std::string() : it->is_string() ? it->get<std::string>() : it->dump();
    };
    conversation.messages.push_back({words("role"), words("content"), false, message});
  }
  conversation.tools = variables.value("tools", ordered_json());
  try {
    return training_texts(conversation, chat, {}, {});
  } catch (const Error&) {
    return {};
  }
}

// Those that lie in the text.
std::vector<TextRange> trained_in(const std::string& text, const std::vector<TrainingText>& samples) {
  std::vector<TextRange> ranges;
  for (const TrainingText& sample : samples) {
    for (TextRange range : sample.trained) {
      range.end = std::min(range.end, text.size());
      if (range.begin < range.end && text.compare(0, range.end, sample.text, 0, range.end) == 0)
        ranges.push_back(range);
    }
  }
  std::ranges::sort(ranges, {}, &TextRange::begin);
  return ranges;
}

ordered_json ranges_json(const std::string& text, const std::vector<TextRange>& trained) {
  ordered_json ranges = ordered_json::array();
  for (const TextRange& range : trained) ranges.push_back({range.begin, range.end});
  return {{"text", text}, {"trained", ranges}};
}

std::string marked(const std::string& text, const std::vector<TextRange>& trained) {
  const Marks marks = stdout_is_terminal() ? kColourMarks : kPlainMarks;
  std::string result;
  size_t at = 0;
  const auto add = [&](size_t end, bool is_trained) {
    const std::string part = printable_lines(std::string_view(text).substr(at, end - at));
    result += is_trained ? fmt::format("{}{}{}", marks.before, part, marks.after) : part;
    at = end;
  };
  for (const TextRange& range : trained) {
    add(range.begin, false);
    add(range.end, true);
  }
  add(text.size(), false);
  return result;
}

}  // namespace

int template_command(const std::vector<std::string>& args) {
  std::string file, model, choice = "auto", messages;
  std::optional<DateTime> day;
  bool json = false;
  const CommandLine line = {
      "template",
      "(FILE.jinja | --model FILE) [--messages FILE.json] [flags]",
      "What a chat template makes of a conversation. Without --messages a short one of its own is shown; "
      "what "
      "would be trained on is coloured, or stands between {+ and +} where the output is no terminal.",
      {{"Template",
        {{"FILE", "FILE.jinja", "", "a file, or the name of a built-in one: " + built_in_template_names(),
          non_empty_text(file)},
         {"-m,--model,--model-base", "FILE", "", "model GGUF, whose own template and tokens are taken",
          non_empty_text(model)},
         {"--chat-template", "NAME", "", "with --model: as finetune's", non_empty_text(choice)}}},
       {"Conversation",
        {{"--messages", "FILE", "",
          "JSON: an object of the variables that the template sees: messages, tools, add_generation_prompt, "
          "enable_thinking, bos_token ...; or the list of messages alone",
          non_empty_text(messages)},
         {"--date", "DATE", "", "YYYY-MM-DD, for templates that write it", date(day)}}},
       {"Output",
        {{"--json", "", "",
          R"(print {"text": ..., "trained": [[begin, end], ...]}, in bytes of the text, and the "samples" if several)",
          turn(json)}}}}};
  const Given given = parse_flags(line, args);
  if (given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  if (file.empty() == model.empty()) throw UsageError("FILE: expected FILE.jinja or --model, one of the two");
  ordered_json variables = messages.empty() ? short_conversation() : read_variables(messages);
  const ChatSettings settings = {std::make_shared<ordered_json>(variables), day.value_or(local_time())};
  std::optional<ChatTemplate> chat;
  if (model.empty()) {
    const auto token = [&](const char* name, const char* otherwise) {
      if (messages.empty() && !variables.contains(name)) variables[name] = otherwise;
      const auto spelling = variables.find(name);
      return spelling != variables.end() && spelling->is_string() ? spelling->get<std::string>()
                                                                  : std::string();
    };
    chat =
        read_chat_template(file, {token("bos_token", "<s>"), token("eos_token", "</s>"), "", ""}, settings);
  } else {
    const Tokenizer tokenizer(Gguf::open(model));
    Conversation asked;
    asked.tools = variables.value("tools", ordered_json());
    chat = ChatTemplates(choice, tokenizer, model, settings).of(asked);
  }
  std::string text;
  try {
    text = chat->render(variables).text;
  } catch (const Error& error) {
    fail("{}: {}", file.empty() ? model : file, error.what());
  }
  const std::vector<TrainingText> samples = samples_of(*chat, variables);
  if (json) {
    ordered_json result = ranges_json(text, trained_in(text, samples));
    // A template that writes earlier replies otherwise, or whose last turn ends with what begins the next.
    const bool is_other = samples.size() == 1 && !text.starts_with(samples[0].text);
    for (const TrainingText& sample : samples) {
      if (samples.size() > 1 || is_other)
        result["samples"].push_back(ranges_json(sample.text, sample.trained));
    }
    print_json(result.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  } else if (!messages.empty()) {
    // Its own bytes for programs, while a terminal is shown what would steer it.
    if (stdout_is_terminal()) {
      print(text);
    } else {
      print_bytes(text);
    }
  } else if (samples.size() < 2) {
    const bool is_longer = samples.size() == 1 && samples[0].text.starts_with(text);
    print_bytes(marked(is_longer ? samples[0].text : text,
                       is_longer ? samples[0].trained : trained_in(text, samples)) +
                "\n");
  } else {
    print(
        "Earlier replies are written otherwise than the last one, so each is trained on in a text of its "
        "own.\n");
    for (const TrainingText& sample : samples)
      print_bytes(fmt::format("\n{}\n", marked(sample.text, sample.trained)));
  }
  return 0;
}

}  // namespace lora::cli
