#include "generate/generate.h"

#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "base/line_input.h"
#include "base/signals.h"
#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/model_flags.h"
#include "cli/put.h"
#include "generate/chat.h"

namespace lora::cli {

namespace {

FlagGroup sampling_flags(GenerateOptions& o) {
  SamplerOptions& s = o.sampler;
  constexpr NumberRange at_least_zero{.min = 0};
  constexpr NumberRange fraction{.min = 0, .max = 1};
  constexpr NumberRange above_zero{.min = 0, .above_min = true};
  return {
      "Generation",
      {
          {"-n,--n-predict", "N", "tokens",
           "length of the continuation; -1: until the model ends it or the context is full",
           integer(o.n_predict, -1)},
          {"--temp", "F", "", "temperature; 0: always the likeliest token", number(s.temp, at_least_zero)},
          {"--top-k", "N", "", "sample from so many of the likeliest tokens; 0: all", integer(s.top_k, 0)},
          {"--top-p", "F", "", "sample from the likeliest tokens that have this probability together",
           number(s.top_p, fraction)},
          {"--min-p", "F", "", "sample from tokens with at least this part of the highest probability",
           number(s.min_p, fraction)},
          {"--repeat-penalty", "F", "", "against the last 64 tokens; 1: none",
           number(s.repeat_penalty, above_zero)},
          {"-s,--seed", "N", "", "one seed, one text; -1: random",
           integer(o.seed, -1, std::numeric_limits<int64_t>::max())},
          {"--stop", "TEXT", "", "end before this text; may be repeated", texts(o.stop)},
          {"--ignore-eos", "", "", "go on where the model would end the text", turn(o.ignore_eos)},
          {"--no-echo", "", "", "print the continuation alone", turn(o.echo, false)},
          {"--cache-type", "T", "",
           "of keys and values: f32, f16 (half the memory) or q8_0 (a quarter); both may change texts",
           cache_type(o.cache_type)},
      },
  };
}

FlagGroup chat_flag(bool& chat) {
  return {
      "Conversation",
      {
          {"--chat", "", "", "converse: each line of standard input is a message, --prompt the first one",
           turn(chat)},
      },
  };
}

// They would change nothing of a text that is continued as it stands.
std::vector<Flag> flags_of_chats(GenerateOptions& o) {
  return {
      {"--chat-template", "NAME", "",
       "what writes the conversation: auto (the model's own template), FILE.jinja, or a built-in one: " +
           built_in_template_names(),
       non_empty_text(o.chat_template)},
      {"--system", "TEXT", "", "the conversation's system message", text(o.system)},
      {"--think", "", "", "the template's enable_thinking is true",
       choose(o.enable_thinking, std::optional(true))},
      {"--no-think", "", "", "... false: the model is to answer at once",
       choose(o.enable_thinking, std::optional(false))},
      {"--date", "DATE", "", "YYYY-MM-DD, for templates that write it", date(o.date)},
  };
}

const char* describe(GenerateEnd end) {
  switch (end) {
    case GenerateEnd::n_predict:
      return "as many tokens as asked for";
    case GenerateEnd::end_token:
      return "the model ended the text";
    case GenerateEnd::stop:
      return "a stop text came up";
    case GenerateEnd::context:
      return "the context is full";
    case GenerateEnd::stopped:
      return "stopped by a signal";
  }
  return "";
}

// The text as it comes: its own bytes for programs, while a terminal is shown what would steer it.
void write_text(std::string_view piece) {
  if (stdout_is_terminal()) {
    print(piece);
  } else {
    print_bytes(piece);
  }
  if (std::fflush(stdout) != 0) fail("standard output: cannot be written");
}

bool is_stopped() {
  return stop_signal() != 0;
}

int report_generated(const GenerateResult& result, const char* end) {
  say(stderr,
      fmt::format(
          "prompt: {} tokens, {:.1f} tokens/s; generated: {} tokens, {:.1f} tokens/s; seed {}; ended: {}",
          result.prompt_tokens, result.prompt_tok_per_s, result.generated_tokens, result.generate_tok_per_s,
          result.seed, end));
  return result.end == GenerateEnd::stopped && is_stopped() ? 128 + stop_signal() : 0;
}

// Answers `first`, if there is one, then each line of standard input that is not blank.
int converse(const GenerateOptions& options, std::optional<std::string> first,
             const std::function<void(std::string_view)>& say) {
  Chat chat(options, say);
  LineInput input;
  const bool is_typed = stdin_is_terminal();
  std::optional<std::string> message = std::move(first);
  GenerateEnd end = GenerateEnd::end_token;
  while (!is_stopped() && end != GenerateEnd::context) {
    if (!message) {
      if (is_typed) put(stderr, "> ");
      message = input.next(is_stopped);
      if (!message) break;
    }
    if (message->find_first_not_of(" \t\r") != message->npos) {
      bool has_text = false;
      const auto on_text = [&](const std::string& piece) {
        has_text = true;
        write_text(piece);
      };
      end = chat.reply(*message, {on_text, is_stopped});
      if (has_text || end != GenerateEnd::context) write_text("\n");
    }
    message.reset();
  }
  if (stderr_is_terminal()) put(stderr, "\n");
  GenerateResult total = chat.total();
  if (is_stopped()) total.end = GenerateEnd::stopped;  // while it waited for a line, too
  const bool is_cut = total.end == GenerateEnd::stopped || total.end == GenerateEnd::context;
  return report_generated(total, is_cut ? describe(total.end) : "end of the input");
}

}  // namespace

int generate_command(const std::vector<std::string>& args) {
  GenerateOptions options;
  TextSource source;
  bool chat = false;
  const std::string default_ctx = fmt::format("the model's training context, {} at most", kMaxDefaultContext);
  const std::vector<Flag> of_chats = flags_of_chats(options);
  FlagGroup conversation = chat_flag(chat);
  conversation.flags.insert(conversation.flags.end(), of_chats.begin(), of_chats.end());
  const CommandLine line = {"generate",
                            "--model FILE --prompt TEXT [--lora FILE]... [flags]",
                            "Continues a prompt. stdout gets the prompt and its continuation, nothing else; "
                            "with --chat the replies. "
                            "Of a prompt file's end one line feed is dropped.",
                            {text_flags(source), model_flags(options, options.n_ctx, 1, default_ctx),
                             sampling_flags(options), conversation}};
  const Given given = parse_flags(line, args);
  if (given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  const bool has_text =
      given.source("--prompt") != Source::nowhere || given.source("--file") != Source::nowhere;
  if (has_text || !chat) options.prompt = read_text(source, given, LineEnds::unix);
  // Editors end files with a line feed that is no part of the prompt; llama.cpp drops it, too.
  const bool from_file = given.source("--file") > given.source("--prompt");
  if (from_file && options.prompt.ends_with('\n')) options.prompt.pop_back();
  if (!chat) refuse_flags(of_chats, given, "only with --chat");
  catch_stop_signals();

  const auto say_line = [](std::string_view text) { say(stderr, text); };
  if (chat) return converse(options, has_text ? std::optional(options.prompt) : std::nullopt, say_line);
  bool ends_line = true;
  const auto on_text = [&](std::string_view piece) {
    if (!piece.empty()) ends_line = piece.ends_with('\n');
    write_text(piece);
  };
  const GenerateResult result = generate(options, {say_line, on_text, is_stopped});
  // The text's last line may have no end.
  if (stderr_is_terminal() || (stderr_is_stdout() && !ends_line)) put(stderr, "\n");
  return report_generated(result, describe(result.end));
}

}  // namespace lora::cli
