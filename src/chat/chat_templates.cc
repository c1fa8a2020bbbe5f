// Which template a model's conversations are written with.
#include <algorithm>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/path.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "chat/built_in.h"
#include "chat/chat_template.h"
#include "chat/conversation.h"

namespace lora {
namespace {

std::string fitting_names(const Tokenizer& tokenizer) {
  const FittingTemplates fitting = fitting_templates(tokenizer);
  return fmt::format("{}; {} are plain words",
                     fitting.by_tokens.empty() ? "its vocabulary has the tokens of none of the built-in ones"
                                               : fmt::format("its vocabulary has the tokens of {}",
                                                             fmt::join(fitting.by_tokens, ", ")),
                     fmt::join(fitting.plain, ", "));
}

std::string names_of(const std::map<std::string, std::string, std::less<>>& named) {
  std::string names;
  for (const auto& [name, text] : named) names += (names.empty() ? "" : ", ") + printable(name);
  return names;
}

}  // namespace

FittingTemplates fitting_templates(const Tokenizer& tokenizer) {
  FittingTemplates fitting;
  for (const BuiltInTemplate& row : built_in_templates()) {
    const ChatTemplate chat(std::string(row.name), row.text, {});
    const Conversation turns = {{{"user", "a"}, {"assistant", "b"}, {"user", "c"}}};
    const std::string text = WrittenDown(turns, chat).text(3, true);
    int64_t n_marks = 0, n_tokens = 0;
    for (size_t at = 0; at < text.size(); ++at) {
      const size_t size = mark_size(std::string_view(text).substr(at), "");
      n_marks += size > 0;
      n_tokens += size > 0 && tokenizer.find(text.substr(at, size)) >= 0;
    }
    if (n_tokens == n_marks) (n_marks > 0 ? fitting.by_tokens : fitting.plain).emplace_back(row.name);
  }
  return fitting;
}

ChatTemplate::Tokens chat_tokens(const Tokenizer& tokenizer) {
  const auto spelling = [&](Token token) { return token < 0 ? std::string() : tokenizer.piece(token); };
  return {spelling(tokenizer.bos()), spelling(tokenizer.eos()), spelling(tokenizer.unk()),
          spelling(tokenizer.pad())};
}

bool is_template_file(std::string_view choice) {
  return ends_in_any_case(choice, ".jinja") || std::ranges::any_of(choice, is_separator);
}

ChatTemplate read_chat_template(const std::string& name, ChatTemplate::Tokens tokens,
                                const ChatSettings& settings) {
  const std::string_view* built_in = find_built_in_template(name);
  const MappedFile file = built_in ? MappedFile() : MappedFile(name);
  try {
    return {name, built_in ? *built_in : without_byte_order_mark(file.text()), std::move(tokens), settings};
  } catch (const Error& error) {
    fail("{}: {}", name, error.what());
  }
}

ChatTemplates::ChatTemplates(std::string_view choice, const Tokenizer& tokenizer, std::string_view path,
                             const ChatSettings& settings) {
  const auto& named = tokenizer.named_chat_templates();
  const auto of_model = [&](std::string_view name, std::string_view text) {
    const std::string shown = name.empty() ? std::string() : fmt::format(".{}", printable(name));
    try {
      return std::make_shared<const ChatTemplate>(
          name.empty() ? "the model's own template" : "the model's template " + printable(name), text,
          chat_tokens(tokenizer), settings);
    } catch (const Error& error) {
      fail("{}: tokenizer.chat_template{} cannot be run: {} (--chat-template takes another one)", path, shown,
           error.what());
    }
  };
  if (choice == "auto") {
    if (!tokenizer.chat_template().empty()) plain_ = of_model("", tokenizer.chat_template());
    if (const auto tools = named.find("tool_use"); tools != named.end()) {
      try {
        with_tools_ = of_model("tool_use", tools->second);
      } catch (const Error& error) {
        why_not_with_tools_ = error.what();
      }
    }
    if (!plain_) {
      fail(
          "{}: the model has no chat template{}; say with --chat-template which it knows, by name or "
          "FILE.jinja: {}",
          path, named.empty() ? "" : " but those named " + names_of(named), fitting_names(tokenizer));
    }
  } else if (const auto found = named.find(choice); found != named.end()) {
    plain_ = of_model(choice, found->second);
  } else if (find_built_in_template(choice) || is_template_file(choice)) {
    plain_ = std::make_shared<const ChatTemplate>(
        read_chat_template(std::string(choice), chat_tokens(tokenizer), settings));
  } else {
    const std::string own = named.empty() ? "" : names_of(named) + ", ";
    fail("--chat-template: no template '{}'; known are auto, a file NAME.jinja, {}{}", printable(choice), own,
         built_in_template_names());
  }
}

const ChatTemplate& ChatTemplates::of(const Conversation& conversation) const {
  if (conversation.tools.empty()) return *plain_;
  if (!why_not_with_tools_.empty()) fail("{}", why_not_with_tools_);
  return with_tools_ ? *with_tools_ : *plain_;
}

bool ChatTemplates::use_date() const {
  return plain_->uses_date() || (with_tools_ && with_tools_->uses_date());
}

}  // namespace lora
