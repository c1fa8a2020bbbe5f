// What a family is stands in its file of src/arch/. No other source compares the name of one: this reads them
// all for literals that are a row's name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "arch/architecture.h"
#include "arch/hf.h"

namespace lora {
namespace family_names_test {

namespace fs = std::filesystem;

// Names that are also something else's.
struct Exception {
  const char *file, *name, *why;
};
constexpr Exception kExceptions[] = {
    {"convert/hf_vocabulary.cc", "llama", "tokenizer.ggml.model of pieces with scores"},
    {"convert/hf_vocabulary.h", "llama", "the same"},
    {"tokenizer/tokenizer.cc", "llama", "the same"},
    {"convert/hf_vocabulary.cc", "gpt2", "tokenizer.ggml.model of byte-level pieces with merges"},
    {"convert/tokenizer_json.cc", "gpt2", "the same"},
    {"tokenizer/tokenizer.cc", "gpt2", "the same"},
    {"tokenizer/spm.cc", "gemma4", "tokenizer.ggml.model of pieces with merges"},
    {"tokenizer/tokenizer.cc", "gemma4", "the same"},
    {"tokenizer/tokenizer.cc", "phi3", "part of general.name, as llama.cpp looks for it"},
    {"tokenizer/spm.h", "llama", "the same"},
    {"model/synthetic.cc", "", "families of the shapes that are measured"},
    {"model/synthetic.h", "llama", "the same"},
    {"convert/pre_tokenizer_name.cc", "",
     "names of patterns, of which some are those of the first family to use them"},
    {"tokenizer/pre_tokenizers.cc", "", "the same"},
    {"recipe/summary.cc", "llama", "llama.cpp, the program"},
};

bool is_exception(const std::string& file, const std::string& name) {
  return std::ranges::any_of(kExceptions, [&](const Exception& e) {
    return file == e.file && (name == e.name || std::string_view(e.name).empty());
  });
}

// The literals of a line, comments left out.
std::vector<std::string> literals(const std::string& line) {
  std::vector<std::string> found;
  std::string text;
  bool inside = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (!inside && line.compare(i, 2, "//") == 0) break;
    if (inside && line[i] == '\\') {
      text += line[++i];
    } else if (line[i] == '"') {
      if (inside) found.push_back(text);
      text.clear();
      inside = !inside;
    } else if (inside) {
      text += line[i];
    }
  }
  return found;
}

// "FILE: NAME" for each literal that is a family's name or begins a key of one.
std::vector<std::string> names_in(const fs::path& src) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(src)) {
    const std::string file = fs::relative(entry.path(), src).generic_string();
    const bool is_source = file.ends_with(".h") || file.ends_with(".cc");
    if (!is_source || file.starts_with("arch/") || file.find("test") != file.npos ||
        file.find("bench") != file.npos)
      continue;
    std::ifstream source(entry.path());
    for (std::string line; std::getline(source, line);) {
      for (const std::string& literal : literals(line)) {
        for (const Architecture* row : architectures()) {
          const std::string name(row->name);
          const bool is_name = literal == name || literal.starts_with(name + ".");
          if (is_name && !is_exception(file, name)) found.push_back(file + ": " + literal);
        }
      }
    }
  }
  return found;
}

TEST(FamilyNames, StandInTheirFilesAlone) {
  EXPECT_THAT(names_in(LORA_SOURCE_DIR "/src"), testing::IsEmpty());
}

TEST(FamilyNames, AreFoundInALine) {
  EXPECT_THAT(literals(R"(if (name == "llama") f("a\"b"); // "gemma")"),
              testing::ElementsAre("llama", "a\"b"));
  const fs::path root = fs::path(testing::TempDir()) / "family_names_test";
  fs::remove_all(root);
  fs::create_directories(root / "convert");
  fs::create_directories(root / "arch");
  std::ofstream(root / "convert/x.cc")
      << "x(\"phi3\"); // \"gemma\"\ny(\"llama.block_count\", \"llamas\");\n";
  std::ofstream(root / "arch/x.cc") << "x(\"phi3\");\n";
  EXPECT_THAT(names_in(root),
              testing::UnorderedElementsAre("convert/x.cc: phi3", "convert/x.cc: llama.block_count"));
}

