#include "cli/show_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "base/machine.h"
#include "base/parallel.h"
#include "base/printable.h"
#include "cli/finetune_flags.h"
#include "train/run.h"

namespace lora::cli {

namespace {

struct Sample {
  std::vector<Token> inputs, targets;

  // The inputs are what the text has before each target; only the last target is not among them.
  std::vector<Token> tokens() const {
    std::vector<Token> all = inputs;
    if (targets.back() != kIgnore) all.push_back(targets.back());
    return all;
  }
};

Sample sample_of(const Dataset& data, const ShownSample& shown) {
  Sample s;
  data.sample(shown.number, s.inputs, s.targets);
  const size_t n = std::min(s.inputs.size(), size_t(shown.n_most));
  s.inputs.resize(n);
  s.targets.resize(n);
  return s;
}

std::string header(const Dataset& data, const Sample& s, const ShownSample& shown) {
  const auto n_ignored = std::count(s.targets.begin(), s.targets.end(), kIgnore);
  return fmt::format("{}sample {} of {}: {} tokens, {} trained on\n",
                     shown.row > 0 ? fmt::format("row {}, ", shown.row) : "", shown.number + 1,
                     data.n_samples(), s.inputs.size(), int64_t(s.targets.size()) - n_ignored);
}

std::string id_and_piece(const Tokenizer& tokenizer, Token token) {
  const std::string piece = tokenizer.decode(token, true);
  return fmt::format("{}\t'{}'", token, printable(piece, piece.size()));
}

}  // namespace

Flag finetune_flag(FinetuneOptions& options, std::string_view name) {
  for (const FlagGroup& group : finetune_flags(options)) {
    for (const Flag& flag : group.flags) {
      if (main_name(flag) == name) return flag;
    }
  }
  throw std::logic_error("no such flag of finetune");
}

FlagGroup sample_text_flags(FinetuneOptions& options) {
  options.train_data.clear();
  FlagGroup group = sample_flags(options);
  group.title = "Samples of training data";
  // Special tokens are read, or not, in any text.
  std::erase_if(group.flags, [](const Flag& flag) { return main_name(flag) == "--parse-special"; });
  group.flags.insert(group.flags.begin(),
                     {finetune_flag(options, "--train-data"), finetune_flag(options, "--ctx")});
  return group;
}

Dataset read_samples(const FinetuneOptions& options, const Tokenizer& tokenizer) {
  ThreadPool pool(physical_cores());
  return Dataset(options.train_data, tokenizer, text_options(options), pool);
}

std::vector<ShownSample> first_samples(const Dataset& data, const FinetuneOptions& options, int64_t n) {
  const bool fills = fills_rows(options);
  std::vector<ShownSample> shown;
  int64_t row = 0, room = 0;
  for (int64_t i = 0; i < std::min(n, data.n_samples()); ++i) {
    if (!fills || room <= 0) {
      ++row;
      room = options.n_ctx;
    }
    shown.push_back({i, fills ? row : 0, room});
    room -= int64_t(sample_of(data, shown.back()).inputs.size());
  }
  return shown;
}

std::string sample_as_text(const Dataset& data, const Tokenizer& tokenizer, const ShownSample& shown,
                           Marks marks) {
  const Sample s = sample_of(data, shown);
  const std::vector<Token> tokens = s.tokens();
  std::string text = header(data, s, shown);
  // Token k + 1 is the target of input k.
  const auto mark = [&](size_t k) {
    const bool is_trained = k > 0 && s.targets[k - 1] != kIgnore;
    const bool is_special = !marks.special.empty() && tokenizer.kind(tokens[k]) == TokenKind::control;
    return is_special ? (is_trained ? marks.special_trained : marks.special)
                      : (is_trained ? marks.before : std::string_view());
  };
  // The text of some tokens is a beginning of the text of more.
  size_t n_shown = 0;
  for (size_t begin = 0, end = 0; begin < tokens.size(); begin = end) {
    for (end = begin + 1; end < tokens.size() && mark(end) == mark(begin);) ++end;
    const std::string so_far = tokenizer.decode({tokens.begin(), tokens.begin() + std::ptrdiff_t(end)}, true);
    const std::string part = printable_lines(std::string_view(so_far).substr(n_shown));
    n_shown = so_far.size();
    text += mark(begin).empty() ? part : fmt::format("{}{}{}", mark(begin), part, marks.after);
  }
  return text + "\n";
}

std::string sample_as_pieces(const Dataset& data, const Tokenizer& tokenizer, const ShownSample& shown) {
  const Sample s = sample_of(data, shown);
  std::string lines = header(data, s, shown);
  for (size_t k = 0; k < s.inputs.size(); ++k) {
    const bool trained = s.targets[k] != kIgnore;
    lines += fmt::format("{}\t{}\n", id_and_piece(tokenizer, s.inputs[k]),
                         trained ? "-> " + id_and_piece(tokenizer, s.targets[k]) : "-");
  }
  return lines;
}

std::string samples_as_json(const Dataset& data, const Tokenizer& tokenizer,
                            const std::vector<ShownSample>& all) {
  auto samples = nlohmann::ordered_json::array();
  for (const ShownSample& shown : all) {
    const Sample s = sample_of(data, shown);
    samples.push_back(
        {{"inputs", s.inputs}, {"targets", s.targets}, {"text", tokenizer.decode(s.tokens(), true)}});
    if (shown.row > 0) samples.back()["row"] = shown.row;
  }
  const DatasetReport& report = data.report();
  const nlohmann::ordered_json json = {
      {"samples", samples},          {"n_samples", report.n_samples},
      {"n_tokens", report.n_tokens}, {"n_cut", report.n_cut},
      {"n_blank", report.n_blank},   {"n_short", report.n_short},
      {"n_bad", report.n_bad},       {"ignored_fields", report.ignored_fields}};
  // A sample may be cut within a UTF-8 character: U+FFFD stands for the part.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace lora::cli
