#include "chat/training_text.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/printable.h"
#include "chat/words.h"

namespace lora {
namespace {

// How thoughts stand in a content, in what most models and data sets have come to write.
constexpr std::string_view kThoughtsBegin = "<think>", kThoughtsEnd = "</think>";

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

// Where the last mark ends, if marks and space are all there is from `at` on; else 0.
size_t end_of_marks(std::string_view text, size_t at, std::string_view eos) {
  size_t end = 0;
  while (at < text.size()) {
    const size_t size = mark_size(text.substr(at), eos);
    if (size == 0 && kSpace.find(text[at]) == kSpace.npos) return 0;
    at += std::max<size_t>(size, 1);
    if (size > 0) end = at;
  }
  return end;
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

// What has to be found in a call that is written down, however that is: the name, and the arguments' names.
std::vector<std::string> parts_of_call(const nlohmann::ordered_json& function) {
  std::vector<std::string> parts = {function.value("name", "")};
  const auto arguments = function.find("arguments");
  if (arguments == function.end() || !arguments->is_object()) return parts;
  for (const auto& item : arguments->items()) {
    const std::string quoted = dumped(item.key());
    parts.push_back(quoted.substr(1, quoted.size() - 2));
  }
  return parts;
}

class Writer {
 public:
  Writer(const Conversation& conversation, const ChatTemplate& chat, const ChatForm& form)
      : conversation_(conversation), chat_(chat), form_(form), written_(conversation, chat, form) {}

  // Throws Error that names what the template leaves out of the text, so that it would not be learned.
  // Those of replies() are written as they are asked for; those of all() together.
  void expect_nothing_lost(bool together) const;
  std::vector<TrainingText> replies() const;
  TrainingText all() const;

 private:
  TrainingText reply(size_t i) const;
  void expect_no_other(size_t i, std::string_view reply) const;
  std::optional<std::string> prompt_for(size_t i) const;
  void restore_prompt(size_t i, jinja::Rendered& rendered) const;
  size_t begin_of_reply(size_t i, const std::string& text) const;
  size_t add_begin_of_next(size_t i, std::string& text) const;
  size_t end_of_reply(size_t i, std::string& text, size_t begin) const;
  std::string behind(size_t i, const std::string& text) const;

  const Conversation& conversation_;
  const ChatTemplate& chat_;
  const ChatForm& form_;
  WrittenDown written_;
};

// nullopt where the template refuses it: of a conversation without a question, say.
std::optional<std::string> Writer::prompt_for(size_t i) const {
  try {
    return written_.text(i, true);
  } catch (const jinja::TemplateError&) {
    return std::nullopt;
  }
}

// A template may write the question otherwise once it is answered: Mistral's put the system message into the
// last question, and leave it out behind that. The model is asked with the prompt, so it stays.
void Writer::restore_prompt(size_t i, jinja::Rendered& rendered) const {
  const std::optional<std::string> prompt = i > 0 ? prompt_for(i) : std::nullopt;
  if (!prompt || rendered.text.starts_with(*prompt)) return;
  const std::string_view asked = trimmed(conversation_.messages[i - 1].content);
  const std::string_view rest = std::string_view(*prompt).substr(common_prefix(*prompt, rendered.text));
  if (asked.empty() || rest.find(asked) == rest.npos) return;
  // The prompt's last mark is where both are the same again.
  size_t mark = prompt->find_last_of("<[");
  if (mark == prompt->npos || mark_size(std::string_view(*prompt).substr(mark), "") == 0) return;
  const std::string_view tail = std::string_view(*prompt).substr(mark);
  // The reply may spell the mark, too.
  const std::string_view reply = trimmed(conversation_.messages[i].content);
  const size_t reply_at = reply.empty() ? rendered.text.npos : rendered.text.rfind(reply);
  if (reply_at != rendered.text.npos && reply_at < tail.size()) return;
  const size_t at =
      rendered.text.rfind(tail, reply_at == rendered.text.npos ? reply_at : reply_at - tail.size());
  if (at == rendered.text.npos) return;
  const size_t begin = at + tail.size();
  std::erase_if(rendered.generated, [&](const jinja::Range& block) { return block.begin < begin; });
  for (jinja::Range& block : rendered.generated)
    block = {block.begin - begin + prompt->size(), block.end - begin + prompt->size()};
  rendered.text.replace(0, begin, *prompt);
}

// Where the prompt for message i ends in the text that ends with it.
size_t Writer::begin_of_reply(size_t i, const std::string& text) const {
  const std::optional<std::string> prompt = prompt_for(i);
  if (prompt && text.starts_with(*prompt)) return prompt->size();
  if (!prompt) {
    const std::string& mark = chat_.generation_prompt();
    const size_t at = mark.empty() ? text.npos : text.rfind(mark);
    if (at != text.npos) return at + mark.size();
    if (i > 0)
      fail("the chat template ({}) refuses the prompt for a reply, so that what is trained on cannot be told",
           chat_.name());
    return 0;
  }
  // The prompt ends otherwise than the text before a reply goes on ("<think>"): behind the last mark or space
  // that both have.
  size_t begin = common_prefix(*prompt, text);
  const size_t least = std::min(begin, common_prefix(written_.text(i, false), text));
  while (begin > least && std::string_view(">] \t\n\r:").find(text[begin - 1]) == std::string_view::npos)
    --begin;
  return begin;
}

// What the template puts behind message i once another one follows. Where it drops thoughts then, it is asked
// without them.
std::string Writer::behind(size_t i, const std::string& text) const {
  const auto rest = [](const std::string& shorter, const std::string& longer) {
    return longer.starts_with(shorter) ? longer.substr(shorter.size()) : std::string();
  };
  try {
    if (i + 1 < written_.n_messages()) {
      const std::string found = rest(text, written_.text(i + 2, false));
      if (!found.empty()) return found;
    }
    Conversation longer = {
        {conversation_.messages.begin(),
         conversation_.messages.begin() + std::ptrdiff_t(std::min(i + 2, conversation_.messages.size()))},
        conversation_.tools};
    ChatMessage& message = longer.messages[i];
    const bool calls = message.more.is_object() && message.more.contains("tool_calls");
    if (message.more.is_object()) message.more.erase("reasoning_content");
    std::string& content = message.content;
    if (const size_t end = content.rfind(kThoughtsEnd); end != content.npos)
      content.erase(0, end + kThoughtsEnd.size());
    if (longer.messages.size() < i + 2) longer.messages.push_back({calls ? "tool" : "user", "-"});
    const WrittenDown written(longer, chat_, form_);
    return rest(written.text(i + 1, false), written.text(i + 2, false));
  } catch (const jinja::TemplateError&) {
    return "";
  }
}

// Where the turn of message i ends that the next one's beginning ends, a mark that is added to the text; 0 if
// no mark is there.
size_t Writer::add_begin_of_next(size_t i, std::string& text) const {
  const std::string next = behind(i, text);
  const size_t space = std::min(next.find_first_not_of(kSpace), next.size());
  const size_t size = mark_size(std::string_view(next).substr(space), chat_.eos());
  if (size == 0) return 0;
  text += next.substr(0, space + size);
  return text.size();
}

// Where the token that ends the turn ends; one that begins the next turn is added to the text.
size_t Writer::end_of_reply(size_t i, std::string& text, size_t begin) const {
  const std::string &eos = chat_.eos(), &end = chat_.end_of_turn(), &closing = chat_.closing();
  // Before the text's own end: "</tool_call>" is spelled as a mark, too.
  const bool next_ends_it = !end.empty() && !chat_.closes_turns();
  if (const size_t at = next_ends_it ? add_begin_of_next(i, text) : 0) return at;
  if (chat_.closes_turns() && text.size() >= begin + chat_.after_reply().size() &&
      text.ends_with(chat_.after_reply()))
    return text.size() - chat_.after_reply().size() + closing.size();
  if (!end.empty()) {
    const size_t at = text.rfind(end);
    if (at != text.npos && at >= begin && end_of_marks(text, at, eos) > 0)
      return at + (std::string_view(text).substr(at).starts_with(closing) ? closing : end).size();
  }
  // Another one, as the end of a call: "<|call|>".
  for (size_t at = text.size(); at > begin && text.size() - at < 128;) {
    at = text.find_last_of(eos.empty() ? "<[" : std::string("<[") + eos[0], at - 1);
    if (at == text.npos || at < begin) break;
    if (const size_t marks_end = end_of_marks(text, at, eos)) return marks_end;
  }
  if (const size_t at = next_ends_it ? 0 : add_begin_of_next(i, text)) return at;
  return text.size() - (text.ends_with(chat_.after_reply()) ? chat_.after_reply().size() : 0);
}

void Writer::expect_nothing_lost(bool together) const {
  const std::vector<ChatMessage>& messages = conversation_.messages;
  const auto writes = [](const std::string& text, std::string_view words) {
    words = trimmed(words);
    if (text.find(words) != text.npos) return true;
    const std::string quoted = dumped(words);  // as tojson puts it out
    return text.find(std::string_view(quoted).substr(1, quoted.size() - 2)) != text.npos;
  };
  const auto expect = [&](const std::string& text, std::string_view words, std::string_view what) {
    if (!writes(text, words)) fail("the chat template ({}) does not write {}", chat_.name(), what);
  };
  const std::string whole = written_.text(messages.size(), false);
  for (const auto& tool : conversation_.tools) {
    const auto& function = tool.contains("function") ? tool["function"] : tool;
    if (function.contains("name") && function["name"].is_string())
      expect(whole, function["name"].get_ref<const std::string&>(), "the tools");
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if ((message.role == "system" || message.role == "user") && !writes(whole, message.content)) {
      const size_t last = together || messages.back().role != "assistant" ? 0 : messages.size() - 1;
      expect(last > i ? prompt_for(last).value_or("") : "", message.content,
             fmt::format("a message of the {}", message.role));
    }
    if (message.role == "tool" && written_.text(i + 1, false) == written_.text(i, false))
      fail("the chat template ({}) does not write what a tool gave back", chat_.name());
    if (!is_learned_from(message)) continue;
    const std::string text = i + 1 < messages.size() && !together ? written_.text(i + 1, false) : whole;
    // Behind its prompt, not where another says the same. Thoughts and what is said after them may be written
    // apart.
    const std::string own = together ? text : text.substr(begin_of_reply(i, text));
    std::string_view said = message.content;
    if (const size_t end = said.rfind(kThoughtsEnd); end != said.npos) {
      std::string_view thoughts = trimmed(said.substr(0, end));
      if (thoughts.starts_with(kThoughtsBegin)) thoughts.remove_prefix(kThoughtsBegin.size());
      expect(own, thoughts, "the thoughts that a reply begins with (<think>)");
      said.remove_prefix(end + kThoughtsEnd.size());
    }
    expect(own, said, "all that the assistant says");
    if (!message.more.is_object()) continue;
    if (const auto thoughts = message.more.find("reasoning_content");
        thoughts != message.more.end() && thoughts->is_string())
      expect(own, thoughts->get_ref<const std::string&>(), "the thoughts beside a reply (reasoning_content)");
    const auto calls = message.more.find("tool_calls");
    if (calls == message.more.end() || !calls->is_array() || calls->empty()) continue;
    // Behind the prompt, where no list of tools is, and each behind the one before.
    std::string_view rest = own;
    for (const auto& call : *calls) {
      const auto& function = call.contains("function") ? call["function"] : call;
      for (const std::string& part : parts_of_call(function)) {
        if (rest.find(part) == rest.npos)
          fail("the chat template ({}) does not write {} of a call of a tool", chat_.name(),
               printable(part, 40));
      }
      const std::string name = function.value("name", "");
      rest.remove_prefix(std::min(rest.find(name) + name.size(), rest.size()));
    }
  }
}

TrainingText Writer::reply(size_t i) const {
  jinja::Rendered rendered = written_.render(i + 1, false);
  if (rendered.has_hidden_generation) {
    fail(
        "the chat template ({}) has a generation block within a set or filter block, so that what is trained "
        "on "
        "cannot be told",
        chat_.name());
  }
  restore_prompt(i, rendered);
  std::string& text = rendered.text;
  const size_t begin = begin_of_reply(i, text), end = end_of_reply(i, text, begin);
  text.resize(end);
  expect_no_other(i, std::string_view(text).substr(begin));
  TrainingText result = {std::move(text), {}, {}, true};
  for (const jinja::Range& block : rendered.generated) {
    const TextRange range = {std::max(block.begin, begin), std::min(block.end, end)};
    if (range.begin < range.end) result.trained.push_back(range);
  }
  if (rendered.generated.empty() && begin < end) result.trained.push_back({begin, end});
  if (result.trained.empty()) return result;  // blocks elsewhere say that this reply is not meant
  // The token that ends the turn, where the blocks leave it out.
  TextRange& last = result.trained.back();
  if (end_of_marks(result.text, last.end, chat_.eos()) > 0) last.end = end;
  result.ends_turn = last.end == end;
  return result;
}

// A template may put anything behind the prompt: other messages, or those before once more.
void Writer::expect_no_other(size_t i, std::string_view reply) const {
  std::string rest(reply);
  const auto take_out = [&](std::string_view words) {
    const size_t at = words.empty() ? rest.npos : rest.find(words);
    if (at != rest.npos) rest.replace(at, words.size(), 1, '\n');
  };
  const ChatMessage& own = conversation_.messages[i];
  take_out(trimmed(own.content));
  if (const size_t end = own.content.rfind(kThoughtsEnd); end != own.content.npos)
    take_out(trimmed(std::string_view(own.content).substr(end + kThoughtsEnd.size())));
  if (own.more.is_object()) return;  // thoughts and calls may say anything
  for (size_t j = 0; j < i; ++j) {
    const std::string_view words = trimmed(conversation_.messages[j].content);
    constexpr size_t kFewest = 4;  // else it is too likely a part of a mark
    if (words.size() < kFewest) continue;
    for (size_t at = 0; (at = rest.find(words, at)) != rest.npos; ++at) {
      const size_t mark = rest.find_last_of("<[", at);
      const bool is_in_mark =
          mark != rest.npos && mark + mark_size(std::string_view(rest).substr(mark), chat_.eos()) > at;
      if (is_in_mark) continue;
      fail(
          "the chat template ({}) writes other messages behind the prompt for a reply, so that what is "
          "trained on "
          "cannot be told",
          chat_.name());
    }
  }
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
    if (text.trained.empty()) continue;
    if (last.text.starts_with(text.text)) {
      earlier.insert(earlier.end(), text.trained.begin(), text.trained.end());
    } else {
      texts.push_back(std::move(text));
    }
  }
  last.trained.insert(last.trained.begin(), earlier.begin(), earlier.end());
  if (!last.trained.empty()) texts.push_back(std::move(last));
  return texts;
}

TrainingText Writer::all() const {
  const size_t n = written_.n_messages();
  const std::vector<ChatMessage>& messages = conversation_.messages;
  const bool ends_in_reply = n > 0 && messages.back().role == "assistant";
  TrainingText whole = {written_.text(n, false), {}, {}, ends_in_reply && !messages.back().is_context};
  if (ends_in_reply) whole.text.resize(end_of_reply(n - 1, whole.text, begin_of_reply(n - 1, whole.text)));
  // Where the first n messages end in the whole; marks behind them may be other ones there.
  const auto end_of = [&](size_t n_first) {
    const std::string first = n_first > 0 ? written_.text(n_first, false) : "";
    const size_t same = common_prefix(first, whole.text);
    if (same < first.size() && end_of_marks(first, same, chat_.eos()) == 0) {
      fail(
          "a message of weight 0 together with --train-on all: the template writes it otherwise once others "
          "follow, so that it cannot be told apart");
    }
    return same;
  };
  size_t done = 0;
  for (size_t i = 0; i < n; ++i) {
    if (!messages[i].is_context) continue;
    const size_t begin = end_of(i), end = end_of(i + 1);
    if (begin > done) whole.trained.push_back({done, begin});
    done = std::max(done, end);
  }
  if (done < whole.text.size()) whole.trained.push_back({done, whole.text.size()});
  whole.text.resize(whole.trained.empty() ? 0 : whole.trained.back().end);
  return whole;
}

std::vector<TrainingText> write(const Conversation& conversation, const ChatTemplate& chat,
                                const ChatForm& form, bool train_on_all, bool may_lose, bool is_guarded) {
  const Writer writer(conversation, chat, form);
  if (!may_lose) writer.expect_nothing_lost(train_on_all);
  std::vector<TrainingText> texts;
  if (train_on_all) {
    texts.push_back(writer.all());
    if (texts[0].trained.empty()) texts.clear();
  } else {
    texts = writer.replies();
  }
  for (TrainingText& text : texts) {
    if (is_guarded) {
      take_guards_out(text);
    } else {
      text.special_in.push_back({0, text.text.size()});
    }
  }
  return texts;
}

Conversation guarded(Conversation conversation, const Tokenizer& tokenizer) {
  for (ChatMessage& message : conversation.messages) {
    guard(message.content, tokenizer);
    guard(message.more, tokenizer);
  }
  guard(conversation.tools, tokenizer);
  return conversation;
}

// Whether a message or a tool spells a special token, so that the text has to be guarded.
bool spells_special(const Conversation& conversation, const Tokenizer& tokenizer) {
  const auto spells = [&](const std::string& text) { return tokenizer.find_special_spelling(text) >= 0; };
  return (!conversation.tools.is_null() && spells(dumped(conversation.tools))) ||
         std::ranges::any_of(conversation.messages, [&](const ChatMessage& message) {
           return spells(message.content) || (message.more.is_object() && spells(dumped(message.more)));
         });
}

}  // namespace

std::vector<TrainingText> training_texts(const Conversation& conversation, const ChatTemplate& chat,
                                         const ChatForm& form, const TrainingTextOptions& options,
                                         const Tokenizer& tokenizer) {
  if (options.parse_special || !spells_special(conversation, tokenizer))
    return write(conversation, chat, form, options.train_on_all, false, false);
  return write(guarded(conversation, tokenizer), chat, form, options.train_on_all, false, true);
}

TrainingText prompt_text(const Conversation& conversation, const ChatTemplate& chat, const ChatForm& form,
                         const Tokenizer& tokenizer) {
  const WrittenDown written(guarded(conversation, tokenizer), chat, form);
  TrainingText prompt = {written.text(written.n_messages(), true), {}, {}, false};
  take_guards_out(prompt);
  return prompt;
}

std::vector<TrainingText> training_texts(const Conversation& conversation, const ChatTemplate& chat,
                                         const ChatForm& form, const TrainingTextOptions& options) {
  return write(conversation, chat, form, options.train_on_all, true, false);
}

}  // namespace lora