// A row of the list of exceptions that is no longer needed has to go.
TEST(FamilyNames, ExceptionsAreNeeded) {
  for (const Exception& e : kExceptions) {
    std::ifstream source(std::string(LORA_SOURCE_DIR "/src/") + e.file);
    bool is_there = false;
    for (std::string line; std::getline(source, line);) {
      const std::string name = e.name;
      is_there = is_there || line.find('"' + name) != line.npos;
    }
    EXPECT_TRUE(is_there) << e.file << " " << e.name;
  }
}

std::string text_of(const std::string& path) {
  std::ifstream file(LORA_SOURCE_DIR "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The page that shows a whole family shows the file as it is.
TEST(FamilyDocs, TheExampleIsTheFile) {
  EXPECT_THAT(text_of("docs/adding.md"),
              testing::HasSubstr("```cpp\n" + text_of("src/arch/seed_oss.cc") + "```"));
}

// Each family's line in the table of classes names those that are converted, and no other.
TEST(FamilyDocs, ClassesAreThoseOfTheTable) {
  const std::string page = text_of("docs/converting.md");
  for (const Architecture* row : architectures()) {
    if (!row->hf) continue;
    const size_t end = page.find(" | `" + std::string(row->name) + "` |\n");
    ASSERT_NE(end, page.npos) << row->name;
    std::string line = page.substr(page.rfind('\n', end) + 1, end - page.rfind('\n', end) - 1);
    std::string_view previous;
    for (const HfClass& hf_class : row->hf->classes) {
      const std::string name = '`' + std::string(hf_class.name) + '`';
      const bool is_there = line.find(name) != line.npos;
      // Named twice for two kinds of language models: the first erased it.
      const bool is_again = hf_class.name == previous;
      EXPECT_EQ(is_there, hf_class.why_not.empty() && !is_again) << name;
      previous = hf_class.name;
      if (const size_t at = line.find(name); at != line.npos) line.erase(at, name.size());
    }
    for (const char* kind : {"ForCausalLM", "ForConditionalGeneration"})
      EXPECT_EQ(line.find(kind), line.npos) << line;
  }
}

// What is not supported, with the reason.
TEST(FamilyDocs, WhatIsNotComputedIsListed) {
  const std::string page = text_of("docs/converting.md");
  for (const NotComputed& row : not_computed()) {
    EXPECT_THAT(page, testing::HasSubstr(fmt::format("| {} | {} |\n", row.models, row.why)));
    EXPECT_FALSE(find_architecture(row.name)) << row.name;
    EXPECT_EQ(row.name.empty() ? nullptr : find_not_computed(row.name), row.name.empty() ? nullptr : &row);
  }
  EXPECT_EQ(find_not_computed("FalconMambaForCausalLM"), find_not_computed("mamba"));
  EXPECT_FALSE(find_not_computed(""));
  EXPECT_FALSE(find_not_computed("MambaFor"));
}

// README's list is the table's: what each row is called, and no more.
TEST(FamilyDocs, ReadmeListsTheTable) {
  const std::string readme = text_of("README.md");
  const size_t begin = readme.find("many descendants:\n"), end = readme.find("\nIn F32", begin);
  ASSERT_NE(end, readme.npos);
  std::istringstream table(readme.substr(begin, end - begin));
  std::set<std::string> found, wanted;
  for (std::string row; std::getline(table, row);) {
    const size_t cell = row.find(" | "), last = row.rfind(" |");
    if (cell == row.npos || last < cell + 3) continue;  // the rows above the first
    const std::string list = row.substr(cell + 3, last - cell - 3);
    for (size_t from = 0; from < list.size();) {
      const size_t to = std::min(list.find("; ", from), list.size());
      found.insert(list.substr(from, to - from));
      from = to + 2;
    }
  }
  for (const Architecture* row : architectures()) wanted.emplace(row->models);
  EXPECT_EQ(found, wanted);
}

}  // namespace family_names_test
}  // namespace lora
