#include "cli/values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lora::cli {
namespace values_test {

using testing::HasSubstr;

template <class F>
std::string message(F f) {
  try {
    f();
  } catch (const BadValue& e) {
    return e.what();
  }
  return "no BadValue thrown";
}

TEST(ParseInteger, TakesWholeNumbersInTheRange) {
  EXPECT_EQ(parse_integer("0", 0, 9), 0);
  EXPECT_EQ(parse_integer("-1", -1, 9), -1);
  EXPECT_EQ(parse_integer("9223372036854775807", -1, INT64_MAX), INT64_MAX);
}

TEST(ParseInteger, RefusesEverythingElse) {
  for (const char* text :
       {"", " 5", "5 ", "5.0", "1e3", "12abc", "0x10", "+5", "--5", "9223372036854775808", "10", "-1"}) {
    EXPECT_THROW(parse_integer(text, 0, 9), BadValue) << text;
  }
}

TEST(ParseInteger, ErrorNamesRangeAndText) {
  EXPECT_EQ(message([] { parse_integer("12abc", 1, 9); }),
            "expected a whole number from 1 to 9, found '12abc'");
  EXPECT_THAT(message([] { parse_integer("-2", -1, INT64_MAX); }), HasSubstr("at least -1"));
}

TEST(ParseNumber, TakesNumbersInTheRange) {
  EXPECT_EQ(parse_number("0.001", {.min = 0}), 0.001);
  EXPECT_EQ(parse_number("1e-8", {.min = 0, .above_min = true}), 1e-8);
  EXPECT_EQ(parse_number("-2.5", {}), -2.5);
  EXPECT_EQ(parse_number("1", {.min = 0, .max = 1}), 1);
  EXPECT_EQ(parse_number("+0.5", {}), 0.5);
}

TEST(ParseNumber, RefusesEverythingElse) {
  for (const char* text :
       {"", "x", "1.0f", "nan", "inf", "-inf", "1e999", "1,5", "0x1p3", "+", "+-1", "++1"}) {
    EXPECT_THROW(parse_number(text, {}), BadValue) << text;
  }
  EXPECT_THROW(parse_number("0", {.min = 0, .above_min = true}), BadValue);
  EXPECT_THROW(parse_number("1", {.min = 0, .max = 1, .below_max = true}), BadValue);
}

TEST(ParseNumber, ErrorNamesTheRange) {
  EXPECT_EQ(message([] { parse_number("2", {.min = 0, .max = 1, .below_max = true}); }),
            "expected a number of at least 0 and below 1, found '2'");
}

TEST(ParseSize, ReadsUnitsInAnyCase) {
  EXPECT_EQ(parse_size("1073741824"), 1u << 30);
  EXPECT_EQ(parse_size("2GiB"), uint64_t{2} << 30);
  EXPECT_EQ(parse_size("2g"), uint64_t{2} << 30);
  EXPECT_EQ(parse_size("500MB"), 500000000u);
  EXPECT_EQ(parse_size("1.5 kib"), 1536u);
  EXPECT_EQ(parse_size("1TiB"), uint64_t{1} << 40);
}

TEST(ParseSize, RefusesEverythingElse) {
  for (const char* text : {"", "GiB", "0", "-1", "2 GB x", "2GiBs", "1..5M", "1e3", "99999999TiB", "0.5"}) {
    EXPECT_THROW(parse_size(text), BadValue) << text;
  }
}

TEST(FormatSize, UsesTheLargestUnit) {
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(1536), "1.50 KiB");
  EXPECT_EQ(format_size(uint64_t{20} << 30), "20.0 GiB");
}

TEST(ParseBool, ReadsBothValues) {
  EXPECT_TRUE(parse_bool("True"));
  EXPECT_FALSE(parse_bool("off"));
  EXPECT_THROW(parse_bool("maybe"), BadValue);
}

}  // namespace values_test
}  // namespace lora::cli
