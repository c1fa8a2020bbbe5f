#include "convert/pre_tokenizer_name.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "convert/json_file.h"

namespace lora {
namespace {

using nlohmann::json;

constexpr std::string_view kWords3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kWords1 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kCaseWords1 =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kCaseWords3 =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kPunctuatedWords =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Steps that are no regular expression.
constexpr std::string_view kByteLevel = "ByteLevel", kDigits = "Digits";

struct Row {
  std::string_view name;  // as in tokenizer/pre_tokenizers.cc
  // Splits by regular expression, and other steps by name; a step that ends in "..." is the beginning of one.
  // The last step, the mapping of bytes to letters, is ByteLevel only where it splits too (use_regex).
  std::vector<std::string_view> steps;
  std::optional<bool> ignore_merges = std::nullopt;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {"llama-bpe", {kWords3}, true},
      {"dbrx", {kWords3}, false},
      {"qwen2", {kWords1}},
      {"tekken", {kCaseWords1}},
      {"gpt-4o", {kCaseWords3}},
      {"gpt-2", {kByteLevel}},
      {"smollm", {kDigits, kByteLevel}},
      {"deepseek-v3", {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kPunctuatedWords}},
      {"deepseek-coder", {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", kDigits}},
      {"deepseek-llm",
       {R"([\r\n])", R"(\s?[A-Za-zµÀ...)", R"(\s?[!-/:-~...)", R"(\s+$)", "[一-龥ࠀ-一가-퟿]+",
        kDigits}},
  };
  return table;
}

bool same(std::string_view found, std::string_view wanted) {
  if (wanted.ends_with("...")) return found.starts_with(wanted.substr(0, wanted.size() - 3));
  return found == wanted;
}

// Line ends written as characters, which some files do, mean the same.
std::string escaped(const std::string& regex) {
  std::string text;
  for (const char c : regex) {
    if (c == '\r' || c == '\n') {
      text += c == '\r' ? "\\r" : "\\n";
    } else {
      text += c;
    }
  }
  return text;
}

void add_steps(std::vector<std::string>& steps, const json& node, const std::string& path, int depth = 0) {
  const std::string type = json_text(node, "type").value_or("?");
  if (type == "Sequence" && depth < 4) {
    if (const json* parts = json_field(node, "pretokenizers"); parts && parts->is_array()) {
      for (const json& part : *parts) add_steps(steps, part, path, depth + 1);
    }
  } else if (type == "Split") {
    const json* pattern = json_field(node, "pattern");
    const auto regex = pattern ? json_text(*pattern, "Regex") : std::nullopt;
    steps.push_back(regex ? escaped(*regex) : "Split");
  } else if (type == "ByteLevel") {
    if (json_bool(node, "add_prefix_space").value_or(true))
      steps.emplace_back("ByteLevel with add_prefix_space");
    if (json_bool(node, "use_regex").value_or(true)) steps.emplace_back(kByteLevel);
  } else if (type == "Digits" && json_bool(node, "individual_digits").value_or(false)) {
    steps.emplace_back(kDigits);
  } else {
    steps.push_back(type);
  }
}

}  // namespace

std::string pre_tokenizer_name(const json& pre_tokenizer, bool ignore_merges, const std::string& path) {
  std::vector<std::string> steps;
  add_steps(steps, pre_tokenizer, path);
  std::string known;
  for (const Row& row : rows()) {
    if (row.ignore_merges.value_or(ignore_merges) == ignore_merges &&
        std::equal(steps.begin(), steps.end(), row.steps.begin(), row.steps.end(), same)) {
      return std::string(row.name);
    }
    if (!known.empty()) known += ", ";
    known += row.name;
  }
  fail("{}: pre_tokenizer: {} is none that is known ({})", path,
       printable(fmt::format("{}", fmt::join(steps, " + ")), 300), known);
}

}  // namespace lora
