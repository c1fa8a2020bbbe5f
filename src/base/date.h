// Dates of the Gregorian calendar, in local time.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lora {

struct DateTime {
  int year = 1970, month = 1, day = 1;
  int hour = 0, minute = 0, second = 0;
};

DateTime local_time();  // now
DateTime today();       // at noon, as parse_date has it
// "2026-11-28", at noon; nullopt for anything else, and for days that are none.
std::optional<DateTime> parse_date(std::string_view text);
std::string date_text(const DateTime& date);  // the same way

}  // namespace lora
