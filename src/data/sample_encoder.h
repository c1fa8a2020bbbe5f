// Texts and records to the tokens of samples, on one thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/training_text.h"
#include "data/record.h"
#include "data/sample_options.h"
#include "tokenizer/tokenizer.h"

namespace lora {

// A token that is not trained on is kept as its complement, which is negative.
inline Token stored_untrained(Token id) {
  return ~id;
}
inline Token id_of(Token stored) {
  return stored < 0 ? ~stored : stored;
}
inline Token target_of(Token stored) {
  return stored < 0 ? kIgnore : stored;
}

struct EncodedSamples {
  std::vector<Token> tokens;           // of all samples, cut to the context, EOS included, as they are stored
  std::vector<int64_t> sample_tokens;  // how many each sample has of them
  DatasetReport report;                // what was skipped or cut
};

class SampleEncoder {
 public:
  // Keeps references. `bos` and `eos` go around samples, -1: none.
  SampleEncoder(const Tokenizer& tokenizer, const TextOptions& options, Token bos, Token eos);

  void add_text(EncodedSamples& out, std::string_view text);
  // A sample that begins with the text and runs on in it until the context is full; its own text, before the
  // next one starts, is n_own bytes.
  void add_start_of(EncodedSamples& out, std::string_view text, size_t n_own);
  // The tokens of a text, which may be changed.
  void add_tokens(EncodedSamples& out, std::vector<Token>& tokens);
  // To be called before the first conversation. Throws Error "PATH: WHY" if its template is not known.
  void choose_template(std::string_view path);
  // Throws Error without the file's name if there is nothing to train on, or the template refuses it.
  void add_record(EncodedSamples& out, const Record& record);

 private:
  // A part of a text, special tokens within special_in of it, from its begin.
  struct Piece {
    std::string_view text;
    bool is_trained;
    std::vector<TextRange> special_in;
  };
  void find_special(EncodedSamples& out, std::string_view text) const;
  void drop_bos();
  void append_pieces(const std::vector<Piece>& pieces);
  void append(const TrainingText& written);
  void add_texts(EncodedSamples& out, const Record& record);
  void add_conversation(EncodedSamples& out, const Conversation& conversation, const ChatTemplate& chat);
  void add_in_parts(EncodedSamples& out, const Conversation& conversation, const ChatTemplate& chat);
  int64_t n_tokens(const Conversation& conversation, const ChatTemplate& chat);
  TrainingTextOptions training_options() const { return {options_.train_on_all, options_.parse_special}; }
  void end_conversation();
  int64_t n_before_trained() const;
  void count_cut(DatasetReport& report, int64_t n) const;
  void count_text(DatasetReport& report, int64_t n) const;
  void keep(EncodedSamples& out, bool may_be_longer);

  const Tokenizer& tokenizer_;
  const TextOptions& options_;
  Token bos_, eos_;
  Encoder encoder_;
  std::optional<ChatTemplates> templates_;  // of conversations, and of Alpaca's records
  std::optional<ChatTemplate> alpaca_;
  std::vector<Token> t_;  // of the sample at hand
};

}  // namespace lora
