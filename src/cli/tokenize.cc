#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/finetune_flags.h"
#include "cli/help.h"
#include "cli/model_flags.h"
#include "gguf/gguf.h"
#include "gguf/printable.h"
#include "tokenizer/tokenizer.h"

namespace lora::cli {

namespace {

// finetune's flags of the training text, to show samples as they will be trained.
FlagGroup training_data_flags(FinetuneOptions& options) {
  FlagGroup group = sample_flags(options);
  options.train_data.clear();
  group.flags.insert(group.flags.begin(),
                     {now, "--train-data", "FILE", "", "show this text's first samples as they are trained",
                      texts(options.train_data)});
  std::erase_if(group.flags, [](const Flag& flag) { return main_name(flag) == "--parse-special"; });
  for (Flag& flag : group.flags) flag.ready = later;
  return group;
}

std::string as_json(const std::vector<Token>& ids, const std::vector<std::string>& pieces) {
  const nlohmann::ordered_json json = {{"ids", ids}, {"pieces", pieces}};
  // A token may be a part of a UTF-8 character: U+FFFD stands for it.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string as_text(const std::vector<Token>& ids, const std::vector<std::string>& pieces) {
  std::string lines;
  for (size_t i = 0; i < ids.size(); ++i) {
    lines += fmt::format("{}\t'{}'\n", ids[i], printable(pieces[i], pieces[i].size()));
  }
  return lines;
}

}  // namespace

int tokenize_command(const std::vector<std::string>& args) {
  std::string model;
  TextSource source;
  FinetuneOptions training;
  bool json = false, parse_special = false, bos = true;
  const CommandLine line = {
      "tokenize",
      "--model FILE --prompt TEXT [flags]",
      "Token ids and pieces of a text, a line each.",
      {text_flags(source),
       {"Model",
        {{now, "-m,--model", "FILE", "", "model GGUF; one with a vocabulary alone will do",
          non_empty_text(model), true},
         {now, "--parse-special", "", "", "read special tokens spelled in the text", turn(parse_special)},
         {now, "--no-bos", "", "", "no begin-of-sequence token before the text", turn(bos, false)}}},
       {"Output", {{now, "--json", "", "", R"(print {"ids": [...], "pieces": [...]})", turn(json)}}},
       training_data_flags(training)}};
  const Given given = parse_flags(line, args);
  if (given.help) {
    fmt::print("{}", help_page(line));
    return 0;
  }
  const std::string text = read_text(source, given);
  const Gguf gguf = Gguf::open(model);
  const Tokenizer tokenizer(gguf);
  const std::vector<Token> ids =
      bos ? tokenizer.encode_with_bos(text, parse_special) : tokenizer.encode(text, parse_special);
  std::vector<std::string> pieces;
  pieces.reserve(ids.size());
  for (Token id : ids) pieces.push_back(tokenizer.decode(id, true));
  fmt::print("{}", json ? as_json(ids, pieces) : as_text(ids, pieces));
  return 0;
}

}  // namespace lora::cli
