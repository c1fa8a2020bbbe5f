#include "base/date.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace lora {

DateTime today() {
  DateTime date = local_time();
  date.hour = 12;
  date.minute = date.second = 0;
  return date;
}

std::optional<DateTime> parse_date(std::string_view text) {
  const auto number = [&](size_t at, size_t n) {
    int value = 0;
    for (const char c : text.substr(at, n)) value = value * 10 + (c - '0');
    return value;
  };
  const auto fits = [](char c, char wanted) { return wanted == '0' ? '0' <= c && c <= '9' : c == wanted; };
  constexpr std::string_view form = "0000-00-00";
  if (!std::ranges::equal(text, form, fits)) return std::nullopt;
  const DateTime date = {number(0, 4), number(5, 2), number(8, 2), 12, 0, 0};
  const std::chrono::year_month_day day = {std::chrono::year(date.year),
                                           std::chrono::month(unsigned(date.month)),
                                           std::chrono::day(unsigned(date.day))};
  return day.ok() && date.year > 0 ? std::optional(date) : std::nullopt;
}

std::string date_text(const DateTime& date) {
  return fmt::format("{:04}-{:02}-{:02}", date.year, date.month, date.day);
}

}  // namespace lora
