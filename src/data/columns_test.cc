#include "data/columns.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "data/data_test_util.h"
#include "data/record_file.h"

namespace lora {
namespace columns_test {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::StartsWith;

std::string why_not(std::string_view text) {
  return test::error_of([&] { parse_columns(text); });
}

TEST(Columns, NameColumnPairs) {
  EXPECT_THAT(parse_columns("prompt=frage,completion=antwort"),
              ElementsAre(Pair("prompt", "frage"), Pair("completion", "antwort")));
  EXPECT_THAT(parse_columns(R"(text=a=b,"system=Rolle, ""kurz""")"),
              ElementsAre(Pair("text", "a=b"), Pair("system", R"(Rolle, "kurz")")));
  EXPECT_TRUE(parse_columns("").empty());
  EXPECT_EQ(columns_text(parse_columns("prompt=a,completion=b")), "prompt=a,completion=b");
}

TEST(Columns, MistakesAreNamed) {
  for (const char* text : {"prompt", "prompt=", "=a", "prompt=a,", "prompt=a,,text=b"}) {
    EXPECT_THAT(why_not(text), StartsWith("expected NAME=COLUMN,..., found '")) << text;
  }
  EXPECT_THAT(why_not("reply=a"), StartsWith("no form of record has a field reply; there are messages, "));
  EXPECT_THAT(why_not("chosen=a"), StartsWith("no form of record has a field chosen"));
  EXPECT_EQ(why_not("text=a,text=b"), "text stands there twice");
  EXPECT_EQ(why_not("prompt=a,completion=a"), "a is to be prompt and completion");
  EXPECT_EQ(why_not("\"text=a"), "field 1: a quote without an end");
}

TEST(Columns, GiveRecordsTheirNames) {
  const Columns columns = parse_columns("prompt=frage,completion=antwort,system=rolle");
  auto record = nlohmann::ordered_json::parse(R"({"antwort": "A", "frage": "Q", "id": 1})");
  EXPECT_EQ(rename_columns(record, columns), 3u);
  EXPECT_EQ(record, nlohmann::ordered_json::parse(R"({"id": 1, "prompt": "Q", "completion": "A"})"));
  EXPECT_EQ(rename_columns(record, parse_columns("prompt=completion,completion=prompt")), 3u);
  EXPECT_EQ(record["prompt"], "A");
  EXPECT_EQ(test::error_of([&] { rename_columns(record, parse_columns("prompt=id")); }),
            "--columns: id is to be prompt, but there is a field prompt too");
}

Record only_record(std::string_view text, RecordFormat format, const char* columns) {
  RecordCutter cutter(text, format, parse_columns(columns));
  Record record = cutter.parse(cutter.next()->text);
  EXPECT_FALSE(cutter.next());
  cutter.expect_columns();
  return record;
}

TEST(Columns, OfEveryFormat) {
  const char* const columns = "prompt=frage,completion=antwort";
  for (const auto& [format, text] :
       {std::pair{RecordFormat::csv, "id;antwort;frage\n1;A;Q\n"},
        std::pair{RecordFormat::jsonl, "{\"frage\": \"Q\", \"antwort\": \"A\"}\n"},
        std::pair{RecordFormat::json, "[{\"frage\": \"Q\", \"antwort\": \"A\"}]"}}) {
    const Record record = only_record(text, format, columns);
    EXPECT_EQ(record.prompt, "Q");
    EXPECT_EQ(record.completion, "A");
  }
  const char* const one = R"({"dialog": [{"role": "user", "content": "U"}]})";
  EXPECT_EQ(only_record(one, RecordFormat::json, "messages=dialog").chat->messages[0].content, "U");
}

TEST(Columns, ThatNoRecordHasAreAnError) {
  EXPECT_EQ(test::error_of([] { only_record("{\"text\": \"a\"}", RecordFormat::jsonl, "system=rolle"); }),
            "--columns: no record has a field rolle");
  EXPECT_THAT(test::error_of([] { only_record("text,x\na,b\n", RecordFormat::csv, "system=rolle"); }),
              HasSubstr("line 1: --columns: there is no column rolle; found text, x"));
  EXPECT_EQ(test::error_of([] { only_record("text,x\na,b\n", RecordFormat::csv, "text=x"); }),
            "line 1: --columns: x is to be text, but there is a field text too; found text, x");
  RecordCutter some("{\"text\": \"a\"}\n{\"text\": \"a\", \"kategorie\": 1}", RecordFormat::jsonl,
                    parse_columns("weight=kategorie"));
  while (const auto raw = some.next()) some.parse(raw->text);
  some.expect_columns();
}

}  // namespace columns_test
}  // namespace lora
