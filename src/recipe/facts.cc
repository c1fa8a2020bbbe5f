#include "recipe/facts.h"

#include <algorithm>

#include "base/error.h"
#include "base/path.h"
#include "base/plural.h"
#include "base/printable.h"
#include "data/record_file.h"
#include "data/text_file.h"
#include "kernels/gemm/gemm.h"
#include "recipe/text_marks.h"
#include "train/run.h"

namespace lora {
namespace {

// The mark of all texts, or none of them has one.
std::optional<TextMark> mark_of_all(const std::vector<std::string>& texts) {
  std::optional<TextMark> mark;
  for (const std::string& path : texts) {
    const std::optional<TextMark> own = find_mark(TextFile(path).text());
    if (&path == &texts.front()) {
      mark = own;
    } else if (own && mark && own->text == mark->text) {
      mark->n_samples += own->n_samples;
    } else if (own.has_value() != mark.has_value() || own) {
      const auto words = [](const std::optional<TextMark>& m) {
        return m ? fmt::format("'{}'", printable(m->text)) : std::string("nothing");
      };
      fail(
          "{}: its samples are told apart by {}, those of {} by {}: train on them one after the other, or "
          "say "
          "--sample-start MARK or --window 0 for all",
          path, words(own), texts.front(), words(mark));
    }
  }
  return mark;
}

// "\n" as it is typed.
std::string escaped(std::string_view text) {
  std::string result;
  for (char c : text) result += c == '\n' ? "\\n" : std::string(1, c);
  return result;
}

Found cut_texts(FinetuneOptions& o, const std::vector<std::string>& texts) {
  const std::string what = count_of(int64_t(texts.size()), "text");
  const std::optional<TextMark> mark = mark_of_all(texts);
  if (!mark) {
    o.window = 0;
    return {what + " of prose",
            "no mark begins samples in it, so it is cut into consecutive pieces (--window 0)"};
  }
  o.escape = mark->text.find('\n') != std::string::npos;
  o.sample_start = o.escape ? escaped(mark->text) : mark->text;
  o.include_sample_start = mark->is_of_the_sample;
  return {fmt::format("{} of {}", what, count_of(mark->n_samples, "sample")),
          fmt::format("'{}' {} them", escaped(mark->text),
                      mark->is_of_the_sample       ? "begins each of"
                      : mark->text.front() == '\n' ? "separates"
                                                   : "marks")};
}

constexpr const char* kPlainTemplate = "vicuna";

// The built-in template for a model without one: one whose tokens it has, else one of plain words.
Found choose_template(FinetuneOptions& o, const Tokenizer& tokenizer) {
  const FittingTemplates fitting = fitting_templates(tokenizer);
  const bool by_tokens = !fitting.by_tokens.empty();
  o.chat_template = by_tokens ? fitting.by_tokens.front() : kPlainTemplate;
  return {fmt::format("the {} template writes conversations", o.chat_template),
          fmt::format("the model has no template of its own{}",
                      by_tokens ? fmt::format(", but {}'s tokens", o.chat_template)
                                : "; this one is of plain words: ask it in the same form")};
}

Found describe_records(const DatasetReport& report, const std::vector<std::string>& files) {
  const int64_t n_chats = report.tavern.n_chats, n_files = int64_t(files.size());
  if (n_chats == n_files)
    return {
        count_of(n_chats, "chat") + " of SillyTavern",
        "lines with name, is_user and mes; --names writes the speakers' names, --card FILE the character"};
  std::string names = printable(split_path(files.front()).second) + and_more(files.size() - 1);
  const std::string what = fmt::format("records in {}", count_of(n_files, "file"));
  if (n_chats > 0) return {fmt::format("{}, {} of them SillyTavern's", what, n_chats), names};
  return {what, names + ": told by the ending"};
}

}  // namespace

Samples find_samples(FinetuneOptions& o, const std::function<bool(std::string_view flag)>& is_given,
                     const Model& model, const Tokenizer& tokenizer, ThreadPool& pool) {
  std::vector<std::string> texts, records;
  for (const std::string& path : o.train_data) (record_format(path) ? records : texts).push_back(path);
  std::vector<Found> found;
  if (!texts.empty() && !is_given("--sample-start") && !is_given("--window"))
    found.push_back(cut_texts(o, texts));
  std::optional<Found> chosen;
  if (!records.empty() && o.chat_template == "auto" && !is_given("--chat-template") &&
      tokenizer.chat_template().empty())
    chosen = choose_template(o, tokenizer);

  FinetuneOptions whole = o;
  whole.n_ctx = std::min(model.config.n_ctx_train, kLongestSample);
  if (whole.window) whole.window = 0;
  Samples samples{Dataset(whole.train_data, tokenizer, text_options(whole), pool), std::move(found)};
  if (!o.val_data.empty()) {
    const Dataset held_out(o.val_data, tokenizer, text_options(whole), pool);
    samples.n_val = int64_t(held_out.side_by_side().size());
  }
  const DatasetReport& report = samples.data.report();
  if (!records.empty()) samples.found.push_back(describe_records(report, records));
  if (chosen && report.chat_templates.contains(o.chat_template)) {
    samples.found.push_back(std::move(*chosen));
  } else if (chosen) {
    o.chat_template = "auto";  // nothing asks for one
  }
  return samples;
}

Facts gather_facts(const Samples& samples, const Model& model, int n_threads) {
  Facts facts;
  const Dataset& data = samples.data;
  const DatasetReport& report = data.report();
  facts.n_val_samples = samples.n_val;
  facts.is_prose = report.n_consecutive == report.n_samples;
  facts.divides_long_samples = report.tavern.n_chats > 0;
  facts.n_tokens = report.n_tokens;
  facts.n_beyond = report.n_lost;
  std::vector<Token> inputs, targets;
  for (int64_t i = 0; i < data.n_samples(); ++i) {
    data.sample(i, inputs, targets);
    if (!facts.is_prose) facts.lengths.push_back(int64_t(inputs.size()));
    facts.n_targets += std::ranges::count_if(targets, [](Token t) { return t != kIgnore; });
  }
  facts.n_embd = model.config.n_embd;
  facts.n_ctx_train = model.config.n_ctx_train;
  facts.fits = [&model, n_threads](const FinetuneOptions& o) {
    try {
      const int64_t adapter = trained_bytes(o, parameter_bytes(model, ranks_of(o, model)));
      return has_plan(o, model, o.n_ctx, {0, adapter}, arithmetic_of(model, o.precision), n_threads);
    } catch (const Error&) {
      return false;
    }
  };
  return facts;
}

}  // namespace lora
