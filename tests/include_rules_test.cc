// Reads every #include "..." below src/ and holds it against the arrows drawn in ARCHITECTURE.md:
// a folder may include itself and what its arrows reach, nothing else.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace include_rules_test {

namespace fs = std::filesystem;
using Arrows = std::map<std::string, std::set<std::string>>;

// The fenced block of the page that opens with ```arrows, one "folder -> folder folder ..." a line.
Arrows read_arrows(std::istream& page) {
  Arrows arrows;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("```")) {
      inside = line == "```arrows";
      continue;
    }
    if (!inside) continue;
    std::istringstream words(line);
    std::string from, arrow, to;
    words >> from >> arrow;
    if (arrow != "->") throw std::runtime_error("not an arrow: " + line);
    for (arrows[from]; words >> to;) arrows[from].insert(to);
  }
  return arrows;
}

// Everything that can be reached from `from`, itself only if the arrows lead back to it.
std::set<std::string> reachable(const Arrows& arrows, const std::string& from) {
  std::set<std::string> found;
  std::vector<std::string> next{from};
  while (!next.empty()) {
    const auto it = arrows.find(next.back());
    next.pop_back();
    if (it == arrows.end()) continue;
    for (const std::string& to : it->second) {
      if (found.insert(to).second) next.push_back(to);
    }
  }
  return found;
}

// One line for each include of src/FOLDER/... that no arrow allows, "FILE includes WHAT".
std::vector<std::string> violations(const fs::path& src, const Arrows& arrows) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(src)) {
    const fs::path extension = entry.path().extension();
    if (extension != ".h" && extension != ".cc") continue;
    const std::string file = fs::relative(entry.path(), src).generic_string();
    const std::string folder = file.substr(0, file.find('/'));
    const std::set<std::string> allowed = reachable(arrows, folder);
    std::ifstream source(entry.path());
    for (std::string line; std::getline(source, line);) {
      if (!line.starts_with("#include \"")) continue;
      const std::string included = line.substr(10, line.find('"', 10) - 10);
      const std::string target = included.substr(0, included.find('/'));
      const bool fine = arrows.contains(folder) && (target == folder || allowed.contains(target));
      if (!fine || !fs::exists(src / included)) found.push_back(file + " includes " + included);
    }
  }
  return found;
}

Arrows documented_arrows() {
  std::ifstream page(LORA_SOURCE_DIR "/ARCHITECTURE.md");
  return read_arrows(page);
}

TEST(IncludeRules, SourcesFollowTheArrowsOfTheArchitecturePage) {
  EXPECT_THAT(violations(LORA_SOURCE_DIR "/src", documented_arrows()), testing::IsEmpty());
}

// Foreign text must become printable before a terminal sees it, so one file writes to the standard streams.
TEST(Output, IsWrittenInOnePlace) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(LORA_SOURCE_DIR "/src")) {
    const std::string file = fs::relative(entry.path(), LORA_SOURCE_DIR "/src").generic_string();
    const bool is_source = file.ends_with(".h") || file.ends_with(".cc");
    if (!is_source || file == "cli/put.cc" || file.find("test") != file.npos ||
        file.find("bench") != file.npos)
      continue;
    std::ifstream source(entry.path());
    for (std::string line; std::getline(source, line);) {
      line.resize(std::min(line.size(), line.find("//")));
      for (const char* call :
           {"fmt::print(", "printf(", "fputs(", "::puts(", " puts(", "fwrite(", "std::cout", "std::cerr"}) {
        if (line.find(call) != line.npos) found.push_back(file + ": " + line);
      }
    }
  }
  EXPECT_THAT(found, testing::IsEmpty());
}

// Helpers of a folder's sources by name, and where they stand: sources are compiled several at a time
// (LORA_UNITY), so that one that has the name of another file's could be called in its place. Those of
// Windows are compiled alone.
std::vector<std::string> names_that_stand_twice(const fs::path& folder) {
  const std::regex function(
      R"(^(template <.*> |static |inline |constexpr |const )*[A-Za-z_][\w:<>,&* ]*[ &*](\w+)\()");
  std::map<std::string, std::set<std::string>> helpers, others;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().parent_path().filename() == "windows") continue;
    const std::string file = fs::relative(entry.path(), folder).generic_string();
    if ((!file.ends_with(".h") && !file.ends_with(".cc")) || file.find("_test") != file.npos) continue;
    std::ifstream source(entry.path());
    bool is_inside = false;
    for (std::string line; std::getline(source, line);) {
      if (line == "namespace {") is_inside = true;
      if (line == "}  // namespace") is_inside = false;
      std::smatch match;
      if (line.empty() || !std::isalpha(line[0]) || line.starts_with("return") || line.starts_with("using") ||
          !std::regex_search(line, match, function))
        continue;
      (is_inside ? helpers : others)[match[2]].insert(file);
    }
  }
  std::vector<std::string> found;
  for (const auto& [name, files] : helpers) {
    const auto other = others.find(name);
    if (files.size() > 1 || (other != others.end() && !other->second.contains(*files.begin())))
      found.push_back(fmt::format("{}: {}", folder.filename().string(), name));
  }
  return found;
}

