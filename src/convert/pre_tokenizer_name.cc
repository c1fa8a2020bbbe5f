#include "convert/pre_tokenizer_name.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "convert/json_file.h"
#include "tokenizer/pre_tokenizers.h"

namespace lora {
namespace {

using nlohmann::json;

// The regular expressions as the files have them.
constexpr std::string_view kWords3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kWords1 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
// With numbers of any length, of which a step before leaves three digits at most.
constexpr std::string_view kWordsN =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kMarkedWords1 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|)"
    R"( ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kSeedCoder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|)"
    R"(\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kExaoneMoe =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kJais2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|)"
    R"(\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})";
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
constexpr std::string_view kByteLevel = "ByteLevel", kDigits = "Digits", kDigitRuns = "Digits in runs",
                           kPunctuationRuns = "Punctuation in runs";

struct Row {
  std::string_view name;  // as in tokenizer/pre_tokenizers.cc
  // Splits by regular expression, and other steps by name; a step that ends in "..." is the beginning of one.
  // The last step, the mapping of bytes to letters, is ByteLevel only where it splits too (use_regex).
  std::vector<std::string_view> steps;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {"llama-bpe", {kWords3}},
      {"dbrx", {kWords3}},
      {"qwen2", {kWords1}},
      {"qwen35", {kMarkedWords1}},
      {"seed-coder", {kSeedCoder}},
      {"bailingmoe", {kBailing}},
      {"exaone-moe", {kExaoneMoe}},
      {"jais-2", {kJais2}},
      {"minicpm5", {R"(\p{N}{1,3})", kWordsN}},
      {"tekken", {kCaseWords1}},
      {"gpt-4o", {kCaseWords3}},
      {"tiny_aya", {R"(\d{1,3}(?=(?:\d{3})*\b))", kCaseWords3}},
      {"gpt-2", {kByteLevel}},
      {"olmo", {kByteLevel}},
      {"smollm", {kDigits, kByteLevel}},
      {"command-r", {kDigits, kByteLevel}},
      {"falcon", {kPunctuationRuns, kByteLevel, kDigitRuns, "[0-9][0-9][0-9]"}},
      {"superbpe", {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
      {"bloom", {" ?[^(\\s|[.,!?…。，、।۔،])]+"}},
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

void add_steps(std::vector<std::string>& steps, const json& node, int depth = 0) {
  const std::string type = json_text(node, "type").value_or("?");
  if (type == "Sequence" && depth < 4) {
    if (const json* parts = json_field(node, "pretokenizers"); parts && parts->is_array()) {
      for (const json& part : *parts) add_steps(steps, part, depth + 1);
    }
  } else if (type == "Split") {
    const json* pattern = json_field(node, "pattern");
    const auto regex = pattern ? json_text(*pattern, "Regex") : std::nullopt;
    steps.push_back(regex ? escaped(*regex) : "Split");
  } else if (type == "ByteLevel") {
    if (json_bool(node, "add_prefix_space").value_or(true))
      steps.emplace_back("ByteLevel with add_prefix_space");
    if (json_bool(node, "use_regex").value_or(true)) steps.emplace_back(kByteLevel);
  } else if (type == "Digits") {
    steps.emplace_back(json_bool(node, "individual_digits").value_or(false) ? kDigits : kDigitRuns);
  } else if (type == "Punctuation" && json_text(node, "behavior") == "Contiguous") {
    steps.emplace_back(kPunctuationRuns);
  } else {
    steps.push_back(type);
  }
}

}  // namespace

std::string pre_tokenizer_name(const json& pre_tokenizer, bool composes, bool ignore_merges,
                               const std::string& path) {
  std::vector<std::string> steps;
  add_steps(steps, pre_tokenizer);
  std::string known, best;
  int most = -1;
  for (const Row& row : rows()) {
    if (!known.empty()) known += ", ";
    known += row.name;
    if (!std::equal(steps.begin(), steps.end(), row.steps.begin(), row.steps.end(), same)) continue;
    const PreTokenizerRow& as_read = *find_pre_tokenizer(row.name);
    const int n_equal = int(as_read.composes == composes) + int(as_read.ignore_merges == ignore_merges);
    if (n_equal > most) {
      most = n_equal;
      best = row.name;
    }
  }
  if (most >= 0) return best;
  fail("{}: pre_tokenizer: {} is none that is known ({})", path,
       printable(fmt::format("{}", fmt::join(steps, " + ")), 300), known);
}

}  // namespace lora
