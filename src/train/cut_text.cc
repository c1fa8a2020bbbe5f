#include "train/cut_text.h"

#include "base/error.h"
#include "base/plural.h"

namespace lora {

CutText cut_text(const FinetuneOptions& o, const DatasetReport& d, const std::string& flag,
                 int64_t n_ctx_train) {
  if (d.n_uncut_files > 0) {
    const bool unread_escape = !o.escape && o.sample_start.find('\\') != std::string::npos;
    const std::string others =
        d.n_uncut_files > 1 ? fmt::format(" (nor in {} more of {})", d.n_uncut_files - 1, flag) : "";
    return {
        fmt::format("--sample-start: '{}' does not occur in {}{}, so it is one sample of {}", o.sample_start,
                    d.first_uncut, others, count_of(d.uncut_tokens, "token")),
        fmt::format("give a mark that does{}, or --window 0 in its place, which cuts the text into pieces of "
                    "--ctx, or --allow-cut if that is meant",
                    unread_escape ? R"( (--escape reads \n as a line's end))" : "")};
  }
  if (2 * d.text_lost <= d.text_tokens) return {};
  const std::string beyond =
      d.text_longest > n_ctx_train
          ? fmt::format(" (beyond the {} the model was trained with)", count_of(n_ctx_train, "token"))
          : "";
  return {
      fmt::format("--ctx: {} of the {} tokens in the text of {} are beyond the first {} of their sample and "
                  "would be cut off",
                  d.text_lost, d.text_tokens, flag, o.n_ctx),
      fmt::format(
          "--ctx {} holds the longest sample{}; a --sample-start that occurs more often makes shorter "
          "ones; --window 0 in its place loses nothing; --allow-cut goes on without them",
          d.text_longest, beyond)};
}

void expect_whole(const FinetuneOptions& options, const DatasetReport& report, const std::string& flag,
                  int64_t n_ctx_train) {
  if (options.allow_cut) return;
  const CutText cut = cut_text(options, report, flag, n_ctx_train);
  if (!cut.what.empty()) fail("{}; {}", cut.what, cut.ways);
}

}  // namespace lora