TEST(Sources, HelpersOfAFolderHaveNamesOfTheirOwn) {
  std::vector<std::string> found;
  for (const auto& folder : fs::directory_iterator(LORA_SOURCE_DIR "/src")) {
    const std::string name = folder.path().filename().string();
    if (name == "arch" || name == "kernels") continue;  // each compiled alone
    for (const std::string& twice : names_that_stand_twice(folder.path())) found.push_back(twice);
  }
  EXPECT_THAT(found, testing::IsEmpty());
}

// What training computes has the same bits on every system, so that nothing asks the system's library for
// them. Chat templates have Python's numbers, which are the library's. Of tests fma alone matters: those that
// call it compare bits, and the library for Windows rounds it twice.
TEST(ElementaryFunctions, AreTheProgramsOwn) {
  const std::regex others(
      "(std::|[^:_.>a-z])(exp|exp2|expm1|log|log2|log10|log1p|pow|cbrt|hypot|a?sin|a?cos|a?tan|atan2|a?sinh|"
      "a?cosh|a?tanh|"
      "erfc?|[lt]gamma|fma)[fl]?\\("),
      fma("(std::|[^:_.>a-z])fma[fl]?\\(");
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(LORA_SOURCE_DIR "/src")) {
    const std::string file = fs::relative(entry.path(), LORA_SOURCE_DIR "/src").generic_string();
    const bool is_source = file.ends_with(".h") || file.ends_with(".cc");
    if (!is_source || file.starts_with("base/elementary") || file.starts_with("template/")) continue;
    const bool is_test = file.find("test") != file.npos || file.find("bench") != file.npos;
    std::ifstream source(entry.path());
    for (std::string line; std::getline(source, line);) {
      line.resize(std::min(line.size(), line.find("//")));
      if (line.find('(') != line.npos && std::regex_search(line, is_test ? fma : others))
        found.push_back(file + ": " + line);
    }
  }
  EXPECT_THAT(found, testing::IsEmpty());
}

TEST(IncludeRules, ArrowsHaveNoCycleAndNameEveryFolder) {
  const Arrows arrows = documented_arrows();
  for (const auto& [folder, to] : arrows) {
    EXPECT_FALSE(reachable(arrows, folder).contains(folder)) << folder;
    EXPECT_TRUE(fs::is_directory(fs::path(LORA_SOURCE_DIR "/src") / folder)) << folder;
  }
  for (const auto& entry : fs::directory_iterator(LORA_SOURCE_DIR "/src")) {
    EXPECT_TRUE(!entry.is_directory() || arrows.contains(entry.path().filename().string())) << entry.path();
  }
}

// A tree of three layers with one file per rule to break.
class BrokenTree : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(root_);
    write("base/b.h", "");
    write("mid/m.h", "#include \"base/b.h\"\n");
    write("top/t.cc",
          "#include <vector>\n#include \"base/b.h\"\n#include \"mid/m.h\"\n#include \"top/t.h\"\n");
    write("top/t.h", "");
    std::istringstream page(
        "text\n```arrows\ntop -> mid\nmid -> base\nbase ->\n```\n```\nbase -> top\n```\n");
    arrows_ = read_arrows(page);
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  const fs::path root_ = fs::path(testing::TempDir()) / "include_rules_test";
  Arrows arrows_;
};

TEST_F(BrokenTree, AllowsWhatArrowsReachThroughOthers) {
  EXPECT_THAT(violations(root_, arrows_), testing::IsEmpty());
}

TEST_F(BrokenTree, ReportsAnIncludeAgainstAnArrow) {
  write("base/up.cc", "#include \"mid/m.h\"\n");
  EXPECT_THAT(violations(root_, arrows_), testing::ElementsAre("base/up.cc includes mid/m.h"));
}

TEST_F(BrokenTree, ReportsAFolderWithoutArrows) {
  write("stray/s.h", "#include \"base/b.h\"\n");
  EXPECT_THAT(violations(root_, arrows_), testing::ElementsAre("stray/s.h includes base/b.h"));
}

TEST_F(BrokenTree, ReportsHelpersOfOneName) {
  const std::string helper = "namespace {\nint help(int x) {\n}\n}  // namespace\n";
  write("mid/a.cc", helper);
  write("mid/own.cc", "namespace {\nvoid other() {\n}\n}  // namespace\n");
  EXPECT_THAT(names_that_stand_twice(root_ / "mid"), testing::IsEmpty());
  write("mid/b.cc", helper);
  EXPECT_THAT(names_that_stand_twice(root_ / "mid"), testing::ElementsAre("mid: help"));
  write("mid/b.cc", "int help(const char* x) {\n}\n");
  EXPECT_THAT(names_that_stand_twice(root_ / "mid"), testing::ElementsAre("mid: help"));
}

TEST_F(BrokenTree, ReportsAnIncludeNotWrittenFromTheTopFolder) {
  write("mid/relative.cc", "#include \"m.h\"\n");
  EXPECT_THAT(violations(root_, arrows_), testing::ElementsAre("mid/relative.cc includes m.h"));
}

}  // namespace include_rules_test
