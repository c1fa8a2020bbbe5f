#include "convert/quantize.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "base/signals.h"
#include "base/timing.h"
#include "cli/commands.h"
#include "cli/fallback.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/progress.h"
#include "cli/put.h"

namespace lora::cli {

namespace {

constexpr double kMega = 1e6;

// What `read` makes of a value; its Error is that of the flag.
template <class Read>
std::function<void(const std::vector<std::string>&)> reading(const Read& read) {
  return [read](const std::vector<std::string>& v) {
    try {
      read(v.at(0));
    } catch (const Error& e) {
      throw BadValue(e.what());
    }
  };
}

Setting weight_type(std::optional<Type>& target) {
  return {reading([&target](const std::string& name) { target = encodable_type(name); }),
          [&target] { return target ? std::string(traits(*target).name) : ""; }};
}

Setting tensor_types(TensorTypes& target) {
  return {reading([&target](const std::string& text) { target.add(text); }), [] { return std::string(); }, 1,
          true};
}

CommandLine quantize_line(QuantizeOptions& o, bool& verbose) {
  return {
      "quantize",
      "IN OUT TYPE [THREADS] [flags]",
      fmt::format(
          "Stores a model's weights in fewer bits. TYPE is one of {}, in any case: the number is that of "
          "bits, "
          "roughly; of the K types, S M L say how much more the tensors get that suffer most from few bits.",
          fmt::join(mix_names(), " ")),
      {{"Files",
        {{"IN", "IN", "", "model GGUF in F32, F16 or BF16; any part of a split one", non_empty_text(o.in),
          true},
         {"OUT", "OUT", "", "the file to write", non_empty_text(o.out), true},
         {"TYPE", "TYPE", "", "what to make of it", mix(o.mix), true},
         {"-t,--threads,THREADS", "N", "", "threads to compute with",
          integer(o.threads, 1, 4096).or_else("physical cores")}}},
       {"Types",
        {{"--imatrix", "FILE", "", "importance of columns, from `lora imatrix` or llama.cpp",
          non_empty_text(o.imatrix)},
         {"--pure", "", "", "all tensors in the base type, no mix", turn(o.pure)},
         {"--leave-output-tensor", "", "", "output.weight stays as it is", turn(o.leave_output_tensor)},
         {"--output-tensor-type", "T", "",
          "type of output.weight, or of the embedding's table where that does its work",
          weight_type(o.output_tensor_type)},
         {"--token-embedding-type", "T", "", "type of token_embd.weight and per_layer_token_embd.weight",
          weight_type(o.token_embedding_type)},
         {"--tensor-type", "PATTERN=T", "",
          "type of the tensors in whose names this regular expression is found (ffn_down_exps=q6_k); may be "
          "repeated, the first that matches holds",
          tensor_types(o.tensor_types)},
         {"--allow-requantize", "", "", "also of tensors that are quantized already, at a loss",
          turn(o.allow_requantize)}}},
       {"Report",
        {{"--dry-run", "", "", "say what would become of each tensor, write nothing", turn(o.dry_run)},
         {"--verbose", "", "", "every tensor with its size and error", turn(verbose)}}}}};
}

// "blk.0.attn_q.weight  256 x 256  F32 -> Q4_K  0.25 -> 0.04 MB  error 0.0701"
std::string line_of(const QuantizedTensor& t) {
  std::string line = fmt::format("{:<32} {:>14}  {:>4} -> {:<6} {:>9.2f} -> {:>8.2f} MB", printable(t.name),
                                 t.shape, traits(t.from).name, traits(t.to).name,
                                 double(t.bytes_before) / kMega, double(t.bytes_after) / kMega);
  if (t.relative_error) line += fmt::format("  error {:.5f}", *t.relative_error);
  if (!t.why_kept.empty()) line += fmt::format("  stays: {}", t.why_kept);
  if (t.has_importance) line += "  imatrix";
  return line;
}

double bits_per_weight(uint64_t bytes, int64_t n) {
  return n > 0 ? 8 * double(bytes) / double(n) : 0;
}

}  // namespace

int quantize_command(const std::vector<std::string>& args) {
  QuantizeOptions options;
  bool verbose = false;
  const CommandLine line = quantize_line(options, verbose);
  if (const Given given = parse_flags(line, args); given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  options.measure_errors = verbose && !options.dry_run;
  catch_stop_signals();

  const Clock::time_point begin = Clock::now();
  QuantizeResult result;
  Fallbacks fallbacks;
  {
    Progress progress;
    QuantizeEvents events;
    events.say = [&](std::string_view text) { progress.say(text); };
    events.on_tensor = [&](const QuantizedTensor& tensor, uint64_t done, uint64_t total) {
      if (verbose || options.dry_run) progress.say(line_of(tensor));
      if (tensor.to != tensor.wanted) fallbacks.add(tensor.shape, tensor.wanted, tensor.to);
      progress.bytes(done, total);
    };
    events.should_stop = [] { return stop_signal() != 0; };
    result = quantize(options, events);
  }
  if (result.stopped) {
    say(stderr, fmt::format("stopped; {} was not written", options.out));
    return 128 + stop_signal();
  }
  const double s = std::max(1e-9, seconds_since(begin));
  for (const std::string& text : fallbacks.lines()) say(stderr, text);
  say(stderr,
      fmt::format("{:.2f} MB ({:.2f} bits per weight) -> {:.2f} MB ({:.2f} bits per weight), {}",
                  double(result.bytes_before) / kMega, bits_per_weight(result.bytes_before, result.n_weights),
                  double(result.bytes_after) / kMega, bits_per_weight(result.bytes_after, result.n_weights),
                  options.dry_run
                      ? "nothing written"
                      : fmt::format("{:.2f} s, {:.0f} MB/s", s, double(result.bytes_before) / kMega / s)));
  return 0;
}

}  // namespace lora::cli
