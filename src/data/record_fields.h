// The fields of a record, of a message, of a call and of a SillyTavern line, so that none goes unheeded:
//
// - read: by record.cc and record_messages.cc, honoured;
// - refused: would change what is learned, in a way that cannot be followed here; an error where they are
//   filled;
// - expected: what SillyTavern and ChatGPT keep for themselves; nothing is said of them;
// - ignored: all others; they are listed.
//
// A value that says nothing (null, "", [], {}; of lists and refused fields also "[]", "{}", "null" and
// "None", as a .csv writes them) is as if the field were not there.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

enum class FieldPlace : unsigned { record = 1, message = 2, sillytavern = 4, call = 8, chatgpt = 16 };

// Whether a value says something: not null, no blank text, no empty list or object.
bool is_filled(const nlohmann::ordered_json& value);

class Fields {
 public:
  // The object must stay valid. Throws Error "NAME: WHY" for a filled field that is refused there.
  Fields(const nlohmann::ordered_json& object, FieldPlace place);

  // The value of a field, nullptr if there is none or it is null. It counts as read.
  const nlohmann::ordered_json* find(std::string_view name);
  // The same, nullptr also for a value that says nothing.
  const nlohmann::ordered_json* find_filled(std::string_view name);
  // The same for a field that is a list: nullptr also where nothing is written as a text.
  const nlohmann::ordered_json* find_filled_list(std::string_view name);
  // Whether it has been asked for.
  bool was_read(std::string_view name) const;
  // The filled ones that were neither read nor expected, printable and behind `prefix`.
  void add_ignored(std::set<std::string>& names, std::string_view prefix) const;

  // What weight (0 or 1), train and its other spellings say: whether it is trained on; nullopt if nothing.
  // Throws Error for any other value, and if they disagree.
  std::optional<bool> is_trained();
  // Whether train or another spelling asks for it. A weight of 1 is what some write beside every message.
  bool asks_to_be_trained();

 private:
  std::span<const char* const> switches() const;

  const nlohmann::ordered_json& object_;
  FieldPlace place_;
  std::vector<std::string_view> read_;
};

}  // namespace lora
