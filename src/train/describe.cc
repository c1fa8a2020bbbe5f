// What a run says before it begins.
#include <algorithm>
#include <tuple>

#include "base/machine.h"
#include "kernels/isa.h"
#include "train/setup.h"

namespace lora {
namespace {

using Lines = std::vector<std::string>;

double mib(int64_t bytes) {
  return double(bytes) / (1 << 20);
}

void describe_resume(Lines& lines, const Setup& s) {
  const std::string& path = s.options.checkpoint_in;
  if (path.empty()) return;
  if (s.resumed) {
    lines.push_back(fmt::format("resume: {} at iteration {}{}", path, s.state.iteration,
                                s.options.force_reshuffle ? ", samples shuffled anew" : ""));
  } else {
    const bool named = path != FinetuneOptions{}.checkpoint_in;
    lines.push_back(
        fmt::format("{}resume: no file {}, training starts from scratch", named ? "warning: " : "", path));
  }
}

void describe_held_out(Lines& lines, const Setup& s) {
  if (!s.held_out.empty()) {
    lines.push_back(s.val_data ? fmt::format("held out: {} samples of --val-data", s.held_out.size())
                               : fmt::format("held out: {} samples of these; {} are trained on",
                                             s.held_out.size(), s.trained.size()));
  }
}

void describe_model(Lines& lines, const Setup& s) {
  if (s.options.n_ctx > s.model.config.n_ctx_train) {
    lines.push_back(fmt::format("warning: --ctx {} is beyond the {} tokens the model was trained with",
                                s.options.n_ctx, s.model.config.n_ctx_train));
  }
  const ModelConfig own = read_config(s.model.gguf);
  for (const auto& [flag, used, models] :
       {std::tuple{"--rope-freq-base", s.model.config.rope.freq_base, own.rope.freq_base},
        std::tuple{"--rope-freq-scale", s.model.config.rope.freq_scale, own.rope.freq_scale},
        std::tuple{"--norm-rms-eps", double(s.model.config.rms_norm_eps), double(own.rms_norm_eps)}}) {
    if (used != models)
      lines.push_back(fmt::format("{}: {} is used, the model's own is {}", flag, used, models));
  }
}

void describe_lora(Lines& lines, const Setup& s) {
  lines.push_back(fmt::format("lora: {} tensors, {} parameters, alpha {}; seed {}",
                              2 * s.parameters.pairs.size(), s.parameters.n_values(), s.parameters.alpha,
                              s.state.seed));
  const auto trained = [&](std::string_view flag) {
    return std::ranges::any_of(s.parameters.pairs, [&](const auto& pair) {
      return std::ranges::any_of(targets(),
                                 [&](const Target& t) { return t.flag == flag && is_of(t, pair.base); });
    });
  };
  for (const char* flag : {"tok-embd", "out"}) {
    if (!trained(flag)) continue;
    lines.push_back(
        fmt::format("warning: --rank-{}: llama.cpp and its relatives apply this part wrongly to models that "
                    "use one matrix "
                    "as embedding and output{}",
                    flag, s.model.tied ? "; this one does" : ""));
  }
  const LoraRanks& r = s.options.ranks;
  for (const auto& [flag, rank] : {std::pair{"att-norm", r.att_norm}, std::pair{"ffn-norm", r.ffn_norm},
                                   std::pair{"out-norm", r.out_norm}}) {
    if (rank == 0) continue;
    lines.push_back(fmt::format(
        "warning: --rank-{}: kept in checkpoints only, from which lora export-lora "
        "merges them; the adapter file leaves norms out, since other programs do not apply them{}",
        flag, rank > 1 ? "; a norm is a vector, so more than rank 1 gains nothing" : ""));
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
  } else if (o.warmup > s.n_iter) {
    lines.push_back(fmt::format(
        "warning: --warmup {} is longer than the run of {} iterations, so the learning rate never "
        "reaches --adam-alpha",
        o.warmup, s.n_iter));
  }
  if (!o.flash) {
    lines.push_back(
        "note: --no-flash changes nothing: attention is always computed in tiles, which is exact and "
        "smaller");
  }
  lines.push_back(fmt::format("compute: {} kernels, {} inputs, {} threads; {} iterations of {} samples",
                              name(isa()), s.input == GemmInput::bf16 ? "bf16" : "f32", s.pool.size(),
                              s.n_iter, o.n_batch * o.grad_acc));
}

}  // namespace

std::vector<std::string> describe_samples(const FinetuneOptions& o, const DatasetReport& d,
                                          const Tokenizer& tokenizer) {
  Lines lines;
  lines.push_back(
      fmt::format("data: {} samples, {} tokens; {} cut at {} tokens ({} tokens lost), {} blank skipped{}",
                  d.n_samples, d.n_tokens, d.n_cut, o.n_ctx, d.n_lost, d.n_blank,
                  d.n_short ? fmt::format(", {} too short skipped", d.n_short) : ""));
  if (d.n_bad > 0) {
    lines.push_back(fmt::format("data: {} bad records skipped, the first: {}", d.n_bad, d.first_bad));
  }
  if (d.n_window_files > 0) {
    lines.push_back(fmt::format(
        "data: without --sample-start a sample of up to {} tokens begins at every token, so one epoch "
        "reads the text about {} times",
        o.n_ctx, std::min(o.n_ctx, d.n_tokens)));
  }
  if (d.n_uncut_files > 0 && d.n_uncut_files + d.n_record_files == int64_t(o.train_data.size())) {
    lines.push_back(fmt::format(
        "warning: --sample-start '{}' does not occur in the text, so each file is one sample{}",
        o.sample_start,
        !o.escape && o.sample_start.find('\\') != std::string::npos ? " (--escape reads \\n as a line's end)"
                                                                    : ""));
  }
  if (!o.sample_start.empty() && d.n_record_files == int64_t(o.train_data.size())) {
    lines.push_back("warning: --sample-start cuts texts; each record is a sample of its own already");
  }
  if (d.special_spelling >= 0) {
    lines.push_back(fmt::format(
        "warning: the text holds {}, read as plain text (--parse-special reads it as a special token)",
        tokenizer.piece(d.special_spelling)));
  }
  if (!d.not_utf8.empty()) {
    lines.push_back(
        fmt::format("warning: {} is not UTF-8, so its letters beyond English are read as stray bytes; save "
                    "the text as UTF-8",
                    d.not_utf8));
  }
  return lines;
}

std::vector<std::string> describe(const Setup& setup) {
  Lines lines;
  describe_resume(lines, setup);
  for (std::string& line : describe_samples(setup.options, setup.data.report(), setup.tokenizer))
    lines.push_back(std::move(line));
  describe_held_out(lines, setup);
  describe_model(lines, setup);
  describe_lora(lines, setup);
  describe_optimizer(lines, setup);
  return lines;
}

std::string describe_memory(const Setup& setup) {
  std::string parts;
  for (const MemoryPart& part : setup.memory_parts())
    parts += fmt::format("{}{} {:.1f}", parts.empty() ? "" : ", ", part.name, mib(part.bytes));
  return fmt::format(
      "memory: {:.1f} MiB beyond the model's file ({:.1f} MiB, mapped), {:.1f} MiB are free: {}",
      mib(setup.memory_bytes()), mib(int64_t(setup.model.gguf.file_bytes())),
      mib(int64_t(available_memory())), parts);
}

}  // namespace lora
