#include "chat/chat_template.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "chat/built_in.h"
#include "chat/conversation.h"
#include "chat/words.h"

namespace lora {
namespace {

using jinja::Value;

// Words that no template writes by itself, to find a message's content in what is rendered.
constexpr const char *kAsked = "Zrq1", *kReplied = "Zrq2", *kAskedAgain = "Zrq3";

// Templates that put a call's arguments out as they are, not through tojson, want a text.
void arguments_to_text(nlohmann::ordered_json& message_more) {
  const auto calls = message_more.find("tool_calls");
  if (calls == message_more.end()) return;
  for (auto& call : *calls) {
    auto& function = call.contains("function") ? call["function"] : call;
    if (function.contains("arguments") && !function["arguments"].is_string())
      function["arguments"] = dumped(function["arguments"]);
  }
}

// The first of the names under which templates read thoughts that stands in the text as a field.
const char* find_thoughts_field(std::string_view source) {
  constexpr const char* kNames[] = {"reasoning_content", "thinking", "reasoning"};
  for (const char* name : kNames) {
    for (const char* form : {".{}", "'{}'", "\"{}\""}) {
      const std::string field = fmt::format(fmt::runtime(form), name);
      for (size_t at = 0; (at = source.find(field, at)) != source.npos; at += field.size()) {
        const char next = at + field.size() < source.size() ? lower_case(source[at + field.size()]) : ' ';
        if (next != '_' && (next < 'a' || next > 'z')) return name;
      }
    }
  }
  return kNames[0];
}

}  // namespace

size_t mark_size(std::string_view text, std::string_view eos) {
  constexpr size_t kLongest = 64;
  if (!eos.empty() && text.starts_with(eos)) return eos.size();
  if (text.empty() || (text[0] != '<' && text[0] != '[')) return 0;
  const bool is_angled = text[0] == '<';
  for (size_t i = 1; i < std::min(text.size(), kLongest); ++i) {
    const char c = text[i];
    if (c == (is_angled ? '>' : ']')) return i > 1 ? i + 1 : 0;
    const bool fits = is_angled ? c != '<' && kSpace.find(c) == kSpace.npos
                                : c == '_' || (c == '/' && i == 1) || (c >= 'A' && c <= 'Z');
    if (!fits) return 0;
  }
  return 0;
}

ChatTemplate::ChatTemplate(std::string name, std::string_view source, Tokens tokens, ChatSettings settings)
    : name_(std::move(name)),
      template_(std::make_shared<jinja::Template>(source)),
      tokens_(std::move(tokens)),
      settings_(std::move(settings)),
      uses_date_(source.find("strftime_now") != source.npos),
      thoughts_field_(find_thoughts_field(source)) {
  probe();
}

// Of a template that refuses these conversations nothing is known.
void ChatTemplate::probe() {
  const Conversation turns = {{{"user", kAsked}, {"assistant", kReplied}, {"user", kAskedAgain}}};
  std::optional<WrittenDown> written;
  const auto rendered = [&](size_t n, bool prompt) -> std::string {
    try {
      return written->text(n, prompt);
    } catch (const jinja::TemplateError& error) {
      if (error.hits_bound()) throw;  // it would take as long each time
      return "";
    }
  };
  const auto asks = [&](bool in_parts) {
    takes_parts_only_ = in_parts;
    written.emplace(turns, *this);
    return rendered(1, true).find(kAsked) != std::string::npos;
  };
  if (!asks(false) && !asks(true)) asks(false);
  const std::string question = rendered(1, false), prompt = rendered(1, true);
  if (prompt.starts_with(question)) generation_prompt_ = prompt.substr(question.size());

  const auto behind_reply = [](const std::string& text) {
    const size_t at = text.find(kReplied);
    return at == text.npos ? std::string() : text.substr(at + std::string_view(kReplied).size());
  };
  const std::string replied = rendered(2, false);
  after_reply_ = behind_reply(replied);
  const size_t reply = replied.find(kReplied);
  if (reply != replied.npos && replied.starts_with(prompt) && prompt.size() <= reply)
    before_reply_ = replied.substr(prompt.size(), reply - prompt.size());
  std::string next = behind_reply(rendered(3, false));
  next.resize(std::min(next.size(), next.find(kAskedAgain)));
  for (const std::string_view from : {std::string_view(after_reply_), std::string_view(next)}) {
    const size_t space = std::min(from.find_first_not_of(kSpace), from.size());
    const size_t size = mark_size(from.substr(space), tokens_.eos);
    if (size > 0 && end_of_turn_.empty()) end_of_turn_ = from.substr(0, space + size);
  }
  closing_ = end_of_turn_;
  const bool marks_only = [&] {  // some write the header of the next reply, whether asked for or not
    for (size_t at = closing_.size(); at < after_reply_.size();) {
      const size_t size = mark_size(std::string_view(after_reply_).substr(at), tokens_.eos);
      if (size == 0 && kSpace.find(after_reply_[at]) == kSpace.npos) return false;
      at += std::max<size_t>(size, 1);
    }
    return closes_turns();
  }();
  while (marks_only && after_reply_.size() > closing_.size()) {
    const size_t size = mark_size(std::string_view(after_reply_).substr(closing_.size()), tokens_.eos);
    const std::string_view longer = std::string_view(after_reply_).substr(0, closing_.size() + size);
    if (size == 0 || !next.starts_with(longer)) break;
    closing_ = longer;
  }
  if (!end_of_turn_.empty()) stops_.push_back(end_of_turn_.substr(end_of_turn_.find_first_not_of(kSpace)));
  if (next.starts_with(end_of_turn_)) next.erase(0, end_of_turn_.size());
  // With and without the line ends before it, which are no part of the reply.
  const std::string header = next.substr(0, next.find_last_not_of(kSpace) + 1);
  for (size_t i = 0; i < header.size(); ++i) {
    stops_.push_back(header.substr(i));
    if (kSpace.find(header[i]) == kSpace.npos) break;
  }
}

jinja::Rendered ChatTemplate::render(Value messages, const Value& tools, bool add_generation_prompt,
                                     jinja::Beginnings* beginnings) const {
  std::vector<jinja::Variable> variables = {
      {"messages", std::move(messages)}, {"tools", tools},
      {"documents", Value(nullptr)},     {"add_generation_prompt", Value(add_generation_prompt)},
      {"bos_token", Value(tokens_.bos)}, {"eos_token", Value(tokens_.eos)},
  };
  if (!tokens_.unk.empty()) variables.push_back({"unk_token", Value(tokens_.unk)});
  if (!tokens_.pad.empty()) variables.push_back({"pad_token", Value(tokens_.pad)});
  if (settings_.variables) {
    for (const auto& [name, value] : settings_.variables->items()) {
      const bool is_set =
          std::ranges::any_of(variables, [&name = name](const auto& v) { return v.name == name; });
      if (!is_set) variables.push_back({name, jinja::from_json(value)});
    }
  }
  return template_->render(variables, settings_.now, beginnings);
}

jinja::Rendered ChatTemplate::render(nlohmann::ordered_json variables) const {
  const std::pair<const char*, const std::string&> tokens[] = {{"bos_token", tokens_.bos},
                                                               {"eos_token", tokens_.eos},
                                                               {"unk_token", tokens_.unk},
                                                               {"pad_token", tokens_.pad}};
  for (const auto& [name, spelling] : tokens) {
    if (!spelling.empty()) variables[name] = spelling;
  }
  std::vector<jinja::Variable> all;
  for (const auto& [name, value] : variables.items()) all.push_back({name, jinja::from_json(value)});
  return template_->render(all, settings_.now);
}

Value WrittenDown::value_of(const ChatMessage& message, const std::string& content) const {
  nlohmann::ordered_json json = {{"role", message.role}, {"content", content}};
  if (chat_->takes_parts_only()) json["content"] = {{{"type", "text"}, {"text", content}}};
  if (message.more.is_object()) json.update(message.more);
  if (const auto thoughts = json.find("reasoning_content"); thoughts != json.end())
    json[chat_->thoughts_field()] = nlohmann::ordered_json(*thoughts);
  if (form_.arguments_as_text) arguments_to_text(json);
  return jinja::from_json(json);
}

WrittenDown::WrittenDown(const Conversation& conversation, const ChatTemplate& chat, const ChatForm& form)
    : chat_(&chat), form_(form), tools_(jinja::from_json(conversation.tools)) {
  std::string system;
  bool asks_nothing = true;  // nobody but the system so far
  const auto add = [&](const ChatMessage& message, const std::string& content) {
    values_.push_back(value_of(message, content));
  };
  for (const ChatMessage& message : conversation.messages) {
    if (form.user_first && message.role == "assistant" && asks_nothing) {
      add({"user", ""}, std::exchange(system, "") + std::string(kNoQuestion));
      n_values_.back() = values_.size();  // the prompt for the reply has it
    }
    asks_nothing &= message.role == "system";
    if (form.system_in_user && message.role == "system") {
      system += message.content + "\n\n";
    } else if (message.role == "user") {
      add(message, std::exchange(system, "") + message.content);
    } else {
      add(message, message.content);
    }
    n_values_.push_back(values_.size());
  }
}

WrittenDown WrittenDown::with_other(size_t n, const ChatMessage& last, const ChatMessage& next) const {
  WrittenDown other(chat_, form_);
  const bool has_next = n < n_messages();
  other.tools_ = tools_;
  other.n_values_.assign(n_values_.begin(), n_values_.begin() + std::ptrdiff_t(n + 1 + has_next));
  other.values_.assign(values_.begin(), values_.begin() + std::ptrdiff_t(other.n_values_.back()));
  other.values_[n_values_[n] - 1] = value_of(last, last.content);
  if (has_next) return other;
  other.values_.push_back(value_of(next, next.content));
  other.n_values_.push_back(other.values_.size());
  return other;
}

size_t WrittenDown::n_known() const {
  size_t n = 0;
  for (const jinja::Beginning& known : beginnings_)
    n += size_t(known.tail[0].has_value()) + size_t(known.tail[1].has_value());
  return n;
}

WrittenDown::Text WrittenDown::beginning(size_t n, bool add_generation_prompt) const {
  const bool is_whole = n == n_messages() && !add_generation_prompt;
  if (is_whole && whole_) return whole_;
  for (const Kept& kept : kept_) {
    if (kept.text && kept.n == n && kept.has_prompt == add_generation_prompt) return kept.text;
  }
  const auto render = [&] {
    if (!is_whole && n_values_[n] < beginnings_.size()) {
      const jinja::Beginning& known = beginnings_[n_values_[n]];
      if (const auto& tail = known.tail[add_generation_prompt]) {
        const auto& blocks = whole_->generated;
        return jinja::Rendered{whole_->text.substr(0, known.shared) + *tail,
                               {blocks.begin(), blocks.begin() + std::ptrdiff_t(known.n_generated)},
                               known.has_hidden_generation};
      }
    }
    jinja::Beginnings beginnings = {"messages", "add_generation_prompt", {}};
    const auto begin = values_.begin();
    jinja::Rendered rendered = chat_->render(Value::list({begin, begin + std::ptrdiff_t(n_values_[n])}),
                                             tools_, add_generation_prompt, is_whole ? &beginnings : nullptr);
    if (is_whole) beginnings_ = std::move(beginnings.found);
    return rendered;
  };
  Text text = std::make_shared<const jinja::Rendered>(render());
  if (is_whole) return whole_ = std::move(text);
  kept_[oldest_] = {n, add_generation_prompt, text};
  oldest_ = (oldest_ + 1) % kept_.size();
  return text;
}

namespace {

// Whether a system message can stand in a message of the user without being read later than it was: no reply
// comes between them, but one that gets a question of its own.
bool system_is_followed_by_user(const std::vector<ChatMessage>& messages, bool user_first) {
  bool waits = false, has_system = false, is_first = true;
  for (const ChatMessage& message : messages) {
    const bool is_system = message.role == "system";
    if (!is_system && message.role != "user" && waits &&
        !(is_first && user_first && message.role == "assistant"))
      return false;
    has_system |= is_system;
    waits = is_system;
    is_first &= is_system;
  }
  return has_system && !waits;
}

}  // namespace

WrittenDown WrittenDown::in_its_form(const Conversation& conversation, const ChatTemplate& chat,
                                     bool add_generation_prompt) {
  const std::vector<ChatMessage>& messages = conversation.messages;
  const bool has_calls = std::ranges::any_of(
      messages, [](const ChatMessage& m) { return m.more.is_object() && m.more.contains("tool_calls"); });
  const auto first = std::ranges::find_if(messages, [](const ChatMessage& m) { return m.role != "system"; });
  const bool replies_first = first != messages.end() && first->role == "assistant";
  std::exception_ptr as_it_is;
  for (unsigned bits = 0; bits < 8; ++bits) {
    const ChatForm form = {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
    const bool applies = (!form.system_in_user || system_is_followed_by_user(messages, form.user_first)) &&
                         (!form.arguments_as_text || has_calls) && (!form.user_first || replies_first);
    if (!applies) continue;
    try {
      WrittenDown written(conversation, chat, form);
      written.beginning(messages.size(), add_generation_prompt);
      // Some refuse a beginning without a question that they take as a part of the whole.
      if (replies_first) written.beginning(size_t(first - messages.begin()) + 1, false);
      return written;
    } catch (const jinja::TemplateError& error) {
      if (error.hits_bound()) throw;
      if (bits == 0) as_it_is = std::current_exception();
    }
  }
  std::rethrow_exception(as_it_is);
}

std::string built_in_template_names() {
  std::string names;
  for (const BuiltInTemplate& row : built_in_templates())
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

const std::string_view* find_built_in_template(std::string_view name) {
  for (const BuiltInTemplate& row : built_in_templates()) {
    if (row.name == name) return &row.text;
  }
  return nullptr;
}

}  // namespace lora
