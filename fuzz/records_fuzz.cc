// Any file of records: its records lie in it in order, and each is read or refused; what is trained on is a
// part of what a record says. Input: one byte with the format, the chat template and whether columns have
// other names; the file.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "chat/built_in.h"
#include "chat/conversation.h"
#include "chat/training_text.h"
#include "data/record_file.h"
#include "data/sillytavern.h"

namespace {

void require(bool holds) {
  if (!holds) __builtin_trap();
}

// What templates may rely on.
void check(const lora::Conversation& chat) {
  require(chat.tools.is_null() || (chat.tools.is_array() && !chat.tools.empty()));
  for (const auto& tool : chat.tools) require(tool.at("function").at("name").is_string());
  for (const lora::ChatMessage& message : chat.messages) {
    const bool is_reply = message.role == "assistant";
    require(is_reply || message.role == "system" || message.role == "user" || message.role == "tool");
    for (const auto& [name, value] : message.more.items()) {
      if (name == "tool_calls") {
        require(is_reply && value.is_array() && !value.empty());
        for (const auto& call : value) {
          require(call.at("type") == "function" && call.at("function").at("name").is_string());
          require(call.at("function").at("arguments").is_object());
        }
      } else {
        require(value.is_string());
        require(name == "reasoning_content" ? is_reply : message.role == "tool");
        require(name == "reasoning_content" || name == "tool_call_id" || name == "name");
      }
    }
  }
}

void check(const lora::Record& record, const lora::ChatTemplate& chat) {
  require(record.chat ? record.prompt.empty() && record.completion.empty() : !record.in_alpacas_words);
  if (!record.chat) return;
  check(*record.chat);
  for (const bool train_on_all : {false, true}) {
    const auto form = lora::find_form(*record.chat, chat, false);
    for (const lora::TrainingText& written : lora::training_texts(*record.chat, chat, form, {train_on_all})) {
      size_t at = 0;
      for (const lora::TextRange& range : written.trained) {
        require(at <= range.begin && range.begin < range.end && range.end <= written.text.size());
        at = range.end;
      }
      require(train_on_all || at == written.text.size());
      require(!written.special_in.empty() && written.special_in.back().end == written.text.size());
    }
  }
}

// A chat of SillyTavern's, if it is one: by itself, and with names and a card.
void check_chat(std::string_view text, lora::RecordFormat format, bool with_card,
                const lora::ChatTemplate& chat) {
  lora::CharacterCard card;
  card.name = "Bo";
  card.description = "{{char}} and {{user}} {{mesExamples}}";
  card.mes_example = "<START>{{char}}: a";
  std::vector<std::string> skipped;
  lora::TavernReport report;
  const auto record = lora::read_sillytavern_chat(text, "chat", format,
                                                  {with_card, with_card ? &card : nullptr}, report, &skipped);
  require(report.n_chats == int64_t(record.has_value()));
  if (!record) return;
  require(record->chat && (!with_card || record->chat->messages.at(0).role == "system"));
  check(*record, chat);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto format = lora::RecordFormat((data[0] & 3) % 3);
  static const std::vector<lora::ChatTemplate> templates = [] {
    std::vector<lora::ChatTemplate> all;
    for (const lora::BuiltInTemplate& row : lora::built_in_templates())
      all.push_back(lora::read_chat_template(std::string(row.name), {"<s>", "</s>", "", ""}, {}));
    return all;
  }();
  const lora::ChatTemplate& chat = templates[(data[0] >> 2 & 15) % templates.size()];
  lora::Columns columns;
  if (data[0] & 64) columns = lora::parse_columns("prompt=completion,completion=a,messages=text");
  try {
    for (const bool with_card : {false, true}) check_chat(text, format, with_card, chat);
    lora::RecordCutter cutter(text, format, columns);
    const char* after = text.data();
    int64_t line = 1;
    while (const auto raw = cutter.next()) {
      require(!raw->text.empty() && raw->text.data() >= after && raw->line >= line);
      after = raw->text.data() + raw->text.size();
      require(after <= text.data() + text.size());
      line = raw->line;
      try {
        check(cutter.parse(raw->text), chat);
      } catch (const lora::Error&) {
      }
    }
    cutter.expect_columns();
  } catch (const lora::Error&) {
  }
  return 0;
}
