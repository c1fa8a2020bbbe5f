#include "chat/training_text.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "chat/conversation.h"
#include "chat/guard.h"
#include "chat/words.h"

namespace lora {
namespace {

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

class Writer {
 public:
  // `may_lose`: what the template leaves out is no error.
  Writer(const Conversation& conversation, const ChatTemplate& chat, const WrittenDown& written,
         bool may_lose)
      : conversation_(conversation), chat_(chat), written_(written), may_lose_(may_lose) {}

  void replies(const std::function<void(TrainingText)>& take) const;
  TrainingText all() const;

 private:
  using Text = WrittenDown::Text;

  TrainingText reply(size_t i) const;
  void expect_written(size_t i, const Text& whole, size_t& from, bool together) const;
  Text prompt_for(size_t i) const;
  void restore_prompt(size_t i, jinja::Rendered& rendered) const;
  size_t begin_of_reply(size_t i, const std::string& text) const;
  size_t add_begin_of_next(size_t i, std::string& text) const;
  size_t end_of_reply(size_t i, std::string& text, size_t begin) const;
  std::string behind(size_t i, const std::string& text) const;

  const Conversation& conversation_;
  const ChatTemplate& chat_;
  const WrittenDown& written_;
  const bool may_lose_;
};

// nullptr where the template refuses it: of a conversation without a question, say.
WrittenDown::Text Writer::prompt_for(size_t i) const {
  try {
    return written_.beginning(i, true);
  } catch (const jinja::TemplateError& error) {
    if (error.hits_bound()) throw;
    return nullptr;
  }
}

// A template may write the question otherwise once it is answered: Mistral's put the system message into the
// last question, and leave it out behind that. The model is asked with the prompt, so it stays.
void Writer::restore_prompt(size_t i, jinja::Rendered& rendered) const {
  const Text found = i > 0 ? prompt_for(i) : nullptr;
  if (!found || rendered.text.starts_with(found->text)) return;
  const std::string& prompt = found->text;
  const std::string_view asked = trimmed(conversation_.messages[i - 1].content);
  const std::string_view rest = std::string_view(prompt).substr(common_prefix(prompt, rendered.text));
  if (asked.empty() || rest.find(asked) == rest.npos) return;
  // The prompt's last mark is where both are the same again.
  size_t mark = prompt.find_last_of("<[");
  if (mark == prompt.npos || mark_size(std::string_view(prompt).substr(mark), "") == 0) return;
  const std::string_view tail = std::string_view(prompt).substr(mark);
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
    block = {block.begin - begin + prompt.size(), block.end - begin + prompt.size()};
  rendered.text.replace(0, begin, prompt);
}

// Where the prompt for message i ends in the text that ends with it.
size_t Writer::begin_of_reply(size_t i, const std::string& text) const {
  const Text prompt = prompt_for(i);
  if (prompt && text.starts_with(prompt->text)) return prompt->text.size();
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
  size_t begin = common_prefix(prompt->text, text);
  const size_t least = std::min(begin, common_prefix(written_.beginning(i, false)->text, text));
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
      const std::string found = rest(text, written_.beginning(i + 2, false)->text);
      if (!found.empty()) return found;
    }
    ChatMessage message = conversation_.messages[i];
    const bool calls = message.more.is_object() && message.more.contains("tool_calls");
    if (message.more.is_object()) message.more.erase("reasoning_content");
    std::string& content = message.content;
    if (const size_t end = content.rfind(kThoughtsEnd); end != content.npos)
      content.erase(0, end + kThoughtsEnd.size());
    const WrittenDown other = written_.with_other(i + 1, message, {calls ? "tool" : "user", "-"});
    return rest(other.beginning(i + 1, false)->text, other.beginning(i + 2, false)->text);
  } catch (const jinja::TemplateError& error) {
    if (error.hits_bound()) throw;
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

// That message i is not left out, so that it would not be learned. `from`: where in the whole text the one
// before was found, most likely before it. `together`: replies are not asked for one by one.
void Writer::expect_written(size_t i, const Text& whole, size_t& from, bool together) const {
  const std::vector<ChatMessage>& messages = conversation_.messages;
  const ChatMessage& message = messages[i];
  if (message.role == "system" || message.role == "user") {
    size_t at = find_words(whole->text, message.content, from);
    if (at == std::string::npos) at = find_words(whole->text, message.content);
    if (at != std::string::npos) {
      from = at;
    } else {
      const size_t last = together || messages.back().role != "assistant" ? 0 : messages.size() - 1;
      const Text prompt = last > i ? prompt_for(last) : nullptr;
      if (!prompt || find_words(prompt->text, message.content) == std::string::npos)
        fail("the chat template ({}) does not write a message of the {}", chat_.name(), message.role);
    }
  }
  if (message.role == "tool" && written_.beginning(i + 1, false)->text == written_.beginning(i, false)->text)
    fail("the chat template ({}) does not write what a tool gave back", chat_.name());
  if (!is_learned_from(message)) return;
  if (together) return expect_reply(message, whole->text, chat_);
  // Behind its prompt, where no list of tools is, and not where another says the same.
  const Text text = written_.beginning(i + 1, false);
  expect_reply(message, std::string_view(text->text).substr(begin_of_reply(i, text->text)), chat_);
}

TrainingText Writer::reply(size_t i) const {
  jinja::Rendered rendered = *written_.beginning(i + 1, false);
  if (rendered.has_hidden_generation) {
    fail(
        "the chat template ({}) has a generation block within a set or filter block, so that what is trained "
        "on cannot be told",
        chat_.name());
  }
  restore_prompt(i, rendered);
  std::string& text = rendered.text;
  const size_t begin = begin_of_reply(i, text), end = end_of_reply(i, text, begin);
  text.resize(end);
  expect_no_other(conversation_.messages, i, std::string_view(text).substr(begin), chat_);
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

void Writer::replies(const std::function<void(TrainingText)>& take) const {
  const std::vector<ChatMessage>& messages = conversation_.messages;
  size_t n = messages.size();  // up to the last one that is learned from
  while (n > 0 && !is_learned_from(messages[n - 1])) --n;
  const Text whole = may_lose_ ? nullptr : written_.beginning(messages.size(), false);
  size_t from = 0;
  if (whole) expect_tools(conversation_.tools, whole->text, chat_);
  std::optional<TrainingText> last;
  if (n > 0) last = reply(n - 1);
  std::vector<TextRange> earlier;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (whole) expect_written(i, whole, from, false);
    if (i + 1 >= n || !is_learned_from(messages[i])) continue;
    TrainingText text = reply(i);
    if (text.trained.empty()) continue;
    if (last->text.starts_with(text.text)) {
      earlier.insert(earlier.end(), text.trained.begin(), text.trained.end());
    } else {
      take(std::move(text));
    }
  }
  if (!last) return;
  last->trained.insert(last->trained.begin(), earlier.begin(), earlier.end());
  if (!last->trained.empty()) take(*std::move(last));
}

TrainingText Writer::all() const {
  const size_t n = written_.n_messages();
  const std::vector<ChatMessage>& messages = conversation_.messages;
  if (!may_lose_) {
    const Text text = written_.beginning(n, false);
    size_t from = 0;
    expect_tools(conversation_.tools, text->text, chat_);
    for (size_t i = 0; i < n; ++i) expect_written(i, text, from, true);
  }
  const bool ends_in_reply = n > 0 && messages.back().role == "assistant";
  TrainingText whole = {written_.text(n, false), {}, {}, ends_in_reply && !messages.back().is_context};
  if (ends_in_reply) whole.text.resize(end_of_reply(n - 1, whole.text, begin_of_reply(n - 1, whole.text)));
  // Where the first n messages end in the whole; marks behind them may be other ones there.
  const auto end_of = [&](size_t n_first) {
    if (n_first == 0) return size_t{0};
    const Text first = written_.beginning(n_first, false);
    const size_t same = common_prefix(first->text, whole.text);
    if (same < first->text.size() && end_of_marks(first->text, same, chat_.eos()) == 0) {
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

void write(const Conversation& conversation, const ChatTemplate& chat, const WrittenDown& written,
           bool train_on_all, bool may_lose, const std::function<void(TrainingText)>& take) {
  const Writer writer(conversation, chat, written, may_lose);
  if (!train_on_all) return writer.replies(take);
  TrainingText text = writer.all();
  if (!text.trained.empty()) take(std::move(text));
}

// All of whose text special tokens are read in.
TrainingText unguarded(TrainingText text) {
  text.special_in.push_back({0, text.text.size()});
  return text;
}

using ToWritten = std::function<WrittenDown(const Conversation&)>;

// Returns the form in which it is written down.
ChatForm write_guarded(const Conversation& conversation, const ChatTemplate& chat,
                       const TrainingTextOptions& options, const Tokenizer& tokenizer,
                       const ToWritten& to_written, const std::function<void(TrainingText)>& take) {
  if (options.parse_special || !spells_special(conversation, tokenizer)) {
    const WrittenDown written = to_written(conversation);
    write(conversation, chat, written, options.train_on_all, false,
          [&](TrainingText text) { take(unguarded(std::move(text))); });
    return written.form();
  }
  const Conversation spelled = guarded(conversation, tokenizer);
  const WrittenDown written = to_written(spelled);
  write(spelled, chat, written, options.train_on_all, false, [&](TrainingText text) {
    take_guards_out(text);
    take(std::move(text));
  });
  return written.form();
}

}  // namespace

ChatForm write_training_texts(const Conversation& conversation, const ChatTemplate& chat,
                              const TrainingTextOptions& options, const Tokenizer& tokenizer,
                              const std::function<void(TrainingText)>& take) {
  return write_guarded(
      conversation, chat, options, tokenizer,
      [&](const Conversation& shown) { return WrittenDown::in_its_form(shown, chat, false); }, take);
}

std::vector<TrainingText> training_texts(const Conversation& conversation, const ChatTemplate& chat,
                                         const ChatForm& form, const TrainingTextOptions& options,
                                         const Tokenizer& tokenizer) {
  std::vector<TrainingText> texts;
  write_guarded(
      conversation, chat, options, tokenizer,
      [&](const Conversation& shown) { return WrittenDown(shown, chat, form); },
      [&](TrainingText text) { texts.push_back(std::move(text)); });
  return texts;
}

std::vector<TrainingText> training_texts(const Conversation& conversation, const ChatTemplate& chat,
                                         const ChatForm& form, const TrainingTextOptions& options) {
  std::vector<TrainingText> texts;
  write(conversation, chat, WrittenDown(conversation, chat, form), options.train_on_all, true,
        [&](TrainingText text) { texts.push_back(unguarded(std::move(text))); });
  return texts;
}

TrainingText prompt_text(const Conversation& conversation, const ChatTemplate& chat, const ChatForm& form,
                         const Tokenizer& tokenizer) {
  const WrittenDown written(guarded(conversation, tokenizer), chat, form);
  TrainingText prompt = {written.text(written.n_messages(), true), {}, {}, false};
  take_guards_out(prompt);
  return prompt;
}

}  // namespace lora
