// Text files and tokenizers for the tests of this folder.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "data/samples.h"
#include "gguf/gguf.h"
#include "gguf/test_files.h"

namespace lora {

using test::ScratchFile;

// The bundled model's: SentencePiece-style, BOS 1, EOS 2.
inline const Tokenizer& tiny_tokenizer() {
  static const Tokenizer tokenizer(Gguf::open(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf"));
  return tokenizer;
}

// A byte-level vocabulary of the letters a to z, space ("Ġ") and line end ("Ċ"), ids in this order, without
// BOS; with_eos adds "<end>" as id 28.
inline Tokenizer letters_tokenizer(bool with_eos) {
  std::vector<std::string> pieces;
  for (char c = 'a'; c <= 'z'; ++c) pieces.emplace_back(1, c);
  pieces.insert(pieces.end(), {"Ġ", "Ċ"});
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.set_string("tokenizer.ggml.model", "gpt2");
  writer.set_string("tokenizer.ggml.pre", "gpt-2");
  writer.set_bool("tokenizer.ggml.add_bos_token", false);
  std::vector<int64_t> kinds(pieces.size(), int64_t(TokenKind::normal));
  if (with_eos) {
    pieces.push_back("<end>");
    kinds.push_back(int64_t(TokenKind::control));
    writer.set_u32("tokenizer.ggml.eos_token_id", uint32_t(pieces.size() - 1));
  }
  writer.set("tokenizer.ggml.token_type", {GgufValueType::array, GgufValueType::i32, kinds});
  writer.set_strings("tokenizer.ggml.tokens", pieces);
  writer.set_strings("tokenizer.ggml.merges", std::vector<std::string>{});
  const ScratchFile file("letters.gguf");
  writer.write(file.path);
  return Tokenizer(Gguf::open(file.path));
}

using Tokens = std::vector<Token>;
using InputsTargets = std::pair<Tokens, Tokens>;

inline std::vector<InputsTargets> all_samples(const Dataset& dataset) {
  std::vector<InputsTargets> result(static_cast<size_t>(dataset.n_samples()));
  for (size_t i = 0; i < result.size(); ++i) dataset.sample(int64_t(i), result[i].first, result[i].second);
  return result;
}

// The dataset of one file with this text.
inline Dataset dataset_of(const std::string& text, const Tokenizer& tokenizer, const TextOptions& options,
                          int n_threads = 1) {
  const ScratchFile file("text.txt", text);
  ThreadPool pool(n_threads);
  return Dataset({file.path}, tokenizer, options, pool);
}

// The sample's text (the tokenizer puts a space before a text and after an end); what is trained on stands
// between {+ and +}.
inline std::string marked(const Dataset& data, int64_t i = 0) {
  Tokens inputs, targets;
  data.sample(i, inputs, targets);
  std::string text;
  bool is_trained = false;
  for (size_t k = 0; k < targets.size(); ++k) {
    if ((targets[k] != kIgnore) != is_trained) text += is_trained ? "+}" : "{+";
    is_trained = targets[k] != kIgnore;
    const Token token = is_trained ? targets[k] : k + 1 < inputs.size() ? inputs[k + 1] : kIgnore;
    if (token >= 0) text += tiny_tokenizer().decode(token, true);
  }
  return text + (is_trained ? "+}" : "");
}

}  // namespace lora
