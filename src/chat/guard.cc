#include "chat/guard.h"

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "chat/conversation.h"
#include "chat/words.h"

namespace lora {
namespace {

using json = nlohmann::ordered_json;

// U+FDD0, which is no character: put into a special token that a message spells, so that it can be found in
// the text and read as what was said.
constexpr std::string_view kGuard = "\xEF\xB7\x90";

void guard(std::string& text, const Tokenizer& tokenizer) {
  if (text.find(kGuard) != text.npos) fail("a message holds U+FDD0, which is no character");
  std::string guarded;
  std::string_view rest = text;
  for (Token token = 0; (token = tokenizer.find_special_spelling(rest)) >= 0;) {
    const std::string& piece = tokenizer.piece(token);
    size_t within = rest.find(piece) + 1;
    while (within < rest.size() && (rest[within] & 0xC0) == 0x80) ++within;  // behind a whole character
    guarded.append(rest.substr(0, within)).append(kGuard);
    rest.remove_prefix(within);
  }
  if (!guarded.empty()) text = guarded.append(rest);
}

void guard(json& value, const Tokenizer& tokenizer) {
  if (value.is_string()) guard(value.get_ref<std::string&>(), tokenizer);
  if (!value.is_structured()) return;
  for (auto& part : value) guard(part, tokenizer);
}

// What has to be found in a call that is written down, however that is: the name, and the arguments' names.
std::vector<std::string> parts_of_call(const json& function) {
  std::vector<std::string> parts = {function.value("name", "")};
  const auto arguments = function.find("arguments");
  if (arguments == function.end() || !arguments->is_object()) return parts;
  for (const auto& item : arguments->items()) {
    const std::string quoted = dumped(item.key());
    parts.push_back(quoted.substr(1, quoted.size() - 2));
  }
  return parts;
}

void expect_words(std::string_view words, std::string_view text, std::string_view what,
                  const ChatTemplate& chat) {
  if (find_words(text, words) == text.npos)
    fail("the chat template ({}) does not write {}", chat.name(), what);
}

}  // namespace

bool spells_special(const Conversation& conversation, const Tokenizer& tokenizer) {
  const auto spells = [&](const std::string& text) { return tokenizer.find_special_spelling(text) >= 0; };
  return (!conversation.tools.is_null() && spells(dumped(conversation.tools))) ||
         std::ranges::any_of(conversation.messages, [&](const ChatMessage& message) {
           return spells(message.content) || (message.more.is_object() && spells(dumped(message.more)));
         });
}

Conversation guarded(Conversation conversation, const Tokenizer& tokenizer) {
  for (ChatMessage& message : conversation.messages) {
    guard(message.content, tokenizer);
    guard(message.more, tokenizer);
  }
  guard(conversation.tools, tokenizer);
  return conversation;
}

void take_guards_out(TrainingText& written) {
  std::string text;
  std::vector<size_t> taken;  // where they stood in the old text
  std::string_view rest = written.text;
  for (size_t at = 0; (at = rest.find(kGuard)) != rest.npos; rest.remove_prefix(at + kGuard.size())) {
    const size_t begin = written.special_in.empty() ? 0 : written.special_in.back().end;
    taken.push_back(written.text.size() - rest.size() + at);
    text += rest.substr(0, at);
    written.special_in.push_back({begin, text.size()});
  }
  text += rest;
  const size_t begin = written.special_in.empty() ? 0 : written.special_in.back().end;
  written.special_in.push_back({begin, text.size()});
  written.text = std::move(text);
  const auto moved = [&](size_t at) {
    const auto n = std::lower_bound(taken.begin(), taken.end(), at) - taken.begin();
    return at - size_t(n) * kGuard.size();
  };
  for (TextRange& range : written.trained) range = {moved(range.begin), moved(range.end)};
}

size_t find_words(std::string_view text, std::string_view words, size_t from) {
  words = trimmed(words);
  if (const size_t at = text.find(words, from); at != text.npos) return at;
  const std::string quoted = dumped(words);
  return text.find(std::string_view(quoted).substr(1, quoted.size() - 2), from);
}

void expect_tools(const json& tools, std::string_view text, const ChatTemplate& chat) {
  for (const auto& tool : tools) {
    const auto& function = tool.contains("function") ? tool["function"] : tool;
    if (function.contains("name") && function["name"].is_string())
      expect_words(function["name"].get_ref<const std::string&>(), text, "the tools", chat);
  }
}

// Thoughts and what is said after them may be written apart.
void expect_reply(const ChatMessage& message, std::string_view text, const ChatTemplate& chat) {
  std::string_view said = message.content;
  if (const size_t end = said.rfind(kThoughtsEnd); end != said.npos) {
    std::string_view thoughts = trimmed(said.substr(0, end));
    if (thoughts.starts_with(kThoughtsBegin)) thoughts.remove_prefix(kThoughtsBegin.size());
    expect_words(thoughts, text, "the thoughts that a reply begins with (<think>)", chat);
    said.remove_prefix(end + kThoughtsEnd.size());
  }
  expect_words(said, text, "all that the assistant says", chat);
  if (!message.more.is_object()) return;
  if (const auto thoughts = message.more.find("reasoning_content");
      thoughts != message.more.end() && thoughts->is_string()) {
    expect_words(thoughts->get_ref<const std::string&>(), text,
                 "the thoughts beside a reply (reasoning_content)", chat);
  }
  const auto calls = message.more.find("tool_calls");
  if (calls == message.more.end() || !calls->is_array() || calls->empty()) return;
  // Each behind the one before.
  for (const auto& call : *calls) {
    const auto& function = call.contains("function") ? call["function"] : call;
    for (const std::string& part : parts_of_call(function)) {
      if (text.find(part) == text.npos)
        fail("the chat template ({}) does not write {} of a call of a tool", chat.name(),
             printable(part, 40));
    }
    const std::string name = function.value("name", "");
    text.remove_prefix(std::min(text.find(name) + name.size(), text.size()));
  }
}

void expect_no_other(const std::vector<ChatMessage>& messages, size_t i, std::string_view text,
                     const ChatTemplate& chat) {
  std::string rest(text);
  const auto take_out = [&](std::string_view words) {
    const size_t at = words.empty() ? rest.npos : rest.find(words);
    if (at != rest.npos) rest.replace(at, words.size(), 1, '\n');
  };
  const ChatMessage& own = messages[i];
  take_out(trimmed(own.content));
  if (const size_t end = own.content.rfind(kThoughtsEnd); end != own.content.npos)
    take_out(trimmed(std::string_view(own.content).substr(end + kThoughtsEnd.size())));
  if (own.more.is_object()) return;  // thoughts and calls may say anything
  for (size_t j = 0; j < i; ++j) {
    const std::string_view words = trimmed(messages[j].content);
    constexpr size_t kFewest = 4;  // else it is too likely a part of a mark
    if (words.size() < kFewest) continue;
    for (size_t at = 0; (at = rest.find(words, at)) != rest.npos; ++at) {
      const size_t mark = rest.find_last_of("<[", at);
      const bool is_in_mark =
          mark != rest.npos && mark + mark_size(std::string_view(rest).substr(mark), chat.eos()) > at;
      if (is_in_mark) continue;
      fail(
          "the chat template ({}) writes other messages behind the prompt for a reply, so that what is "
          "trained on cannot be told",
          chat.name());
    }
  }
}

}  // namespace lora
