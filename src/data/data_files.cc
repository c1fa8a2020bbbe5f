#include "data/data_files.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/file_kind.h"
#include "base/file_status.h"
#include "base/path.h"
#include "base/plural.h"
#include "data/record_file.h"

namespace lora {
namespace {

constexpr size_t kMostNamed = 6;

// With its dot, in small letters; "" for a name without one.
std::string ending_of(const std::string& path) {
  const std::string name = split_path(path).second;
  const size_t dot = name.rfind('.');
  return dot == name.npos ? "" : lower_case(name.substr(dot));
}

// "skipped: .md (2), .png (1), 3 hidden"; "" if nothing was.
std::string skipped_text(const std::map<std::string, int64_t>& endings, const FilesBelow& below) {
  std::vector<std::string> parts;
  for (const auto& [ending, n] : endings)
    parts.push_back(fmt::format("{} ({})", ending.empty() ? "without an ending" : ending, n));
  if (parts.size() > 2 * kMostNamed) {
    const size_t n_more = parts.size() - kMostNamed;
    parts.resize(kMostNamed);
    parts.push_back(fmt::format("{} more endings", n_more));
  }
  if (below.n_hidden > 0) parts.push_back(fmt::format("{} hidden", below.n_hidden));
  if (below.n_others > 0)
    parts.push_back(count_of(below.n_others, "linked folder or device", "linked folders or devices"));
  return parts.empty() ? "" : fmt::format("skipped: {}", fmt::join(parts, ", "));
}

void add_folder(DataFiles& result, const std::string& folder) {
  const FilesBelow below = files_below(folder);
  std::map<std::string, int64_t> skipped;
  const size_t before = result.paths.size();
  std::string first_skipped;
  for (const std::string& path : below.files) {
    const std::string ending = ending_of(path);
    if (ending == ".txt" || record_format(path)) {
      result.paths.push_back(path);
      continue;
    }
    ++skipped[ending];
    if (first_skipped.empty()) first_skipped = path;
  }
  const std::string skipped_line = skipped_text(skipped, below);
  const size_t n_files = result.paths.size() - before;
  if (n_files == 0) {
    // Where there is something, but in a form of its own, it has a way out of its own.
    if (!first_skipped.empty() && file_bytes(first_skipped)) {
      const MappedFile file(first_skipped);
      refuse_no_text(file.text(), first_skipped);
    }
    fail("{}: no .txt, .jsonl, .json, .csv or .tsv file in this folder{}", folder,
         skipped_line.empty() ? "" : "; " + skipped_line);
  }
  result.notes.push_back(fmt::format("{}: {} in this folder{}", folder, count_of(int64_t(n_files), "file"),
                                     skipped_line.empty() ? "" : "; " + skipped_line));
}

}  // namespace

DataFiles data_files(const std::vector<std::string>& given) {
  DataFiles result;
  for (const std::string& path : given) {
    if (is_directory(path)) {
      add_folder(result, path);
    } else {
      result.paths.push_back(path);
    }
  }
  std::map<std::pair<uint64_t, uint64_t>, int64_t> times;
  std::vector<std::string> twice;
  for (const std::string& path : result.paths) {
    const auto identity = file_identity(path);
    if (identity && ++times[*identity] == 2) twice.push_back(path);
  }
  if (!twice.empty()) {
    result.notes.push_back(
        fmt::format("warning: named more than once, and read as often: {}", list_of(twice, kMostNamed)));
  }
  return result;
}

}  // namespace lora
