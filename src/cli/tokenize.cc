#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/finetune_flags.h"
#include "cli/help.h"
#include "cli/model_flags.h"
#include "cli/put.h"
#include "cli/show_samples.h"
#include "gguf/gguf.h"
#include "tokenizer/tokenizer.h"
#include "train/run.h"
#include "train/setup.h"

namespace lora::cli {

namespace {

// Prints bit by bit: a line per token takes many times the memory of a long text.
class Printer {
 public:
  explicit Printer(void (*print)(std::string_view)) : print_(print) {}
  void add(std::string_view text) {
    pending_ += text;
    if (pending_.size() > (1 << 16)) flush();
  }
  void flush() {
    print_(pending_);
    pending_.clear();
  }

 private:
  void (*print_)(std::string_view);
  std::string pending_;
};

void print_json_tokens(const Tokenizer& tokenizer, const std::vector<Token>& ids) {
  Printer out(print_json);
  const auto add_list = [&](std::string_view name, const auto& text_of) {
    out.add(fmt::format("\"{}\":[", name));
    for (size_t i = 0; i < ids.size(); ++i) {
      if (i > 0) out.add(",");
      out.add(text_of(ids[i]));
    }
    out.add("]");
  };
  out.add("{");
  add_list("ids", [](Token id) { return std::to_string(id); });
  out.add(",");
  add_list("pieces", [&](Token id) {
    // A token may be a part of a UTF-8 character: U+FFFD stands for it.
    return nlohmann::json(tokenizer.decode(id, true))
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  });
  out.add("}\n");
  out.flush();
}

void print_tokens(const Tokenizer& tokenizer, const std::vector<Token>& ids, bool json) {
  if (json) return print_json_tokens(tokenizer, ids);
  Printer out(print);
  for (const Token id : ids) {
    const std::string piece = tokenizer.decode(id, true);
    out.add(fmt::format("{}\t'{}'\n", id, printable(piece, piece.size())));  // a line each, whatever is in it
  }
  out.flush();
}

void print_samples(const Tokenizer& tokenizer, const Dataset& data, const std::vector<ShownSample>& samples,
                   bool json, bool pieces) {
  if (json) {
    print_json(samples_as_json(data, tokenizer, samples));
    return;
  }
  const Marks marks = stdout_is_terminal() ? kColourMarks : kPlainMarks;
  for (const ShownSample& sample : samples) {
    print_bytes(pieces ? sample_as_pieces(data, tokenizer, sample)
                       : sample_as_text(data, tokenizer, sample, marks));
  }
}

}  // namespace

int tokenize_command(const std::vector<std::string>& args) {
  std::string model;
  TextSource source;
  FinetuneOptions training;
  bool json = false, bos = true, pieces = false;
  int64_t n_samples = 3;
  const Flag no_bos = {"--no-bos", "", "", "no begin-of-sequence token before the text", turn(bos, false)};
  FlagGroup sample_group = sample_text_flags(training);
  sample_group.flags.push_back({"-n,--n-samples", "N", "", "how many are shown", integer(n_samples, 1)});
  sample_group.flags.push_back({"--pieces", "", "",
                                "a line per token: its piece, and the one it is trained to predict",
                                turn(pieces)});
  const CommandLine line = {
      "tokenize",
      "--model FILE (--prompt TEXT | --file FILE | --train-data FILE...) [flags]",
      "Token ids and pieces of a text, a line each. With --train-data the first samples as finetune trains "
      "them; what is trained on is coloured, or stands between {+ and +} where the output is no terminal.",
      {text_flags(source),
       {"Model",
        {{"-m,--model,--model-base", "FILE", "", "model GGUF; one with a vocabulary alone will do",
          non_empty_text(model), true},
         finetune_flag(training, "--parse-special"),
         no_bos}},
       {"Output",
        {{"--json", "", "", R"(print {"ids": [...], "pieces": [...]} or {"samples": [...], ...})",
          turn(json)}}},
       sample_group}};
  const Given given = parse_flags(line, args);
  if (given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  if (wants_samples(given)) {
    refuse_flags({no_bos}, given, "of a text alone; for samples there is --no-separate-with-bos");
    expect_consistent(training);
    training = with_data_files(training, [](std::string_view text) { say(stderr, text); });
    const Tokenizer tokenizer(Gguf::open(model));
    const Dataset data = read_samples(training, tokenizer);
    print_samples(tokenizer, data, first_samples(data, training, n_samples), json, pieces);
    std::vector<std::string> facts = describe_samples(training, data.report(), tokenizer);
    facts.push_back(describe_windows(training, data.report()));
    for (const std::string& text : facts) {
      if (!text.empty()) say(stderr, text);
    }
    return 0;
  }
  refuse_flags(sample_group.flags, given, "only with --train-data");
  const std::string text = read_text(source, given, LineEnds::as_they_are);
  const Tokenizer tokenizer(Gguf::open(model));
  print_tokens(tokenizer,
               bos ? tokenizer.encode_with_bos(text, training.parse_special)
                   : tokenizer.encode(text, training.parse_special),
               json);
  return 0;
}

}  // namespace lora::cli
