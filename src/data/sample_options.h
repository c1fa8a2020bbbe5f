// What decides how texts and records become samples, and what is said of them.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "chat/chat_template.h"
#include "data/columns.h"
#include "data/sillytavern.h"
#include "tokenizer/tokenizer.h"

namespace lora {

// A target that is not trained on.
inline constexpr Token kIgnore = -1;

struct TextOptions {
  std::string sample_start;           // as it stands in the text (see unescape); empty: windows
  bool include_sample_start = false;  // the pattern is part of the sample it starts
  bool overlapping_samples = false;   // a sample runs on past the next occurrence, up to the context length
  bool separate_with_bos = true;      // where the model uses BOS; never twice
  bool separate_with_eos = true;      // where the model has EOS and the sample leaves room for it
  bool parse_special = false;         // read the spelling of special tokens in the text as such
  int64_t n_ctx = 128;                // tokens of a sample at most
  int64_t window = 0;  // without sample_start: consecutive windows of so many tokens; 0: one at every token

  // Of records.
  bool train_on_all = false;           // prompts and users' messages too
  std::string chat_template = "auto";  // auto: the model's own; a built-in one's name, a file
  ChatSettings chat_settings;          // what it may ask for
  bool skip_bad_records = false;       // count them; else the first one is an error
  Columns columns;                     // fields under other names

  // Of SillyTavern's chats.
  bool names = false;         // "NAME: " before each message
  std::string card;           // a character card, the system message of each; "": none
  int64_t overlap_turns = 0;  // earlier turns that each further sample of a long one begins with
};

// What was read, for the messages before training.
struct DatasetReport {
  int64_t n_samples = 0;
  int64_t n_tokens = 0;  // kept in samples, EOS counted, BOS not; of windows: tokens of the text
  int64_t n_blank = 0;   // skipped: nothing but white space (the pattern aside)
  int64_t n_short = 0;   // skipped: a single token, with neither BOS nor EOS beside it
  int64_t n_cut = 0;  // longer than n_ctx with their EOS (overlapping ones: without); windows are not counted
  int64_t n_lost = 0;     // tokens that were cut off
  int64_t longest = 0;    // tokens of the longest sample before cutting; of windows: at most n_ctx
  int64_t n_bad = 0;      // records skipped
  std::string first_bad;  // "FILE: line N: WHY", empty if none
  // Fields of records that were not read, and in how many records they are filled; the first kMostFields
  // names.
  static constexpr size_t kMostFields = 100;
  std::map<std::string, int64_t> ignored_fields;
  bool ignored_more = false;
  std::set<std::string> chat_templates;  // those that conversations were written with, by name
  // Conversations that a template took in another form (chat/chat_template.h) alone.
  int64_t n_system_in_user = 0, n_user_first = 0;
  // Conversations of which each reply is a text of its own, since the template writes earlier ones otherwise,
  // and these texts.
  int64_t n_rewritten = 0, n_rewritten_texts = 0;
  int64_t n_split = 0;       // chats that became several samples, for they were longer than the context
  std::string not_utf8;      // "FILE: line N" of the first text or CSV that is not UTF-8, empty if none
  std::string like_records;  // first text that begins with a JSON object, empty if none
  // Files that are records, texts whose every token begins a sample, and texts in which the pattern is not.
  int64_t n_record_files = 0, n_window_files = 0, n_uncut_files = 0;
  std::string first_uncut;    // of those in which the pattern is not, empty if none
  int64_t uncut_tokens = 0;   // its one sample before cutting
  int64_t n_consecutive = 0;  // samples that are consecutive windows
  // Of samples cut at the pattern, EOS as in n_cut: tokens before cutting, those cut off, the longest sample.
  int64_t text_tokens = 0, text_lost = 0, text_longest = 0;
  // A control token whose spelling stands in the text but is not read as such (parse_special is
  // off), -1 if there is none.
  Token special_spelling = -1;
  TavernReport tavern;
};

}  // namespace lora
