#include "data/csv.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "data/data_test_util.h"

namespace lora {
namespace csv_test {

using testing::ElementsAre;
using Rows = std::vector<std::vector<std::string>>;

Rows rows_of(std::string_view text) {
  Rows rows;
  while (!text.empty()) rows.push_back(csv_fields(take_csv_row(text, ','), ','));
  return rows;
}

TEST(Csv, FieldsAndRows) {
  EXPECT_EQ(rows_of("a,b\nc,d\n"), (Rows{{"a", "b"}, {"c", "d"}}));
  EXPECT_EQ(rows_of("a,b\r\nc,d"), (Rows{{"a", "b"}, {"c", "d"}}));
  EXPECT_EQ(rows_of(",\n\n,,x"), (Rows{{"", ""}, {""}, {"", "", "x"}}));
}

TEST(Csv, QuotedFieldsHoldAnything) {
  EXPECT_EQ(rows_of("\"a,b\",\"c\nd\r\ne\"\nf,\"\"\n"), (Rows{{"a,b", "c\nd\r\ne"}, {"f", ""}}));
  EXPECT_EQ(rows_of("\"say \"\"hi\"\"\",\"\"\"\"\n"), (Rows{{"say \"hi\"", "\""}}));
}

TEST(Csv, AQuoteWithinAnUnquotedFieldIsAQuote) {
  EXPECT_EQ(rows_of("6\" long,b\nc\"d,e\n"), (Rows{{"6\" long", "b"}, {"c\"d", "e"}}));
}

TEST(Csv, ARowOfNamesShowsTheSeparator) {
  EXPECT_EQ(csv_separator("text\n"), '\n');
  EXPECT_EQ(csv_separator("a;b,c\n"), ',');
  EXPECT_EQ(csv_separator("\"a,b\";c\tc\n"), ';');
  EXPECT_EQ(csv_separator("a\tb"), '\t');
}

TEST(Csv, MalformedQuotesAreErrors) {
  EXPECT_EQ(test::error_of([] { csv_fields("a,\"b", ','); }), "field 2: a quote without an end");
  EXPECT_EQ(test::error_of([] { csv_fields("\"a\" b,c", ','); }), "field 1: text behind its closing quote");
}

}  // namespace csv_test
}  // namespace lora
