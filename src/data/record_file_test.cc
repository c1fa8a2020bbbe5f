#include "data/record_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.h"
#include "data/data_test_util.h"

namespace lora {
namespace record_file_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

using Raw = std::vector<std::pair<int64_t, std::string>>;

Raw cut(std::string_view text, RecordFormat format) {
  RecordCutter cutter(text, format);
  Raw records;
  while (const auto raw = cutter.next()) records.emplace_back(raw->line, raw->text);
  return records;
}

std::string why_not(std::string_view text, RecordFormat format) {
  return test::error_of([&] { cut(text, format); });
}

TEST(RecordFile, FormatsByNameInAnyCase) {
  EXPECT_EQ(record_format("a.jsonl"), RecordFormat::jsonl);
  EXPECT_EQ(record_format("b/A.JSON"), RecordFormat::json);
  EXPECT_EQ(record_format("a.Csv"), RecordFormat::csv);
  EXPECT_EQ(record_format("json"), std::nullopt);
  EXPECT_EQ(record_format("a.jsonl.txt"), std::nullopt);
}

TEST(RecordFile, JsonLines) {
  EXPECT_EQ(cut("{\"a\":1}\n\n  \r\n{\"b\":2}", RecordFormat::jsonl),
            (Raw{{1, "{\"a\":1}\n"}, {4, "{\"b\":2}"}}));
  EXPECT_EQ(cut("\n \n", RecordFormat::jsonl), Raw());
}

TEST(RecordFile, AJsonListAndItsLines) {
  EXPECT_EQ(cut(R"( [ {"a": "]},\""},
                      {"b": [1, {"c": 2}]}, 3 ] )",
                RecordFormat::json),
            (Raw{{1, R"({"a": "]},\""})"}, {2, R"({"b": [1, {"c": 2}]})"}, {2, "3"}}));
  EXPECT_EQ(cut("[]", RecordFormat::json), Raw());
  EXPECT_EQ(cut("", RecordFormat::json), Raw());
}

TEST(RecordFile, JsonOneAfterTheOther) {
  EXPECT_EQ(cut("{\"a\":\n1}\n{\"b\":2}\n", RecordFormat::json), (Raw{{1, "{\"a\":\n1}"}, {3, "{\"b\":2}"}}));
}

TEST(RecordFile, JsonThatCannotBeTakenApart) {
  EXPECT_EQ(why_not("[{}\n{}]", RecordFormat::json), "line 2: expected , or ] behind a record");
  EXPECT_EQ(why_not("[{},\n{\"a\"", RecordFormat::json), "line 2: the record that begins here has no end");
  EXPECT_EQ(why_not("[{}", RecordFormat::json), "line 1: expected , or ] behind a record");
  EXPECT_EQ(why_not("[", RecordFormat::json), "line 1: the list has no end");
  EXPECT_EQ(why_not("[{}]\nx", RecordFormat::json), "line 2: text behind the end of the list");
}

TEST(RecordFile, AnObjectAroundOneListOfRecordsIsThatList) {
  EXPECT_EQ(cut("{\"version\": \"1\", \"data\" :\n [{\"text\": \"a\"},\n{\"text\": \"]\"} ], \"n\": 2}\n",
                RecordFormat::json),
            (Raw{{2, "{\"text\": \"a\"}"}, {3, "{\"text\": \"]\"}"}}));
  const std::string text = R"({"version": "1", "train": [{"text": "a"}], "empty": [], "none": null})";
  RecordCutter cutter(text, RecordFormat::json);
  const Record record = cutter.parse(cutter.next()->text);
  EXPECT_EQ(record.completion, "a");
  EXPECT_THAT(record.ignored, ElementsAre("empty", "none", "version"));
  EXPECT_EQ(
      why_not(R"({"train": [{"text": "a"}], "test": [{"text": "b"}]})", RecordFormat::json),
      "line 1: an object around several lists, train, test; write the one with the records into a file of "
      "its own");
  // One record, several, and what has no end are what they were.
  for (const std::string one : {R"({"messages": [{"role": "user"}], "data": [{}]})", R"({"text": "a"})",
                                R"({"data": [1]})", R"({"data": []})"}) {
    EXPECT_EQ(cut(one, RecordFormat::json), (Raw{{1, one}})) << one;
  }
  EXPECT_EQ(cut(R"({"a": [{}]}{"a": [{}]})", RecordFormat::json).size(), 2u);
  EXPECT_EQ(why_not(R"({"a": [{}])", RecordFormat::json), "line 1: the record that begins here has no end");
  EXPECT_EQ(cut(R"({"a": [{}], b})", RecordFormat::json).size(), 1u);
}

TEST(RecordFile, CsvCellsMayHoldLists) {
  const std::string text =
      "messages,tools\n\"[{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"U\"\"}]\",[]\n";
  RecordCutter cutter(text, RecordFormat::csv);
  EXPECT_EQ(cutter.parse(cutter.next()->text).chat->messages[0].content, "U");
}

TEST(RecordFile, CsvRowsUnderTheirNames) {
  const std::string text = "prompt,completion\nq,a\n\"two\nlines\",\"b,c\"\n\nx,y\n";
  RecordCutter cutter(text, RecordFormat::csv);
  std::vector<int64_t> lines;
  std::vector<std::pair<std::string, std::string>> records;
  while (const auto raw = cutter.next()) {
    const Record record = cutter.parse(raw->text);
    lines.push_back(raw->line);
    records.emplace_back(record.prompt, record.completion);
  }
  EXPECT_THAT(lines, ElementsAre(2, 3, 6));
  EXPECT_THAT(records, ElementsAre(Pair("q", "a"), Pair("two\nlines", "b,c"), Pair("x", "y")));
  EXPECT_EQ(test::error_of([&] { cutter.parse("only one"); }), "1 fields where the first row names 2");
}

TEST(RecordFile, CsvAsExcelWritesIt) {
  for (const std::string separator : {";", "\t"}) {
    const std::string text = fmt::format("prompt{0}completion\r\nq, or{0}\"a{0}\nb\"\r\n", separator);
    RecordCutter cutter(text, RecordFormat::csv);
    const Record record = cutter.parse(cutter.next()->text);
    EXPECT_EQ(record.prompt, "q, or");
    EXPECT_EQ(record.completion, "a" + separator + "\nb");
    EXPECT_FALSE(cutter.next());
  }
  RecordCutter wrapped("id,\"long\nname\",text\n1,2,a\n", RecordFormat::csv);
  EXPECT_EQ(wrapped.parse(wrapped.next()->text).completion, "a");
  RecordCutter one_column("text\nHello, world\n", RecordFormat::csv);
  EXPECT_EQ(one_column.parse(one_column.next()->text).completion, "Hello, world");
}

TEST(RecordFile, CsvMustNameTheFields) {
  EXPECT_THAT(why_not("q,a\n1,2\n", RecordFormat::csv), HasSubstr("line 1: it should name the fields"));
  EXPECT_THAT(why_not("q,a\n1,2\n", RecordFormat::csv), HasSubstr("found q, a"));
}

}  // namespace record_file_test
}  // namespace lora
