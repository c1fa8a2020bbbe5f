#include "cli/finetune_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/ascii.h"
#include "base/error.h"
#include "chat/chat_template.h"
#include "train/outputs.h"
#include "train/run.h"
#include "train/schedule.h"

namespace lora::cli {

namespace {

constexpr int64_t kMaxStages = 4096;
constexpr NumberRange kAtLeastZero{.min = 0};
constexpr NumberRange kAboveZero{.min = 0, .above_min = true};
constexpr NumberRange kFraction{.min = 0, .max = 1};
constexpr NumberRange kBelowOne{.min = 0, .max = 1, .below_max = true};

// TENSOR=N,TENSOR=N; a number alone is what other programs call the rank of all.
Setting ranks(FinetuneOptions& o) {
  return {
      [&target = o.ranks, &by_name = o.ranks_by_name, &of_all = o.lora_r](const std::vector<std::string>& v) {
        std::string_view rest = v.at(0);
        if (rest.find('=') == std::string_view::npos) {
          of_all = parse_integer(rest, 0, kMaxLoraRank);
          return;
        }
        std::set<std::string_view> seen;
        for (bool more = true; more;) {
          const size_t comma = rest.find(','), equals = rest.find('=');
          if (equals == 0 || equals >= comma) throw BadValue("expected TENSOR=N,TENSOR=N");
          if (!seen.insert(rest.substr(0, equals)).second)
            throw BadValue(fmt::format("{} is there twice", rest.substr(0, equals)));
          const std::string tensor(rest.substr(0, equals));
          target[tensor] = parse_integer(rest.substr(0, comma).substr(equals + 1), 0, kMaxLoraRank);
          by_name.insert(tensor);
          more = comma != std::string_view::npos;
          if (more) rest.remove_prefix(comma + 1);
        }
      },
      [&target = o.ranks] {
        std::string text;
        for (const auto& [tensor, rank] : target)
          text += fmt::format("{}{}={}", text.empty() ? "" : ",", tensor, rank);
        return text;
      }};
}

// Of one tensor, as the guide's flag says it.
Setting rank(FinetuneOptions& o, const char* flag) {
  const std::string tensor(std::ranges::find(rank_flags(), std::string_view(flag), &RankFlag::flag)->tensor);
  return {[&o, tensor](const std::vector<std::string>& v) {
            o.ranks[tensor] = parse_integer(v.at(0), 0, kMaxLoraRank);
            o.ranks_by_name.erase(tensor);
          },
          [&target = o.ranks, tensor] {
            const auto found = target.find(tensor);
            return found == target.end() ? std::string() : std::to_string(found->second);
          }};
}

Setting columns(Columns& target) {
  return {[&target](const std::vector<std::string>& v) {
            try {
              target = parse_columns(v.at(0));
            } catch (const Error& error) {
              throw BadValue(error.what());
            }
          },
          [&target] { return columns_text(target); }};
}

// Iterations, "5%" of the run's or "auto".
Setting run_share(RunShare& target, int64_t min, NumberRange percent) {
  return {[&target, min, percent](const std::vector<std::string>& v) {
            const std::string& text = v.at(0);
            if (lower_case(text) == "auto") {
              target = RunShare::automatic();
            } else if (text.ends_with('%')) {
              target = RunShare::percent_of_run(parse_number(text.substr(0, text.size() - 1), percent));
            } else if (is_number(text)) {
              target = parse_integer(text, min, kAnyCount);
            } else {
              throw BadValue(
                  fmt::format("expected a number, a part of the run such as 5%, or auto, found '{}'", text));
            }
          },
          [&target] {
            return target.is_automatic ? "auto"
                   : target.percent    ? fmt::format("{}%", *target.percent)
                                       : fmt::format("{}", target.n);
          }};
}

// A count, or "all", which is 0.
Setting kept(int64_t& target) {
  return {[&target](const std::vector<std::string>& v) {
            target = lower_case(v.at(0)) == "all" ? 0 : parse_integer(v[0], 0, kAnyCount);
          },
          [&target] { return target == 0 ? "all" : fmt::format("{}", target); }};
}

Setting schedule_kind(Schedule& target) {
  return {[&target](const std::vector<std::string>& v) {
            for (const Schedule known : {Schedule::cosine, Schedule::linear, Schedule::constant}) {
              if (lower_case(v.at(0)) != name(known)) continue;
              target = known;
              return;
            }
            throw BadValue(fmt::format("expected cosine, linear or constant, found '{}'", v[0]));
          },
          [&target] { return std::string(name(target)); }};
}

Setting layers(LayerChoice& target) {
  return {[&target](const std::vector<std::string>& v) {
            try {
              target = parse_layers(lower_case(v.at(0)));
            } catch (const Error& error) {
              throw BadValue(error.what());
            }
          },
          [&target] { return to_text(target); }};
}

FlagGroup file_flags(FinetuneOptions& o) {
  return {
      "Files",
      {
          {"-m,--model-base,--model", "FILE", "", "base model GGUF, any supported tensor type",
           non_empty_text(o.model_base), kRequired, kMain},
          {"--train-data", "FILE...", "",
           "text, or records (.jsonl, .json, .csv) to train on: files, and folders of them; may be repeated",
           files(o.train_data), kOptional, kMain},
          {"--checkpoint-in", "FILE", "",
           "checkpoint to resume from; without the flag, or where FILE is missing, the latest of "
           "--checkpoint-out; "
           "'': begin anew, over what is there",
           text(o.checkpoint_in).or_else(kDefaultCheckpointIn), kOptional, kMain},
          {"--checkpoint-out", "FILE", "", "checkpoints to write; '': none", text(o.checkpoint_out)},
          {"--lora-out", "FILE", "", "adapter to write; '': none", text(o.lora_out), kOptional, kMain},
          {"--pattern-fn-it", "STR", "", "stands for the iteration number in output names",
           non_empty_text(o.pattern_fn_it)},
          {"--fn-latest", "STR", "", "what it becomes in the name of the latest output",
           non_empty_text(o.fn_latest)},
          {"--save-every", "N", "iterations", "between two saves; 0 or less: save at the end only",
           integer(o.save_every, -kAnyCount)},
          {"--keep", "N", "",
           "numbered checkpoints and adapters that stay, the last N of each; older ones are removed once the "
           "newer are whole; all or 0: every one",
           kept(o.keep)},
          {"--save-best", "", "", "keep the adapter with the lowest held-out loss too, as ...-BEST...",
           turn(o.save_best), kOptional, kMain},
          {"--best-out", "FILE", "", "the file of --save-best",
           text(o.best_out).or_else("--lora-out with BEST in it")},
          {"--only-write-lora", "", "", "write the adapter of the checkpoint and train nothing",
           turn(o.only_write_lora)},
          {"--lora-init", "FILE", "", "start from this adapter; rank and alpha come from it",
           text(o.lora_init)},
          {"--metrics", "FILE", "",
           "write one JSON object per iteration, - to standard output; a file of another run is kept unless "
           "--checkpoint-in '' is given",
           text(o.metrics)},
      },
  };
}

FlagGroup performance_flags(FinetuneOptions& o) {
  return {
      "Performance",
      {
          {"-t,--threads", "N", "", "threads to compute with",
           integer(o.threads, 1, kMaxThreads).or_else("physical cores"), kOptional, kMain},
          {"--use-checkpointing", "", "",
           "compute activations again in the backward pass; with neither flag, as much is kept as memory "
           "allows",
           choose(o.checkpointing, Checkpointing::on)},
          {"--no-checkpointing", "", "", "keep all activations", choose(o.checkpointing, Checkpointing::off)},
          {"--use-flash", "", "", "attention in tiles", turn(o.flash)},
          {"--no-flash", "", "", "accepted; attention is in tiles all the same, with the same result",
           turn(o.flash, false)},
          {"--precision", "P", "",
           "of matrix multiplications: f32, bf16, int8 (of quantized weights; what else there is in the "
           "faster of bf16 and f32), or auto (the fastest here that loses no more than bf16)",
           precision(o.precision, true)},
          {"--memory", "SIZE", "", "budget beyond the mapped model: auto, or e.g. 2GiB, 500MB, 1073741824",
           size(o.memory)},
          {"--pipeline", "N", "",
           "under mpirun, N processes in a row compute the model together, each some of its layers: for "
           "models "
           "that no machine holds",
           integer(o.pipeline, 1, kMaxStages)},
          {"--allow-mixed", "", "",
           "under mpirun, machines may have different kernel sets; the adapter's bytes, of `lora eval` the "
           "last digits, then depend on who computes what",
           turn(o.allow_mixed)},
      },
  };
}

FlagGroup adapter_flags(FinetuneOptions& o) {
  return {
      "LoRA",
      {
          {"-c,--ctx", "N", "tokens", "length of a sample at most", integer(o.n_ctx, 1), kOptional, kMain},
          {"-b,--batch", "N", "samples", "how many are computed together", integer(o.n_batch, 1), kOptional,
           kMain},
          {"--grad-acc", "N", "", "batches whose gradients are summed up for one iteration",
           integer(o.grad_acc, 1)},
          {"--lora-r", "N", "", "rank; 0: of those tensors alone that have one by name",
           integer(o.lora_r, 0, kMaxLoraRank).or_else(fmt::format("{}", kDefaultLoraR)), kOptional, kMain},
          {"--lora-alpha", "F", "", "scale of the adapter = alpha / rank",
           number(o.lora_alpha, kAboveZero).or_else(fmt::format("{}", kDefaultLoraAlpha)), kOptional, kMain},
          {"--rank", "TENSOR=N,...", "",
           "rank by name of tensor, as lora inspect lists them (attn_q, attn_qkv, ffn_up); 0: none; N alone "
           "is "
           "--lora-r; the flags below are other spellings",
           ranks(o).or_else("--lora-r for every linear layer of a block, but 0 for routers and experts")},
          {"--rank-wq", "N", "", "rank of the query tensors; 0: none", rank(o, "wq").or_else("--lora-r")},
          {"--rank-wk", "N", "", "rank of the key tensors; 0: none", rank(o, "wk").or_else("--lora-r")},
          {"--rank-wv", "N", "", "rank of the value tensors; 0: none", rank(o, "wv").or_else("--lora-r")},
          {"--rank-wo", "N", "", "rank of the attention output tensors; 0: none",
           rank(o, "wo").or_else("--lora-r")},
          {"--rank-w1", "N", "", "rank of the feed-forward gate tensors; 0: none",
           rank(o, "w1").or_else("--lora-r")},
          {"--rank-w2", "N", "", "rank of the feed-forward down tensors; 0: none",
           rank(o, "w2").or_else("--lora-r")},
          {"--rank-w3", "N", "", "rank of the feed-forward up tensors; 0: none",
           rank(o, "w3").or_else("--lora-r")},
          {"--rank-tok-embd", "N", "", "rank of the token embedding; 0: none",
           rank(o, "tok-embd").or_else("0")},
          {"--rank-out", "N", "", "rank of the output tensor; 0: none", rank(o, "out").or_else("0")},
          {"--rank-att-norm", "N", "", "rank of the attention norms, kept in checkpoints only; 0: none",
           rank(o, "att-norm").or_else("0")},
          {"--rank-ffn-norm", "N", "", "rank of the feed-forward norms, kept in checkpoints only; 0: none",
           rank(o, "ffn-norm").or_else("0")},
          {"--rank-out-norm", "N", "", "rank of the output norm, kept in checkpoints only; 0: none",
           rank(o, "out-norm").or_else("0")},
          {"--layers", "WHICH", "",
           "blocks that get adapters: all, a number N for the last N, or a list as 0,3,10-15 (5-5 is one "
           "block); below the lowest there is no backward pass, which saves time and memory",
           layers(o.layers)},
          {"--lora-dropout", "P", "", "probability of dropping an input of the adapter, in training",
           number(o.lora_dropout, kBelowOne)},
          {"--neftune", "A", "",
           "NEFTune: uniform noise of A / sqrt(tokens x width) on embeddings, in training; 5 is usual; 0: "
           "none",
           number(o.neftune, kAtLeastZero)},
          {"--rslora", "", "", "scale = alpha / sqrt(rank), folded into what is stored", turn(o.rslora)},
          {"--rope-freq-base", "F", "", "base of the rotary frequencies",
           number(o.rope_freq_base, kAboveZero).or_else("the model's")},
          {"--rope-freq-scale", "F", "", "factor on the rotary frequencies",
           number(o.rope_freq_scale, kAboveZero).or_else("the model's")},
          {"--norm-rms-eps", "F", "", "epsilon of RMSNorm",
           number(o.norm_rms_eps, kAboveZero).or_else("the model's")},
      },
  };
}

FlagGroup optimizer_flags(FinetuneOptions& o) {
  return {
      "Optimizer",
      {
          {"--use-adam", "", "", "AdamW", choose(o.optimizer, Optimizer::adam)},
          {"--use-lbfgs", "", "",
           "L-BFGS with a line search on each iteration's samples; what follows on Adam does not apply",
           choose(o.optimizer, Optimizer::lbfgs)},
          {"--adam-iter", "N", "", "the iteration at which the run ends, those before a resume included",
           integer(o.adam_iter, 1), kOptional, kMain},
          {"--lbfgs-iter", "N", "", "the same for L-BFGS", integer(o.lbfgs_iter, 1)},
          {"--epochs", "F", "", "passes over the samples, in place of --adam-iter or --lbfgs-iter",
           number(o.epochs, kAboveZero), kOptional, kMain},
          {"--adam-alpha", "F", "", "learning rate", number(o.adam_alpha, kAtLeastZero), kOptional, kMain},
          {"--adam-min-alpha", "F", "", "floor of the learning rate", number(o.adam_min_alpha, kAtLeastZero)},
          {"--warmup", "N", "iterations",
           "the learning rate rises for so long; 5%: of the run; auto: a twentieth of it",
           run_share(o.warmup, 0, {.min = 0, .max = 100}), kOptional, kMain},
          {"--schedule", "KIND", "", "then falls along a cosine, in a line (linear), or stays (constant)",
           schedule_kind(o.schedule)},
          {"--cos-decay-steps", "N", "iterations", "falls for so long; 50%: of the run; auto: to its end",
           run_share(o.cos_decay_steps, 1, {.min = 0, .max = 10000, .above_min = true}), kOptional, kMain},
          {"--cos-decay-min", "F", "", "to this part of it", number(o.cos_decay_min, kFraction)},
          {"--enable-restart", "", "", "decay anew when it has ended (a value after it is ignored)",
           ignoring_value(turn(o.restart))},
          {"--disable-restart", "", "", "stay at its end (a value after it is ignored)",
           ignoring_value(turn(o.restart, false))},
          {"--cos-decay-restart", "F", "", "each decay is longer than the one before by this factor",
           number(o.cos_decay_restart, {.min = 1})},
          {"--adam-decay", "F", "", "weight decay (AdamW), scaled by the learning rate",
           number(o.adam_decay)},
          {"--adam-decay-min-ndim", "N", "", "dimensions that a tensor must have to be decayed",
           integer(o.adam_decay_min_ndim, 0)},
          {"--adam-beta1", "F", "", "decay of the mean of gradients", number(o.adam_beta1, kBelowOne)},
          {"--adam-beta2", "F", "", "decay of the mean of squared gradients",
           number(o.adam_beta2, kBelowOne)},
          {"--adam-eps", "F", "", "added to the root of that mean", number(o.adam_eps, kAboveZero)},
          {"--lora-plus", "F", "",
           "LoRA+: the learning rate of B over that of A, 16 in its paper; 1: one for both",
           number(o.lora_plus, kAboveZero)},
          {"--adam-gclip", "F", "", "limit on the norm of the gradient; 0: none",
           number(o.adam_gclip, kAtLeastZero)},
          {"--adam-epsf", "F", "",
           "stop when the loss of training changes by a smaller part from one iteration to the next; "
           "0: never",
           number(o.adam_epsf)},
          {"--opt-past", "N", "iterations", "how far --opt-delta looks back; 0: no such test",
           integer(o.opt_past, -kAnyCount)},
          {"--opt-delta", "F", "",
           "stop when the loss of training changes by a smaller part in so many; 0: never",
           number(o.opt_delta)},
          {"--opt-max-no-improvement", "N", "iterations",
           "stop after so long without a new lowest loss of training (--patience: of held-out data); "
           "0: never",
           integer(o.opt_max_no_improvement, -kAnyCount)},
          {"-s,--seed", "N", "", "one seed, one result; -1: random, or the resumed checkpoint's",
           integer(o.seed, -1, std::numeric_limits<int64_t>::max())},
      },
  };
}

FlagGroup evaluation_flags(FinetuneOptions& o) {
  return {
      "Held-out evaluation",
      {
          {"--val-data", "FILE...", "", "text that is not trained on: files and folders; may be repeated",
           files(o.val_data)},
          {"--val-split", "F", "", "part of the samples that is held out, drawn with the seed",
           number(o.val_split, kBelowOne), kOptional, kMain},
          {"--eval-every", "N", "iterations", "between two evaluations; 0: at the end only",
           integer(o.eval_every, 0), kOptional, kMain},
          {"--patience", "N", "evaluations",
           "stop after so many without a new lowest held-out loss; 0: never", integer(o.patience, 0),
           kOptional, kMain},
          {"--sample-prompt", "TEXT", "", "continue it at every evaluation; '': how a held-out sample begins",
           text(o.sample_prompt)},
      },
  };
}

}  // namespace

FlagGroup sample_flags(FinetuneOptions& o) {
  return {
      "Samples",
      {
          {"--sample-start", "STR", "", "samples begin after each occurrence; '': at every token",
           text(o.sample_start).or_else("''"), kOptional, kMain},
          {"--window", "N", "tokens",
           "in place of --sample-start: consecutive samples of N tokens, so that an epoch reads the text "
           "once; "
           "0: as long as --ctx",
           integer(o.window, 0), kOptional, kMain},
          {"--allow-cut", "", "",
           "a --sample-start that does not occur, or most of a text cut off at --ctx, is no error",
           turn(o.allow_cut)},
          {"--escape", "", "", R"(read \n \r \t \' \" \\ in --sample-start)", turn(o.escape)},
          {"--include-sample-start", "", "", "the pattern is part of the sample",
           turn(o.include_sample_start)},
          {"--overlapping-samples", "", "", "a sample runs on past the next start, up to --ctx",
           turn(o.overlapping_samples)},
          {"--fill-with-next-samples", "", "", "a short sample is followed by the next ones, each on its own",
           turn(o.fill_with_next_samples)},
          {"--plain-fill", "", "", "... which attend to each other, as in 2023", turn(o.plain_fill)},
          {"--separate-with-eos", "", "", "end-of-sequence token after each sample",
           turn(o.separate_with_eos)},
          {"--no-separate-with-eos", "", "", "no end-of-sequence token", turn(o.separate_with_eos, false)},
          {"--separate-with-bos", "", "",
           "begin-of-sequence token before each sample, where the model uses it", turn(o.separate_with_bos)},
          {"--no-separate-with-bos", "", "", "no begin-of-sequence token", turn(o.separate_with_bos, false)},
          {"--force-reshuffle", "", "", "shuffle anew on resume", turn(o.force_reshuffle)},
          {"--no-shuffle", "", "", "samples in file order, every epoch", turn(o.shuffle, false)},
          {"--parse-special", "", "", "read special tokens spelled in the text", turn(o.parse_special)},
          {"--train-on", "WHAT", "", "of a record: completion (the answers alone) or all",
           either(o.train_on_all, "completion", "all")},
          {"--chat-template", "NAME", "",
           "what writes conversations: auto (the model's own template), FILE.jinja, or a built-in one: " +
               built_in_template_names(),
           non_empty_text(o.chat_template)},
          {"--date", "DATE", "", "YYYY-MM-DD, for templates that write it", date(o.date)},
          {"--columns", "NAME=COLUMN,...", "",
           "what fields of records are called in the data: prompt=question,completion=answer",
           columns(o.columns)},
          {"--skip-bad-records", "", "", "leave out and count records that would be an error",
           turn(o.skip_bad_records)},
          {"--names", "", "", "of SillyTavern's chats: the speaker's name before each message",
           turn(o.names)},
          {"--card", "FILE", "", "character card (.json or .png): the system message of SillyTavern's chats",
           text(o.card)},
          {"--overlap-turns", "N", "turns",
           "of a chat of SillyTavern or ChatGPT that is longer than --ctx, each further sample begins with "
           "so "
           "many earlier ones",
           integer(o.overlap_turns, 0)},
      },
  };
}

FlagGroup finetune_flags(FinetuneOptions& o, std::string title, const std::vector<std::string>& names) {
  FlagGroup result{std::move(title), {}};
  for (const FlagGroup& group : finetune_flags(o)) {
    for (const Flag& flag : group.flags) {
      if (std::ranges::find(names, main_name(flag)) != names.end()) result.flags.push_back(flag);
    }
  }
  return result;
}

std::vector<FlagGroup> finetune_flags(FinetuneOptions& o) {
  return {file_flags(o),    sample_flags(o),    performance_flags(o),
          adapter_flags(o), optimizer_flags(o), evaluation_flags(o)};
}

void choose_run_length(FinetuneOptions& options, const Given& given) {
  const Source epochs = given.source("--epochs");
  for (const char* name : {"--adam-iter", "--lbfgs-iter"}) {
    const Source iterations = given.source(name);
    if (epochs == Source::nowhere || iterations == Source::nowhere) continue;
    if (epochs == iterations) throw UsageError(fmt::format("--epochs: not together with {}", name));
    if (iterations == Source::command_line) options.epochs.reset();
  }
}

void expect_consistent(const FinetuneOptions& options) {
  try {
    check_options(options);
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
}

std::vector<std::string> idle_flags(const FinetuneOptions& options, const Given& given) {
  const bool lbfgs = options.optimizer == Optimizer::lbfgs;
  const bool is_numbered =
      has_number(options, options.checkpoint_out) || has_number(options, options.lora_out);
  const bool is_constant = options.schedule == Schedule::constant;
  struct Idle {
    const char *flag, *why;
    bool is_idle;
  };
  std::vector<std::string> warnings;
  for (const Idle& row : {Idle{"--adam-iter", "--use-lbfgs runs for --lbfgs-iter", lbfgs},
                          Idle{"--lbfgs-iter", "only with --use-lbfgs", !lbfgs},
                          Idle{"--opt-delta", "only with --opt-past", options.opt_past <= 0},
                          Idle{"--keep", "no output has --pattern-fn-it in its name", !is_numbered},
                          Idle{"--cos-decay-steps", "--schedule constant does not fall", is_constant},
                          Idle{"--cos-decay-min", "--schedule constant does not fall", is_constant},
                          Idle{"--enable-restart", "--schedule constant does not fall", is_constant}}) {
    if (row.is_idle && given.source(row.flag) == Source::command_line)
      warnings.push_back(fmt::format("warning: {} has no effect: {}", row.flag, row.why));
  }
  return warnings;
}

}  // namespace lora::cli
