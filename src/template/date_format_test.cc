#include "template/date_format.h"

#include <gtest/gtest.h>

#include <utility>

namespace lora::jinja {
namespace date_format_test {

constexpr DateTime kNow = {2027, 1, 3, 9, 5, 7};  // a Sunday of 2026's last week

std::string written(std::string_view format, const DateTime& date = kNow) {
  return format_date(format, date, 1000).value_or("too much");
}

// As glibc 2.36 writes them in the locale C.
TEST(DateFormat, WritesAsTheCLibraryDoes) {
  for (const auto& [format, expected] : std::initializer_list<std::pair<const char*, const char*>>{
           {"%a %A %b %B %h", "Sun Sunday Jan January Jan"},
           {"%c|%x|%X|%D|%F|%T|%R|%r",
            "Sun Jan  3 09:05:07 2027|01/03/27|09:05:07|01/03/27|2027-01-03|"
            "09:05:07|09:05|09:05:07 AM"},
           {"%C %y %Y %g %G %V %U %W", "20 27 2027 26 2026 53 01 00"},
           {"%d %e %j %u %w %m", "03  3 003 7 0 01"},
           {"%H %I %k %l %M %S %p %P", "09 09  9  9 05 07 AM am"},
           {"%-d %_d %0e %-H %_m %-j %-I", "3  3 03 9  1 3 9"},
           {"%^a %#B %#p %^c %#A", "SUN JANUARY am SUN JAN  3 09:05:07 2027 SUNDAY"},
           {"%5d %05d %_5d %10B %010B %3%", "00003 00003     3    January 000January   %"},
           {"%Ey %EY %Od %Ed %OC %Ex %E%", "27 2027 03 %Ed 20 01/03/27 %"},
           {"%q %Q %i %+ %% %n %t", "%q %Q %i %+ % \n \t"},
           {"[%z%Z]", "[]"},
           {"%", "%"},
           {"100%", "100%"},
           {"", ""}}) {
    EXPECT_EQ(written(format), expected) << format;
  }
}

TEST(DateFormat, KnowsTheDaysOfEveryYear) {
  EXPECT_EQ(written("%a %j %G-%V", {2024, 12, 31, 0, 0, 0}), "Tue 366 2025-01");
  EXPECT_EQ(written("%a %j %G-%V", {2000, 2, 29, 0, 0, 0}), "Tue 060 2000-09");
  EXPECT_EQ(written("%a %j %G-%V", {1900, 3, 1, 0, 0, 0}), "Thu 060 1900-09");
  EXPECT_EQ(written("%a %j %G-%V", {2021, 1, 1, 0, 0, 0}), "Fri 001 2020-53");
  EXPECT_EQ(written("%I %l %p", {2026, 11, 28, 0, 0, 0}), "12 12 AM");
  EXPECT_EQ(written("%I %l %p", {2026, 11, 28, 12, 0, 0}), "12 12 PM");
}

TEST(DateFormat, ThatWouldBeLongIsNotWritten) {
  EXPECT_EQ(written("%1000d").size(), 1000u);
  EXPECT_EQ(written("%1001d"), "too much");
  EXPECT_EQ(written("%99999999999999999999d"), "too much");
  EXPECT_EQ(written("%999999c%999999c"), "too much");
}

}  // namespace date_format_test
}  // namespace lora::jinja
