// Any file of records: its records lie in it in order, and each is read or refused; what is trained on is a
// part of what a record says. Input: one byte with the format and the chat family; the file.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/record_file.h"
#include "data/sillytavern.h"

namespace {

void require(bool holds) {
  if (!holds) __builtin_trap();
}

void check(const lora::Record& record, const lora::ChatTemplate& chat) {
  const auto all = lora::record_spans(record, chat, true), some = lora::record_spans(record, chat, false);
  require(some.size() <= all.size());
  require(some.empty() || (some.back().is_reply && some.back().is_trained));
  require(all.empty() || all.back().is_trained);
  std::string begin, whole;
  for (const lora::RecordSpan& span : some) begin += span.text;
  for (const lora::RecordSpan& span : all) {
    require(!span.text.empty());
    whole += span.text;
  }
  require(whole.starts_with(begin));
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
  require(record->is_chat && (!with_card || record->messages.at(0).role == "system"));
  require(lora::with_user_first(record->messages).size() <= record->messages.size() + 1);
  check(*record, chat);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto format = lora::RecordFormat((data[0] & 3) % 3);
  const auto families = lora::chat_families();
  const lora::ChatTemplate chat{&families[(data[0] >> 2) % families.size()], "<s>", "</s>"};
  try {
    for (const bool with_card : {false, true}) check_chat(text, format, with_card, chat);
    lora::RecordCutter cutter(text, format);
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
  } catch (const lora::Error&) {
  }
  return 0;
}
