#include "chat/training_text.h"

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace lora {
namespace {

constexpr std::string_view kSpace = " \t\n\r";

// U+FDD0, which is no character: put into a special token that a message spells, so that it can be found in
// the text and read as what was said.
constexpr std::string_view kGuard = "\xEF\xB7\x90";

// Stray bytes of a file that is not UTF-8 are said where it is read.
std::string dumped(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void guard(std::string& text, const Tokenizer& tokenizer) {
  if (text.find(kGuard) != text.npos) return;
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

void guard(nlohmann::ordered_json& json, const Tokenizer& tokenizer) {
  if (json.is_string()) guard(json.get_ref<std::string&>(), tokenizer);
  if (!json.is_structured()) return;
  for (auto& part : json) guard(part, tokenizer);
}

// Takes the guards out; special tokens are read between them.
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

size_t common_prefix(std::string_view a, std::string_view b) {
  return size_t(std::ranges::mismatch(a, b).in1 - a.begin());
}

bool is_learned_from(const ChatMessage& message) {
  const auto says = [&](const char* field) {
    const auto value = message.more.is_object() ? message.more.find(field) : message.more.end();
    return value != message.more.end() && !value->empty() && *value != "";
  };
  const bool has_text = message.content.find_first_not_of(kSpace) != std::string::npos;
  return message.role == "assistant" && !message.is_context &&
         (has_text || says("tool_calls") || says("reasoning_content"));
}

class Writer {
 public:
  Writer(const Conversation& conversation, const ChatTemplate& chat, const ChatForm& form)
      : conversation_(conversation), chat_(chat), form_(form), written_(conversation, chat, form) {}

  // Throws Error that names what the template leaves out of the text, so that it would not be learned.
  void expect_nothing_lost() const;
  std::vector<TrainingText> replies() const;
  TrainingText all() const;

 private:
  TrainingText reply(size_t i) const;
  size_t begin_of_reply(size_t i, const std::string& text) const;
  size_t end_of_reply(size_t i, std::string& text, size_t begin) const;
  std::string with_next(size_t i) const;

  const Conversation& conversation_;
  const ChatTemplate& chat_;
  const ChatForm& form_;
  WrittenDown written_;
};

// Where the prompt for message i ends in the text that ends with it.
size_t Writer::begin_of_reply(size_t i, const std::string& text) const {
  const auto rendered = [&](bool prompt) -> std::optional<std::string> {
    try {
      return written_.text(i, prompt);
    } catch (const jinja::TemplateError&) {
      return std::nullopt;  // of a conversation without a question, say
    }
  };
  const std::optional<std::string> prompt = rendered(true);
  if (prompt && text.starts_with(*prompt)) return prompt->size();
  if (!prompt) {
    const std::string& mark = chat_.generation_prompt();
    const size_t at = mark.empty() ? text.npos : text.find(mark);
    return at == text.npos ? 0 : at + mark.size();
  }
  // The prompt ends otherwise than the text before a reply goes on ("<think>"): behind the last mark or space
  // that both have.
  size_t begin = common_prefix(*prompt, text);
  const size_t least = std::min(begin, common_prefix(rendered(false).value_or(""), text));
  while (begin > least && std::string_view(">] \t\n\r:").find(text[begin - 1]) == std::string_view::npos)
    --begin;
  return begin;
}

// The text with one message more, as it would be after the reply of message i.
std::string Writer::with_next(size_t i) const {
  const ChatMessage& message = conversation_.messages[i];
  const bool calls = message.more.is_object() && message.more.contains("tool_calls");
  try {
    if (i + 1 < written_.n_messages()) return written_.text(i + 2, false);
    Conversation longer = conversation_;
    longer.messages.resize(i + 1);
    longer.messages.push_back({calls ? "tool" : "user", "-"});
    return WrittenDown(longer, chat_, form_).text(i + 2, false);
  } catch (const jinja::TemplateError&) {
    return "";
  }
}

// Where the token that ends the turn ends; one that begins the next turn is added to the text.
size_t Writer::end_of_reply(size_t i, std::string& text, size_t begin) const {
  const std::string& eos = chat_.eos();
  // Whether marks and space are all there is in [at, end).
  size_t last_mark = text.npos;
  const auto are_marks = [&](size_t at) {
    last_mark = text.npos;
    while (at < text.size()) {
      const size_t size = mark_size(std::string_view(text).substr(at), eos);
      if (size > 0) last_mark = at + size;
      if (size == 0 && kSpace.find(text[at]) == kSpace.npos) return false;
      at += std::max<size_t>(size, 1);
    }
    return last_mark != text.npos;
  };
  if (const std::string& end = chat_.end_of_turn(); !end.empty()) {
    const size_t at = text.rfind(end);
    if (at != text.npos && at >= begin && are_marks(at)) return at + end.size();
  }
  // Another one, as the end of a call: "<|call|>".
  for (size_t at = text.size(); at > begin && text.size() - at < 128;) {
    at = text.find_last_of(eos.empty() ? "<[" : std::string("<[") + eos[0], at - 1);
    if (at == text.npos || at < begin) break;
    if (!are_marks(at)) continue;
    return last_mark;
  }
  const std::string next = with_next(i);
  if (next.starts_with(text)) {
    const std::string_view rest = std::string_view(next).substr(text.size());
    const size_t space = std::min(rest.find_first_not_of(kSpace), rest.size());
    if (const size_t size = mark_size(rest.substr(space), eos)) {
      text += rest.substr(0, space + size);
      return text.size();
    }
  }
  // Written otherwise once a message follows: the token is the one behind a plain reply.
  const std::string& end = chat_.end_of_turn();
  const ChatMessage& message = conversation_.messages[i];
  const bool calls = message.more.is_object() && message.more.contains("tool_calls");
  if (!end.empty() && !calls && chat_.after_reply().find(end) == std::string::npos) {
    text += end;
    return text.size();
  }
  return text.size() - (text.ends_with(chat_.after_reply()) ? chat_.after_reply().size() : 0);
}

void Writer::expect_nothing_lost() const {
  const std::vector<ChatMessage>& messages = conversation_.messages;
  const auto expect = [&](const std::string& text, const nlohmann::ordered_json& value,
                          std::string_view what) {
    if (!value.is_string()) return;
    const auto& words = value.get_ref<const std::string&>();
    const size_t begin = std::min(words.find_first_not_of(kSpace), words.size());
    const std::string_view trimmed =
        std::string_view(words).substr(begin, words.find_last_not_of(kSpace) + 1 - begin);
    const std::string quoted = dumped(trimmed);  // as tojson puts it out
    if (text.find(trimmed) == text.npos &&
        text.find(std::string_view(quoted).substr(1, quoted.size() - 2)) == text.npos)
      fail("the chat template ({}) does not write {}", chat_.name(), what);
  };
  const std::string whole = written_.text(messages.size(), false);
  if (!conversation_.tools.empty()) {
    const auto& tool = conversation_.tools.front();
    const auto& function = tool.contains("function") ? tool["function"] : tool;
    if (function.contains("name")) expect(whole, function["name"], "the tools");
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "system" || message.role == "user")
      expect(whole, message.content, fmt::format("a message of the {}", message.role));
    if (message.role == "tool" && written_.text(i + 1, false) == written_.text(i, false))
      fail("the chat template ({}) does not write what a tool gave back", chat_.name());
    if (!is_learned_from(message) || !message.more.is_object()) continue;
    const std::string text = written_.text(i + 1, false);
    if (message.more.contains("reasoning_content"))
      expect(text, message.more["reasoning_content"], "the thoughts beside a reply (reasoning_content)");
    for (const auto& call : message.more.value("tool_calls", nlohmann::ordered_json::array()))
      expect(text, call.contains("function") ? call["function"].value("name", "") : "", "the calls of tools");
  }
}

TrainingText Writer::reply(size_t i) const {
  jinja::Rendered rendered = written_.render(i + 1, false);
  std::string& text = rendered.text;
  const size_t begin = begin_of_reply(i, text), end = end_of_reply(i, text, begin);
  text.resize(end);
  TrainingText result = {std::move(text), {}, {}};
  for (const jinja::Range& block : rendered.generated) {
    if (block.end > begin) result.trained.push_back({std::max(block.begin, begin), std::min(block.end, end)});
  }
  std::erase_if(result.trained, [](const TextRange& range) { return range.begin >= range.end; });
  if (result.trained.empty()) {
    if (begin < end) result.trained.push_back({begin, end});
    return result;
  }
  // The token that ends the turn, where the blocks leave it out.
  TextRange& last = result.trained.back();
  std::string_view behind = std::string_view(result.text).substr(last.end);
  const size_t space = std::min(behind.find_first_not_of(kSpace), behind.size());
  if (mark_size(behind.substr(space), chat_.eos()) == behind.size() - space) last.end = end;
  result.text.resize(last.end);
  return result;
}

std::vector<TrainingText> Writer::replies() const {
  std::vector<size_t> learned;
  for (size_t i = 0; i < conversation_.messages.size(); ++i) {
    if (is_learned_from(conversation_.messages[i])) learned.push_back(i);
  }
  std::vector<TrainingText> texts;
  if (learned.empty()) return texts;
  TrainingText last = reply(learned.back());
  std::vector<TextRange> earlier;
  learned.pop_back();
  for (const size_t i : learned) {
    TrainingText text = reply(i);
    if (last.text.starts_with(text.text)) {
      earlier.insert(earlier.end(), text.trained.begin(), text.trained.end());
    } else {
      texts.push_back(std::move(text));
    }
  }
  last.trained.insert(last.trained.begin(), earlier.begin(), earlier.end());
  texts.push_back(std::move(last));
  return texts;
}

TrainingText Writer::all() const {
  const size_t n = written_.n_messages();
  TrainingText whole = {written_.text(n, false), {}, {}};
  const std::vector<ChatMessage>& messages = conversation_.messages;
  if (n > 0 && messages.back().role == "assistant")
    whole.text.resize(end_of_reply(n - 1, whole.text, begin_of_reply(n - 1, whole.text)));
  size_t done = 0;
  for (size_t i = 0; i < n; ++i) {
    if (!messages[i].is_context) continue;
    const size_t begin = common_prefix(i > 0 ? written_.text(i, false) : "", whole.text);
    const size_t end = common_prefix(written_.text(i + 1, false), whole.text);
    if (end < begin + messages[i].content.size()) {
      fail(
          "a message of weight 0 together with --train-on all: the template writes it otherwise once others "
          "follow, so that it cannot be told apart");
    }
    if (begin > done) whole.trained.push_back({done, begin});
    done = end;
  }
  if (done < whole.text.size()) whole.trained.push_back({done, whole.text.size()});
  whole.text.resize(whole.trained.empty() ? 0 : whole.trained.back().end);
  return whole;
}

std::vector<TrainingText> write(const Conversation& conversation, const ChatTemplate& chat,
                                const ChatForm& form, bool train_on_all, bool may_lose) {
  const Writer writer(conversation, chat, form);
  if (!may_lose) writer.expect_nothing_lost();
  std::vector<TrainingText> texts;
  if (train_on_all) {
    texts.push_back(writer.all());
    if (texts[0].trained.empty()) texts.clear();
  } else {
    texts = writer.replies();
  }
  for (TrainingText& text : texts) take_guards_out(text);
  return texts;
}

Conversation guarded(Conversation conversation, const Tokenizer& tokenizer) {
  for (ChatMessage& message : conversation.messages) {
    guard(message.content, tokenizer);
    guard(message.more, tokenizer);
  }
  return conversation;
}

bool spells_special(const Conversation& conversation, const Tokenizer& tokenizer) {
  return std::ranges::any_of(conversation.messages, [&](const ChatMessage& message) {
    return tokenizer.find_special_spelling(message.content) >= 0 ||
           (message.more.is_object() && tokenizer.find_special_spelling(dumped(message.more)) >= 0);
  });
}

}  // namespace

std::vector<TrainingText> training_texts(const Conversation& conversation, const ChatTemplate& chat,
                                         const ChatForm& form, const TrainingTextOptions& options,
                                         const Tokenizer& tokenizer) {
  if (options.parse_special || !spells_special(conversation, tokenizer))
    return write(conversation, chat, form, options.train_on_all, false);
  return write(guarded(conversation, tokenizer), chat, form, options.train_on_all, false);
}

TrainingText prompt_text(const Conversation& conversation, const ChatTemplate& chat, const ChatForm& form,
                         const Tokenizer& tokenizer) {
  const WrittenDown written(guarded(conversation, tokenizer), chat, form);
  TrainingText prompt = {written.text(written.n_messages(), true), {}, {}};
  take_guards_out(prompt);
  return prompt;
}

std::vector<TrainingText> training_texts(const Conversation& conversation, const ChatTemplate& chat,
                                         const ChatForm& form, const TrainingTextOptions& options) {
  return write(conversation, chat, form, options.train_on_all, true);
}

}  // namespace lora
