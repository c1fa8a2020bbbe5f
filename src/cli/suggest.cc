#include "cli/suggest.h"

#include <algorithm>

namespace lora::cli {

namespace {

std::string stem_of(std::string_view word) {
  return with_dashes(word.substr(std::min(word.find_first_not_of('-'), word.size())));
}

}  // namespace

std::string with_dashes(std::string_view word) {
  std::string result(word);
  std::replace(result.begin(), result.end(), '_', '-');
  return result;
}

int edit_distance(std::string_view a, std::string_view b) {
  const size_t width = b.size() + 1;
  std::vector<int> two_up(width), up(width), row(width);  // distances of a's prefixes to each prefix of b
  for (size_t j = 0; j < width; ++j) row[j] = int(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    two_up.swap(up);
    up.swap(row);
    row[0] = int(i);
    for (size_t j = 1; j < width; ++j) {
      row[j] = std::min({up[j] + 1, row[j - 1] + 1, up[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], two_up[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  const std::string stem = stem_of(word);
  std::string best, longer;
  // As far from each other as a word is long, two have nothing in common.
  int least = stem.size() <= 3 ? std::min(2, int(stem.size())) : std::max(3, int(stem.size()) / 3 + 1);
  constexpr size_t kLongest = 100;  // no word is
  if (stem.size() > kLongest) return "";
  for (const std::string& candidate : known) {
    const std::string other = stem_of(candidate);
    const int distance = edit_distance(stem, other);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
    const bool begins = stem.size() >= 3 && other.starts_with(stem), ends = other.ends_with("-" + stem);
    if ((begins || ends) && (longer.empty() || candidate.size() < longer.size())) longer = candidate;
  }
  return best.empty() ? longer : best;
}

}  // namespace lora::cli
