#include "template/date_format.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/ascii.h"

namespace lora::jinja {
namespace {

constexpr std::string_view kDays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                      "Thursday", "Friday", "Saturday"};
constexpr std::string_view kMonths[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};

bool is_leap(int year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

struct CalendarDay {
  explicit CalendarDay(const DateTime& date) {
    static constexpr int kBefore[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    of_year =
        kBefore[std::clamp(date.month, 1, 12) - 1] + (date.month > 2 && is_leap(date.year)) + date.day - 1;
    const int year = date.year - 1;
    of_week =
        (365 * (year % 28) + year / 4 - year / 100 + year / 400 + year / 28 * 28 * 365 + of_year + 1) % 7;
    from_monday = (of_week + 6) % 7;
    // ISO 8601: a week belongs to the year in which its Thursday lies.
    iso_year = date.year;
    int thursday = of_year - from_monday + 3;
    if (thursday < 0) {
      --iso_year;
      thursday += 365 + is_leap(iso_year);
    } else if (thursday >= 365 + is_leap(iso_year)) {
      thursday -= 365 + is_leap(iso_year);
      ++iso_year;
    }
    iso_week = thursday / 7 + 1;
  }
  int of_year, of_week, from_monday;  // from 0, of_week on Sundays
  int iso_year, iso_week;
};

// One conversion: "%", flags, width, E or O, and a letter.
struct DateSpec {
  char pad = 0;  // '_', '-', '0' or none
  bool upper = false, other_case = false;
  size_t width = 0;
};

class DateWriter {
 public:
  DateWriter(const DateTime& date, size_t most) : date_(date), day_(date), most_(most) {}

  bool write(std::string_view format) {
    for (size_t at = 0; at < format.size() && out_.size() <= most_;) {
      if (format[at] != '%') {
        out_ += format[at++];
        continue;
      }
      const size_t begin = at++;
      DateSpec spec;
      for (; at < format.size() && std::string_view("_-0^#").find(format[at]) != std::string_view::npos;
           ++at) {
        if (format[at] == '^') {
          spec.upper = true;
        } else if (format[at] == '#') {
          spec.other_case = true;
        } else {
          spec.pad = format[at];
        }
      }
      for (; at < format.size() && format[at] >= '0' && format[at] <= '9'; ++at)
        spec.width = std::min(spec.width * 10 + size_t(format[at] - '0'), most_ + 1);
      char modifier = 0;
      if (at < format.size() && (format[at] == 'E' || format[at] == 'O')) modifier = format[at++];
      const char letter = at < format.size() ? format[at++] : '\0';
      if (convert(letter, modifier, spec)) continue;
      const size_t last = format.substr(0, at).rfind('%');  // "%E%" is "%"
      put(spec, format.substr(std::max(begin, last), at - std::max(begin, last)));
    }
    return out_.size() <= most_;
  }
  std::string take() { return std::move(out_); }

 private:
  void put(const DateSpec& spec, std::string_view text, bool lower = false) {
    if (spec.width > text.size()) out_.append(spec.width - text.size(), spec.pad == '0' ? '0' : ' ');
    const std::string cased = lower ? lower_case(text) : spec.upper ? upper_case(text) : std::string(text);
    out_ += cased;
  }
  bool name(DateSpec spec, std::string_view text) {
    spec.upper |= spec.other_case;
    put(spec, text);
    return true;
  }
  // What is in front of it, if neither a flag nor a width says otherwise: zeros, or blanks.
  bool number(const DateSpec& spec, size_t digits, int value, char usual = '0') {
    const char pad = spec.pad == 0 ? usual : spec.pad;
    std::string text = fmt::format("{}", value);
    if (pad != '-' && text.size() < digits) text.insert(0, digits - text.size(), pad == '_' ? ' ' : '0');
    put({pad, spec.upper, spec.other_case, spec.width}, text);
    return true;
  }
  bool several(const DateSpec& spec, std::string_view format) {
    DateWriter inner(date_, most_);
    inner.write(format);
    put(spec, inner.take());
    return true;
  }

  // False where it is no conversion.
  bool convert(char letter, char modifier, const DateSpec& spec) {
    const int hour12 = date_.hour % 12 == 0 ? 12 : date_.hour % 12;
    constexpr std::string_view kWithoutE = "aAbBdDeFgGhHIjklmMSUVwW%", kWithoutO = "aAcDFxXY%";
    if (modifier == 'E' && kWithoutE.find(letter) != kWithoutE.npos) return false;
    if (modifier == 'O' && kWithoutO.find(letter) != kWithoutO.npos) return false;
    switch (letter) {
      case '%':
        put(spec, "%");
        return true;
      case 'n':
        put(spec, "\n");
        return true;
      case 't':
        put(spec, "\t");
        return true;
      case 'a':
        return name(spec, kDays[day_.of_week].substr(0, 3));
      case 'A':
        return name(spec, kDays[day_.of_week]);
      case 'b':
      case 'h':
        return name(spec, month().substr(0, 3));
      case 'B':
        return name(spec, month());
      case 'c':
        return several(spec, "%a %b %e %H:%M:%S %Y");
      case 'C':
        return number(spec, 1, date_.year / 100);
      case 'd':
        return number(spec, 2, date_.day);
      case 'D':
      case 'x':
        return several(spec, "%m/%d/%y");
      case 'e':
        return number(spec, 2, date_.day, '_');
      case 'F':
        return several(spec, "%Y-%m-%d");
      case 'g':
        return number(spec, 2, day_.iso_year % 100);
      case 'G':
        return number(spec, 1, day_.iso_year);
      case 'H':
        return number(spec, 2, date_.hour);
      case 'I':
        return number(spec, 2, hour12);
      case 'j':
        return number(spec, 3, day_.of_year + 1);
      case 'k':
        return number(spec, 2, date_.hour, '_');
      case 'l':
        return number(spec, 2, hour12, '_');
      case 'm':
        return number(spec, 2, date_.month);
      case 'M':
        return number(spec, 2, date_.minute);
      case 'p':
      case 'P':
        put(spec, date_.hour < 12 ? "AM" : "PM", letter == 'P' || spec.other_case);
        return true;
      case 'r':
        return several(spec, "%I:%M:%S %p");
      case 'R':
        return several(spec, "%H:%M");
      case 'S':
        return number(spec, 2, date_.second);
      case 'T':
      case 'X':
        return several(spec, "%H:%M:%S");
      case 'u':
        return number(spec, 1, day_.from_monday + 1);
      case 'U':
        return number(spec, 2, (day_.of_year - day_.of_week + 7) / 7);
      case 'V':
        return number(spec, 2, day_.iso_week);
      case 'w':
        return number(spec, 1, day_.of_week);
      case 'W':
        return number(spec, 2, (day_.of_year - day_.from_monday + 7) / 7);
      case 'y':
        return number(spec, 2, date_.year % 100);
      case 'Y':
        return number(spec, 1, date_.year);
      case 'z':
        return true;
      case 'Z':
        put(spec, "");
        return true;
      default:
        return false;
    }
  }
  std::string_view month() const { return kMonths[std::clamp(date_.month, 1, 12) - 1]; }

  const DateTime& date_;
  const CalendarDay day_;
  const size_t most_;
  std::string out_;
};

}  // namespace

std::optional<std::string> format_date(std::string_view format, const DateTime& date, size_t most) {
  DateWriter writer(date, most);
  if (!writer.write(format)) return std::nullopt;
  return writer.take();
}

}  // namespace lora::jinja
