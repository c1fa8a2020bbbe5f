#include "cli/metrics_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/json_depth.h"
#include "data/text_file.h"

namespace lora::cli {

Metrics read_metrics(const std::string& path) {
  const MappedFile file(path);
  const std::string_view text = file.text();
  expect_text(text, path);
  Metrics m;
  int64_t number = 0;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    ++number;
    const std::string_view line = text.substr(begin, end - begin);
    const auto record = nests_too_deep(line) ? nlohmann::json() : nlohmann::json::parse(line, nullptr, false);
    const auto value = [&](const char* key, bool wanted = false) {
      const bool there = record.is_object() && record.contains(key);
      if (there && record[key].is_number())
        return std::clamp(record[key].get<double>(), -1e100, 1e100);  // sums and distances stay finite
      if (!record.is_object() || (there ? !record[key].is_null() : wanted)) {
        fail("{}: line {}: expected a JSON object with a number '{}', as finetune --metrics writes it", path,
             number, key);
      }
      return kNone;
    };
    const double iter = value("iter", true);
    if (!(iter > (m.iter.empty() ? -1e100 : m.iter.back()))) {
      fail("{}: line {}: iteration {} does not follow on the one before: a file per run is expected", path,
           number, iter);
    }
    m.iter.push_back(iter);
    m.loss.push_back(value("loss", true));
    m.val_loss.push_back(value("val_loss"));
    m.n_val_loss_none += record.contains("val_loss") && record["val_loss"].is_null();
    m.lr.push_back(value("lr"));
    m.grad_norm.push_back(value("grad_norm"));
    m.tok_per_s.push_back(value("tok_per_s"));
    m.epoch.push_back(value("epoch"));
    const auto sum = [&](std::vector<double>& column, const char* key) {
      const double part = value(key);  // of kNone the sum is kNone from here on
      column.push_back((column.empty() ? 0 : column.back()) + (part < 0 ? 0 : part));
    };
    sum(m.tokens, "tokens");
    sum(m.seconds, "dt_s");
    if (number == 1) m.val_loss_before = value("val_loss_before");
  }
  if (m.iter.empty()) fail("{}: no line of metrics in it", path);
  return m;
}

}  // namespace lora::cli
