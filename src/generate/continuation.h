// The decoding loop: feeds tokens to a model, then samples token after token until something ends the text.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/sampler.h"
#include "model/decoder.h"
#include "tokenizer/tokenizer.h"

namespace lora {

enum class GenerateEnd {
  n_predict,  // as many tokens as asked for
  end_token,  // the model ended its text
  stop,       // a stop string came up
  context,    // the context is full
  stopped,    // should_stop
};

// An open model in the middle of a text: all that went before is in the decoder.
struct DecodingState {
  const Model& model;
  const Tokenizer& tokenizer;
  Decoder& decoder;
  Sampler& sampler;
};

struct ContinueOptions {
  int64_t n_predict = -1;           // tokens; -1: until the model ends or the context is full
  std::vector<std::string> stop{};  // the text ends before the first of these strings
  bool ignore_eos = false;          // end tokens are never sampled
  std::vector<Token> end_tokens{};  // beside the tokenizer's
  bool begins_text = false;         // no text goes before: the first word has no space before it
};

// Any member may be empty.
struct ContinueEvents {
  std::function<void(const std::string& piece)> on_text;  // whole characters, no part of a stop string
  std::function<bool()> should_stop;                      // asked after every kPromptBatch prompt tokens
                                                          // and after each token
};

struct Continuation {
  GenerateEnd end = GenerateEnd::n_predict;
  int64_t prompt_tokens = 0, generated_tokens = 0;  // fed before sampling; sampled, an end token included
  double prompt_s = 0, generate_s = 0;
  std::vector<Token> tokens{};  // those sampled; the decoder has not seen the last one
};

// Feeds the prompt (not empty; it must fit the context) and continues it. Error naming the model file if its
// logits are no numbers.
Continuation continue_text(const DecodingState& state, std::span<const Token> prompt,
                           const ContinueOptions& options, const ContinueEvents& events);

}  // namespace lora
