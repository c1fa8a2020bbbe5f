#include "data/data_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/process.h"

namespace lora {
namespace data_files_test {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class DataFilesTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(at("d")); }
  void TearDown() override { fs::remove_all(root_); }
  std::string at(const std::string& name) const { return root_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text = "x") const {
    fs::create_directories(fs::path(at(name)).parent_path());
    std::ofstream(at(name), std::ios::binary) << text;
    return at(name);
  }
  std::string why(const std::vector<std::string>& given) const {
    try {
      data_files(given);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }

 private:
  const std::string root_ = testing::TempDir() + "data_files_" + std::to_string(process_id());
};

TEST_F(DataFilesTest, FilesStayAsTheyAreNamedInTheirOrder) {
  const DataFiles files = data_files({"b.txt", "no-such-file", "a.md"});
  EXPECT_THAT(files.paths, ElementsAre("b.txt", "no-such-file", "a.md"));
  EXPECT_THAT(files.notes, IsEmpty());
}

TEST_F(DataFilesTest, AFolderIsItsTextsAndRecordsAtAnyDepthInTheOrderOfTheirPaths) {
  write("d/b.TXT"), write("d/a/z.jsonl"), write("d/c.csv"), write("d/a.json"), write("d/D.txt");
  write("d/readme.md"), write("d/n/readme.md"), write("d/LICENSE"), write("d/.hidden.txt"),
      write("d/.git/a.txt");
  const DataFiles files = data_files({at("d")});
  EXPECT_THAT(files.paths,
              ElementsAre(at("d/D.txt"), at("d/a.json"), at("d/a/z.jsonl"), at("d/b.TXT"), at("d/c.csv")));
  EXPECT_THAT(
      files.notes,
      ElementsAre(at("d") + ": 5 files in this folder; skipped: without an ending (1), .md (2), 2 hidden"));
}

TEST_F(DataFilesTest, AFolderWithoutAnyIsAnError) {
  EXPECT_EQ(why({at("d")}), at("d") + ": no .txt, .jsonl, .json, .csv or .tsv file in this folder");
  write("d/a.md"), write("d/.b.txt");
  EXPECT_EQ(
      why({at("d")}),
      at("d") + ": no .txt, .jsonl, .json, .csv or .tsv file in this folder; skipped: .md (1), 1 hidden");
  EXPECT_EQ(data_files({at("d/a.md")}).paths.size(), 1u);  // named, it is a text
}

TEST_F(DataFilesTest, AFolderOfFilesInAnotherFormSaysTheWayOut) {
  const std::string table = write("d/train-00000.parquet", "PAR1 some columns PAR1");
  EXPECT_THAT(why({at("d")}),
              HasSubstr(table + ": not a text: it is a Parquet table; Python makes records of it"));
}

TEST_F(DataFilesTest, WhatIsNamedTwiceIsReadTwiceAndSaid) {
  const std::string a = write("d/a.txt"), b = write("d/b.txt");
  const DataFiles files = data_files({a, b, at("d/../d/a.txt"), a});
  EXPECT_EQ(files.paths.size(), 4u);
  EXPECT_THAT(files.notes,
              ElementsAre("warning: named more than once, and read as often: " + at("d/../d/a.txt")));
}

TEST_F(DataFilesTest, ManyEndingsAreNamedInPart) {
  write("d/a.txt");
  for (char c = 'a'; c <= 'z'; ++c) write("d/a." + std::string(1, c));
  EXPECT_THAT(data_files({at("d")}).notes[0],
              HasSubstr(".a (1), .b (1), .c (1), .d (1), .e (1), .f (1), 20 more"));
}

}  // namespace data_files_test
}  // namespace lora
