#include "train/name_pattern.h"

#include <string_view>
#include <vector>

#include "base/numbers.h"
#include "base/path.h"

namespace lora {
namespace {

// A digit, and any number of further ones: what a mark stands for.
constexpr int kDigit = -1, kDigits = -2;

// The path as it would be absolute, in characters and these two.
std::vector<int> parts_of(const std::string& path, const std::string& unfolded_mark) {
  const std::string whole = fold_case(absolute_path(path)), mark = fold_case(unfolded_mark);
  std::vector<int> parts;
  for (size_t i = 0; i < whole.size();) {
    if (!mark.empty() && whole.compare(i, mark.size(), mark) == 0) {
      parts.insert(parts.end(), {kDigit, kDigits});
      i += mark.size();
    } else {
      parts.push_back(static_cast<unsigned char>(whole[i++]));
    }
  }
  return parts;
}

bool share_a_character(int a, int b) {
  const auto is_digit = [](int part) { return part < 0 || (part >= '0' && part <= '9'); };
  return a == b || ((a < 0 || b < 0) && is_digit(a) && is_digit(b));
}

}  // namespace

std::string fill_pattern(std::string name, const std::string& mark, const std::string& value) {
  if (mark.empty()) return name;
  for (size_t at = 0; (at = name.find(mark, at)) != std::string::npos; at += value.size()) {
    name.replace(at, mark.size(), value);
  }
  return name;
}

bool is_numbered(const std::string& file, const std::string& name, const std::string& mark) {
  const size_t at = name.find(mark);
  if (mark.empty() || at == name.npos || at >= file.size()) return false;
  const std::string number = file.substr(at, file.find_first_not_of("0123456789", at) - at);
  return !number.empty() && fill_pattern(name, mark, number) == file;
}

std::optional<int64_t> number_in_name(const std::string& file, const std::string& name,
                                      const std::string& mark) {
  if (!is_numbered(file, name, mark)) return std::nullopt;
  std::string_view rest = file;
  rest.remove_prefix(name.find(mark));
  const std::optional<int64_t> number = take_number<int64_t>(rest);
  if (!number || fill_pattern(name, mark, std::to_string(*number)) != file) return std::nullopt;
  return number;
}

bool can_be_equal(const std::string& a, const std::string& b, const std::string& mark) {
  const std::vector<int> left = parts_of(a, mark), right = parts_of(b, mark);
  // reached[i][j]: the first i and j parts can be one text. Digits may be none, and stay after a character.
  std::vector<std::vector<bool>> reached(left.size() + 1, std::vector<bool>(right.size() + 1));
  reached[0][0] = true;
  for (size_t i = 0; i <= left.size(); ++i) {
    for (size_t j = 0; j <= right.size(); ++j) {
      if (!reached[i][j]) continue;
      const bool more_left = i < left.size(), more_right = j < right.size();
      if (more_left && left[i] == kDigits) reached[i + 1][j] = true;
      if (more_right && right[j] == kDigits) reached[i][j + 1] = true;
      if (!more_left || !more_right || !share_a_character(left[i], right[j])) continue;
      reached[i + (left[i] != kDigits)][j + (right[j] != kDigits)] = true;
    }
  }
  return reached[left.size()][right.size()];
}

}  // namespace lora
