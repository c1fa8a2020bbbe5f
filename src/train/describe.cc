// What a run says before it begins.
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "arch/hf.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/plural.h"
#include "base/same_file.h"
#include "base/size_text.h"
#include "kernels/isa.h"
#include "train/advice.h"
#include "train/cut_text.h"
#include "train/outputs.h"
#include "train/schedule.h"
#include "train/setup.h"

namespace lora {
namespace {

using Lines = std::vector<std::string>;

// The first names with their counts. `more`: there were others, which were not kept. `format`: of a name and
// its count.
std::string with_counts(const std::map<std::string, int64_t>& counts, bool more, const char* format) {
  constexpr size_t kMost = 12;
  std::string names;
  for (size_t i = 0; const auto& [name, n] : counts) {
    if (i++ < kMost) names += (i > 1 ? ", " : "") + fmt::vformat(format, fmt::make_format_args(name, n));
  }
  return names + and_more(counts.size() - std::min(counts.size(), kMost), more);
}

void append_card(Lines& lines, const char* what, const TavernReport& r) {
  constexpr size_t kMost = 12;
  lines.push_back(fmt::format("{}: system message from {}: {}{}", what, r.card, list_of(r.used, kMost),
                              r.unused.empty() ? "" : "; not used: " + list_of(r.unused, kMost)));
  if (r.n_strange > 0) {
    lines.push_back(fmt::format("{}: the card is of another character than {}, the first: {}", what,
                                count_of(r.n_strange, "chat"), r.first_strange));
  }
}

// What is to be known of SillyTavern's chats. `whose`: "held out: ", or "" for the data that is trained on.
void append_chats(Lines& lines, const char* what, const std::string& whose, const FinetuneOptions& o,
                  const TavernReport& r) {
  if (!r.card.empty()) append_card(lines, what, r);
  if (o.names && r.n_chats == 0)
    lines.push_back(fmt::format("warning: {}--names has no effect: there is no SillyTavern chat", whose));
  if (r.n_groups > 0 && !o.names) {
    lines.push_back(fmt::format(
        "{}: in {} several characters speak, who cannot be told apart without --names; the first: {}", what,
        count_of(r.n_groups, "chat"), r.first_group));
  }
  if (r.n_hidden > 0)
    lines.push_back(
        fmt::format("{}: {} of SillyTavern left out", what, count_of(r.n_hidden, "hidden message")));
  if (!r.left.counts.empty()) {
    lines.push_back(
        fmt::format("warning: {}macros that stay as they are, as nothing says what they stand for: {}", whose,
                    with_counts(r.left.counts, r.left.more, "{{{{{}}}}} ({})")));
  }
}

// How conversations were written down.
void append_conversations(Lines& lines, const char* what, const std::string& whose, const FinetuneOptions& o,
                          const DatasetReport& d) {
  if (d.chat_templates == std::set<std::string>{"alpaca"} && o.chat_template != "auto" &&
      o.chat_template != "alpaca") {
    lines.push_back(
        fmt::format("warning: {}--chat-template has no effect: instructions are written in Alpaca's words "
                    "(--columns question=instruction,answer=output makes conversations of them)",
                    whose));
  }
  if (d.chat_templates.empty()) return;
  lines.push_back(
      fmt::format("{}: conversations are written by {}", what, fmt::join(d.chat_templates, ", ")));
  if (d.n_system_in_user > 0) {
    lines.push_back(fmt::format(
        "{}: the template takes no system message: it stands at the head of the user's next one ({})", what,
        count_of(d.n_system_in_user, "conversation")));
  }
  if (d.n_user_first > 0) {
    lines.push_back(fmt::format(
        "{}: the template refuses a conversation that a reply begins: \"{}\" stands before it as the "
        "user's message ({})",
        what, kNoQuestion, count_of(d.n_user_first, "conversation")));
  }
  if (d.n_rewritten > 0) {
    lines.push_back(fmt::format(
        "{}: the template writes earlier replies otherwise than the last: {} became {}, one for each reply "
        "that differs, with all that came before",
        what, count_of(d.n_rewritten, "conversation"), count_of(d.n_rewritten_texts, "text")));
  }
  if (d.n_split > 0) {
    lines.push_back(fmt::format("{}: {} longer than --ctx became several samples, cut between turns", what,
                                count_of(d.n_split, "chat")));
  }
}

// `what`: "data" or "held out", read from so many files.
void append_samples(Lines& lines, const char* what, const FinetuneOptions& o, const DatasetReport& d,
                    size_t n_files, const Tokenizer& tokenizer) {
  lines.push_back(fmt::format("{}: {}, {}; {} cut at {} tokens ({} lost), {} blank skipped{}", what,
                              count_of(d.n_samples, "sample"), count_of(d.n_tokens, "token"), d.n_cut,
                              o.n_ctx, count_of(d.n_lost, "token"), d.n_blank,
                              d.n_short ? fmt::format(", {} too short skipped", d.n_short) : ""));
  constexpr double kMuch = 0.1;
  const std::string whose = what == std::string_view("data") ? "" : fmt::format("{}: ", what);
  const double lost = double(d.n_lost) / double(std::max<int64_t>(1, d.n_tokens + d.n_lost));
  const CutText cut = cut_text(o, d, whose.empty() ? "--train-data" : "--val-data");
  if (!cut.what.empty())
    lines.push_back(
        fmt::format("warning: {}{}{}", whose, cut.what, o.allow_cut ? " (--allow-cut)" : "; " + cut.ways));
  if (lost > kMuch && cut.what.empty()) {
    lines.push_back(
        fmt::format("warning: {}{:.0f}% of the tokens are cut off; the longest sample has {}, which --ctx "
                    "would have to be, or split long texts and conversations",
                    whose, 100 * lost, d.longest));
  }
  if (d.n_bad > 0) {
    lines.push_back(
        fmt::format("{}: {} skipped, the first: {}", what, count_of(d.n_bad, "bad record"), d.first_bad));
  }
  if (!d.ignored_fields.empty()) {
    lines.push_back(fmt::format("{}: ignored fields, and in how many records: {}", what,
                                with_counts(d.ignored_fields, d.ignored_more, "{} ({})")));
  }
  append_conversations(lines, what, whose, o, d);
  append_chats(lines, what, whose, o, d.tavern);
  if (d.n_consecutive > 0) {
    lines.push_back(fmt::format("{}: {} of up to {} tokens, so one epoch reads the text once (--window)",
                                what, count_of(d.n_consecutive, "consecutive window"),
                                text_options(o).window));
  }
  if ((!o.sample_start.empty() || o.window) && d.n_record_files == int64_t(n_files)) {
    lines.push_back(fmt::format("warning: {}{} cuts texts; each record is a sample of its own already", whose,
                                o.window ? "--window" : "--sample-start"));
  }
  if (!o.columns.empty() && d.n_record_files == 0)
    lines.push_back(fmt::format("warning: {}--columns names fields of records, and there are none", whose));
  if (!d.like_records.empty()) {
    lines.push_back(fmt::format(
        "warning: {} begins with a JSON object but is read as plain text; records are files named .jsonl",
        d.like_records));
  }
  if (d.special_spelling >= 0) {
    lines.push_back(fmt::format(
        "warning: {}the text holds {}, read as plain text (--parse-special reads it as a special token)",
        whose, tokenizer.piece(d.special_spelling)));
  }
  if (!d.not_utf8.empty()) {
    lines.push_back(
        fmt::format("warning: {} is not UTF-8, so its letters beyond English are read as stray bytes; save "
                    "the text as UTF-8",
                    d.not_utf8));
  }
}

// Of a window at every token, but for the last ones: how often an epoch reads each token of the text.
int64_t window_tokens(const FinetuneOptions& o, const DatasetReport& d) {
  return std::min(o.n_ctx, d.n_tokens);
}

double epochs(const Setup& s) {
  return double(s.n_iter) * s.mean_samples() / double(s.n_samples());
}

// How often the run reads each token of the data.
double readings(const Setup& s) {
  const DatasetReport& d = s.data.report();
  return epochs(s) * (d.n_window_files > 0 ? double(window_tokens(s.options, d)) : 1);
}

// How much of the text a run reads is not to be seen from its samples, which overlap.
void describe_readings(Lines& lines, const Setup& s) {
  const DatasetReport& d = s.data.report();
  if (d.n_window_files == 0) return;
  const bool fills = s.batch_options.fill_with_next_samples;
  lines.push_back(fmt::format(
      "data: every token starts a sample: {} of {}{:.{}f} samples of {} tokens read the text {:.1f} times "
      "(--window 0 --epochs 1 reads it once)",
      count_of(s.n_iter, "iteration"), fills ? "about " : "", s.mean_samples(), fills ? 1 : 0,
      window_tokens(s.options, d), readings(s)));
}

void describe_resume(Lines& lines, const Setup& s) {
  if (s.resume.overwrites) return;
  const std::optional<std::string>& named = s.options.checkpoint_in;
  const std::string path = named.value_or(kDefaultCheckpointIn);
  if (!s.resumed) {
    // A run that names its own is meant to begin without it.
    const std::vector<std::string> own = output_paths(s.options, s.options.checkpoint_out, 0);
    const bool is_own = named && !own.empty() && own.back() == *named;
    lines.push_back(fmt::format("{}resume: no file {}, training starts from scratch",
                                named && !is_own ? "warning: " : "", fmt::join(s.resume.looked_for, " or ")));
    return;
  }
  // The one that was found in place of the one that was named, or of the default.
  std::string other;
  if (s.resume.path != path && named) {
    other = fmt::format("; there is no file {}", path);
  } else if (s.resume.path != path && file_exists(path) && !same_file(path, s.resume.path)) {
    other = fmt::format("; {0} is there too: --checkpoint-in {0} goes on from that", path);
  }
  lines.push_back(fmt::format("{}resume: {} at iteration {}{}{}", named && !other.empty() ? "warning: " : "",
                              s.resume.path, s.state.iteration,
                              s.options.force_reshuffle ? ", samples shuffled anew" : "", other));
}

void describe_held_out(Lines& lines, const Setup& s) {
  if (s.held_out.empty()) return;
  const auto n_held_out = int64_t(s.held_out.size());
  if (s.val_data) {
    lines.push_back(fmt::format("held out: {} of --val-data", count_of(n_held_out, "sample")));
    append_samples(lines, "held out", s.options, s.val_data->report(), s.options.val_data.size(),
                   s.tokenizer);
    return;
  }
  const bool windows = s.data.report().n_window_files > 0;
  lines.push_back(fmt::format("held out: {} of these; {} are trained on{}", count_of(n_held_out, "sample"),
                              s.trained.size(),
                              windows ? "; those that reach into both parts of the text are left out" : ""));
}

void describe_model(Lines& lines, const Setup& s) {
  if (s.options.n_ctx > s.model.config.n_ctx_train) {
    lines.push_back(fmt::format("warning: --ctx {} is beyond the {} tokens the model was trained with",
                                s.options.n_ctx, s.model.config.n_ctx_train));
  }
  for (const std::string& note : s.model.config.notes) lines.push_back("warning: " + note);
  const ModelConfig own = read_config(s.model.gguf);
  for (const auto& [flag, used, models] :
       {std::tuple{"--rope-freq-base", s.model.config.rope.freq_base, own.rope.freq_base},
        std::tuple{"--rope-freq-scale", s.model.config.rope.freq_scale, own.rope.freq_scale},
        std::tuple{"--norm-rms-eps", double(s.model.config.norm_eps), double(own.norm_eps)}}) {
    if (used != models)
      lines.push_back(fmt::format("{}: {:.6g} is used, the model's own is {:.6g}", flag, used, models));
  }
  if (s.model.config.norm_eps != own.norm_eps) {
    lines.push_back(
        "warning: --norm-rms-eps: the adapter file does not carry it, so other programs and lora generate "
        "take the model's own; lora export-lora --checkpoint merges it");
  }
}

// Which blocks are trained, where not all are, and what that saves.
void describe_layers(Lines& lines, const Setup& s) {
  const int64_t n_layer = s.model.config.n_layer, n_below = layers_below(s.model, s.model.layers);
  std::set<int64_t> blocks;
  for (const auto& pair : s.parameters.pairs) {
    if (const auto block = block_of(pair.base)) blocks.insert(*block);
  }
  if (int64_t(blocks.size()) == n_layer) return;
  const std::vector<int64_t> list(blocks.begin(), blocks.end());
  const std::string where = list.empty()       ? "no block"
                            : list.size() == 1 ? fmt::format("block {}", list[0])
                                               : fmt::format("blocks {}", layers_text(list));
  const std::string end = n_below < n_layer ? fmt::format("block {}", n_below) : "the output";
  lines.push_back(fmt::format(
      "lora: adapters on {} of 0-{}: the backward pass {}", where, n_layer - 1,
      n_below == 0 ? "goes through all of them"
                   : fmt::format("ends at {}: of {} below, {:.0f}% of all, nothing is kept or computed again",
                                 end, count_of(n_below, "block"), 100 * double(n_below) / double(n_layer))));
}

void describe_lora(Lines& lines, const Setup& s) {
  std::set<int64_t> ranks;
  for (const auto& pair : s.parameters.pairs) ranks.insert(pair.rank);
  lines.push_back(fmt::format("lora: {} tensors, {} parameters, rank {}, alpha {}; seed {}",
                              2 * s.parameters.pairs.size(), s.parameters.n_values(),
                              fmt::join(ranks, " or "), s.parameters.alpha, s.state.seed));
  describe_layers(lines, s);
  Ranks trained;
  for (const auto& pair : s.parameters.pairs) trained[std::string(part_name(pair.base))] = pair.rank;
  std::vector<std::string_view> left = routed_tensors(s.model);
  std::erase_if(left, [&](std::string_view name) { return trained.contains(name); });
  if (!left.empty()) {
    const bool has_down = std::ranges::find(left, "ffn_down_exps") != left.end();
    const std::string_view one = has_down ? "ffn_down_exps" : left.front();
    lines.push_back(
        fmt::format("lora: routers and experts are trained where asked for only; left as they are: "
                    "{} (--rank {}={} trains one)",
                    fmt::join(left, ", "), one, *ranks.rbegin()));
  }
  for (const auto& [name, rank] : trained) {
    if (s.model.tied && (name == "token_embd" || name == "output")) {
      lines.push_back(
          fmt::format("warning: {}: llama.cpp and its relatives apply this part wrongly to models that "
                      "use one matrix as embedding and output, as this one does",
                      rank_flag_of(s.options, name)));
    }
    if (s.model.tied && name == "token_embd" && s.model.config.architecture->hf->always_tied) {
      lines.push_back(fmt::format(
          "warning: {}: nor can lora export-lora merge this part: {} models have no output matrix "
          "of their own, and this one changes nothing of the output",
          rank_flag_of(s.options, name), s.model.config.architecture->name));
    }
    if (!name.ends_with("_norm")) continue;
    lines.push_back(fmt::format(
        "warning: {}: kept in checkpoints only, from which lora export-lora "
        "merges them; the adapter file leaves norms out, since other programs do not apply them{}",
        rank_flag_of(s.options, name),
        rank > 1 ? "; a norm is a vector, so more than rank 1 gains nothing" : ""));
  }
  if (s.parameters.rslora)
    lines.push_back("lora: scale alpha / sqrt(rank), folded into what is stored (--rslora)");
}

void describe_optimizer(Lines& lines, const Setup& s) {
  const FinetuneOptions& o = s.options;
  if (o.optimizer == Optimizer::lbfgs) {
    lines.push_back(
        fmt::format("optimizer: L-BFGS with a memory of {} pairs and a line search on each iteration's own "
                    "samples; the schedule, clipping and decay of Adam do not apply",
                    kLbfgsPairs));
  }
  if (!o.flash) {
    lines.push_back(
        "note: --no-flash changes nothing: attention is always computed in tiles, which is exact and "
        "smaller");
  }
  const bool fills = s.batch_options.fill_with_next_samples;
  const double per_iteration = s.mean_samples();
  lines.push_back(fmt::format(
      "compute: {} kernels, {} inputs, {} threads; {} iterations of {}{:.{}f} samples, {:.2f} epochs",
      name(isa()), name(s.arithmetic), s.pool.size(), s.n_iter, fills ? "about " : "", per_iteration,
      fills ? 1 : 0, epochs(s)));
  for (std::string& note : arithmetic_notes(s.model, o.precision, s.arithmetic))
    lines.push_back(std::move(note));
  if (fills && o.epochs) {
    lines.push_back(
        "note: --epochs counts a row as one sample; with --fill-with-next-samples it holds several, so that "
        "fewer do (--adam-iter)");
  }
}

}  // namespace

std::vector<std::string> describe_samples(const FinetuneOptions& o, const DatasetReport& d,
                                          const Tokenizer& tokenizer) {
  Lines lines;
  append_samples(lines, "data", o, d, o.train_data.size(), tokenizer);
  return lines;
}

std::string describe_windows(const FinetuneOptions& o, const DatasetReport& d) {
  if (d.n_window_files == 0) return "";
  return fmt::format(
      "data: without --sample-start a sample of up to {} tokens begins at every token, so one epoch reads "
      "the text about {} times (with --window 0 once)",
      o.n_ctx, window_tokens(o, d));
}

std::vector<std::string> describe(const Setup& setup) {
  Lines lines;
  describe_resume(lines, setup);
  if (!setup.changed.empty()) lines.push_back(setup.changed);
  if (setup.options.patience > 0 && !setup.options.save_best) {
    lines.push_back(
        "note: --patience without --save-best: the adapter of the last iteration is kept, not the best");
  }
  append_samples(lines, "data", setup.options, setup.data.report(), setup.options.train_data.size(),
                 setup.tokenizer);
  describe_readings(lines, setup);
  describe_held_out(lines, setup);
  describe_model(lines, setup);
  describe_lora(lines, setup);
  describe_optimizer(lines, setup);
  if (setup.state.iteration < setup.n_iter) {
    const RunLength run = {setup.n_iter, setup.n_samples(), readings(setup)};
    for (std::string& line : advice(setup.options, run)) lines.push_back(std::move(line));
  }
  return lines;
}

std::string memory_sentence(int64_t needed, int64_t model, std::optional<uint64_t> free) {
  return fmt::format("needs {} beyond the model's {}, {}", format_size(uint64_t(needed)),
                     format_size(uint64_t(model)),
                     free ? fmt::format("of {} free", format_size(*free))
                          : std::string("of nobody knows how much (--memory SIZE sets a budget)"));
}

std::string describe_memory(const Setup& setup) {
  const std::vector<MemoryPart> all = setup.memory_parts();
  std::string parts;
  for (const MemoryPart& part : all) {
    parts += fmt::format("{}{} {}{}", parts.empty() ? "" : ", ", part.name, format_size(uint64_t(part.bytes)),
                         &part == &all.front() ? " (there already)" : "");
  }
  const std::optional<uint64_t> available = available_memory();
  const bool is_too_much = available && uint64_t(setup.memory_bytes() - all.front().bytes) > *available;
  // The sentence rounds; this is the number by itself, always in one unit.
  const std::string free =
      available ? fmt::format("; {:.1f} MiB are free", double(*available) / (1 << 20)) : "";
  const auto& room = setup.plan.weight_room;
  const std::string weights =
      room ? fmt::format(
                 "; memory holds {} of the weights, the others are read from disk again and again, "
                 "ahead of their use",
                 format_size(*room))
           : "";
  return fmt::format(
      "memory: {}: {}{}{}{}",
      memory_sentence(setup.memory_bytes(), int64_t(weight_bytes(setup.model, setup.plan.part)), available),
      parts, free, weights,
      is_too_much ? "; more is to come than is free, so the system may end the run" : "");
}

}  // namespace lora
