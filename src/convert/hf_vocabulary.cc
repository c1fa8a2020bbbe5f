#include "convert/hf_vocabulary.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/numbers.h"
#include "base/printable.h"
#include "convert/json_file.h"
#include "convert/sentencepiece.h"
#include "data/text_file.h"
#include "tokenizer/vocabulary.h"

namespace lora {
namespace {

using nlohmann::json;

// Tokens that models use as control tokens although their files do not say "special".
bool looks_special(std::string_view text) {
  const auto between = [&](std::string_view begin, std::string_view end) {
    return text.size() > begin.size() + end.size() && text.starts_with(begin) && text.ends_with(end);
  };
  return between("<|", "|>") || between("<｜", "｜>") || between("<unused", ">") || text == "<pad>" ||
         text == "<mask>" || text == "<2mass>" || text == "[@BOS@]";
}

// Plain text is matched against user-defined tokens as it is, with its spaces.
std::string with_spaces(std::string text) {
  constexpr std::string_view mark = "▁";
  for (size_t at; (at = text.find(mark)) != text.npos;) text.replace(at, mark.size(), 1, ' ');
  return text;
}

void read_added_files(AddedTokens& added, const std::string& folder, const json& config) {
  const std::string path = folder + "/added_tokens.json";
  if (file_exists(path)) {
    const json tokens = read_json_file(path);
    for (const auto& [text, id] : tokens.items()) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() >= uint64_t(kMaxTokens)) {
        fail("{}: token '{}' has no usable id", path, printable(text));
      }
      added.try_emplace(id.get<int64_t>(), AddedToken{text, false});
    }
  }
  const json* decoder = json_field(config, "added_tokens_decoder");
  if (!decoder || !decoder->is_object()) return;
  for (const auto& [key, token] : decoder->items()) {
    const auto id = number_in<int64_t>(key);
    const auto content = json_text(token, "content");
    if (!id || *id < 0 || *id >= kMaxTokens || !content) {
      fail("{}/tokenizer_config.json: added_tokens_decoder: entry '{}' is malformed", folder, printable(key));
    }
    added[*id] = {*content, json_bool(token, "special").value_or(false)};
  }
}

void apply_added(HfVocabulary& vocabulary, const AddedTokens& added, const TokenRoles& config) {
  constexpr double score = -1000;  // as llama.cpp's conversion has it
  for (const auto& [id, token] : added) {
    if (id >= int64_t(vocabulary.tokens.size())) continue;
    HfVocabulary::Entry& entry = vocabulary.tokens[size_t(id)];
    if (entry.kind == TokenKind::unknown) continue;
    const bool control = token.special || looks_special(token.text);
    const double kept = vocabulary.model == "gpt2" ? 0 : score;
    entry = {control ? token.text : with_spaces(token.text), kept,
             control ? TokenKind::control : TokenKind::user_defined};
    if (std::ranges::find(config.seen_tokens, token.text) != config.seen_tokens.end())
      entry.kind = TokenKind::user_defined;
  }
}

// The id of the token that tokenizer_config.json gives a role; "bos_token": "<s>" or {"content": "<s>"}.
std::optional<int64_t> role(const HfVocabulary& vocabulary, const json& config, const char* key) {
  const json* field = json_field(config, key);
  if (!field) return std::nullopt;
  const auto text =
      field->is_string() ? std::optional(field->get<std::string>()) : json_text(*field, "content");
  if (!text || text->empty()) return std::nullopt;
  const auto found = std::find_if(vocabulary.tokens.begin(), vocabulary.tokens.end(),
                                  [&](const auto& token) { return token.text == *text; });
  if (found == vocabulary.tokens.end()) return std::nullopt;
  return found - vocabulary.tokens.begin();
}

void set_roles(HfVocabulary& vocabulary, const json& tokenizer, const json& map, const TokenRoles& config,
               const std::function<void(std::string_view)>& say) {
  const auto n = int64_t(vocabulary.tokens.size());
  const auto is_token = [&](std::optional<int64_t> id) { return id && *id >= 0 && *id < n; };
  // What the tokenizer's files name, else what config.json has, else what the vocabulary says itself.
  const auto choose = [&](std::optional<int64_t>& id, const char* key, std::optional<int64_t> stated) {
    const std::optional<int64_t> wrong = stated && !is_token(stated) ? stated
                                         : !stated && id && *id >= n ? id
                                                                     : std::nullopt;
    if (is_token(stated)) id = stated;
    if (const auto mapped = role(vocabulary, map, key)) id = mapped;
    if (const auto named = role(vocabulary, tokenizer, key)) id = named;
    if (!is_token(id)) id.reset();
    if (!wrong) return;
    say(fmt::format("{}: id {} is none of the {} tokens, {}", key, *wrong, n,
                    id ? fmt::format("{} is taken in its place", *id) : "it is left out"));
  };
  choose(vocabulary.bos, "bos_token", config.bos);
  choose(vocabulary.eos, "eos_token", config.eos);
  choose(vocabulary.unk, "unk_token", std::nullopt);
  choose(vocabulary.pad, "pad_token", config.pad);
  for (const std::string_view spelling : end_of_turn_spellings()) {
    const auto found = std::find_if(
        vocabulary.tokens.begin(), vocabulary.tokens.end(),
        [&](const auto& token) { return token.text == spelling && token.kind != TokenKind::normal; });
    if (found == vocabulary.tokens.end()) continue;
    vocabulary.eot = found - vocabulary.tokens.begin();
    break;
  }
  if (const auto add = json_bool(tokenizer, "add_bos_token")) vocabulary.add_bos = add;
  if (const auto add = json_bool(tokenizer, "add_eos_token")) vocabulary.add_eos = add;
  if (vocabulary.model != "gpt2") {
    if (const auto add = json_bool(tokenizer, "add_prefix_space")) vocabulary.add_space_prefix = add;
    if (config.add_space_prefix) vocabulary.add_space_prefix = config.add_space_prefix;
  }
}

// Further ids that end an answer, by a list in generation_config.json (GLM's "<|user|>"), where the spelling
// does not say so already. GGUF has room for two: end of turn, if that is but the end of a text, and of
// message.
void add_ends(HfVocabulary& vocabulary, const std::string& folder,
              const std::function<void(std::string_view)>& say) {
  const std::string path = folder + "/generation_config.json";
  if (!file_exists(path)) return;
  const json config = read_json_file(path);
  const json* list = json_field(config, "eos_token_id");
  if (!list || !list->is_array()) return;
  for (const json& item : *list) {
    const int64_t id = item.is_number_integer() ? item.get<int64_t>() : -1;
    if (id < 0 || id >= int64_t(vocabulary.tokens.size())) continue;
    const std::string& text = vocabulary.tokens[size_t(id)].text;
    if (id == vocabulary.eos || id == vocabulary.eot || id == vocabulary.eom || is_end_spelling(text))
      continue;
    if (!vocabulary.eot || vocabulary.eot == vocabulary.eos) {
      vocabulary.eot = id;
    } else if (!vocabulary.eom) {
      vocabulary.eom = id;
    } else {
      say(fmt::format("{}: eos_token_id: {} ('{}') is left out: GGUF has no room for so many", path, id,
                      printable(text)));
    }
  }
}

// chat_template.jinja, else chat_template.json, else tokenizer_config.json: a text, or a list of named ones.
void read_chat_templates(HfVocabulary& vocabulary, const std::string& folder, const json& tokenizer) {
  auto& templates = vocabulary.chat_templates;
  if (const std::string path = folder + "/chat_template.jinja"; file_exists(path)) {
    templates = {{"default", with_unix_newlines(without_byte_order_mark(MappedFile(path).text()))}};
    return;
  }
  const std::string path = folder + "/chat_template.json";
  const json own = file_exists(path) ? read_json_file(path) : json();
  const json* field = json_field(own, "chat_template");
  if (!field) field = json_field(tokenizer, "chat_template");
  if (!field) return;
  if (field->is_string()) templates = {{"default", field->get<std::string>()}};
  if (!field->is_array()) return;
  for (const json& entry : *field) {
    const auto name = json_text(entry, "name"), text = json_text(entry, "template");
    if (name && text) templates.emplace_back(*name, *text);
  }
}

HfVocabulary read_tokenizer(const std::string& folder, AddedTokens& added, std::string_view merges_as) {
  const std::string model = folder + "/tokenizer.model", json_path = folder + "/tokenizer.json";
  const bool has_model = file_exists(model), has_json = file_exists(json_path);
  if (!has_model && !has_json) fail("{}: no tokenizer.model and no tokenizer.json in the folder", folder);
  // tokenizer.model may be a list of another kind (Llama 3), while the merges are in tokenizer.json.
  BesideModel beside;
  if (has_json) {
    const MappedFile file(json_path);
    const bool byte_level = file.text().find(R"("ByteLevel")") != std::string_view::npos;
    if (byte_level || !has_model || !merges_as.empty())
      return vocabulary_of_tokenizer_json(file.text(), json_path, added, merges_as);
    beside = read_beside_model(file.text(), json_path);
    added = std::move(beside.added);
  }
  const MappedFile file(model);
  HfVocabulary vocabulary = vocabulary_of_sentencepiece(file.bytes(), model);
  vocabulary.metaspace = beside.metaspace;
  return vocabulary;
}

void set_size(HfVocabulary& vocabulary, const VocabularySize& size, const std::string& folder,
              const AddedTokens& added, const std::function<void(std::string_view)>& say) {
  const int64_t n_vocab = size.n;
  const auto found =
      std::max(int64_t(vocabulary.tokens.size()), added.empty() ? 0 : added.rbegin()->first + 1);
  if (found > n_vocab) {
    say(fmt::format("the tokenizer has {} tokens, the model {}: the last {} are left out", found, n_vocab,
                    found - n_vocab));
  }
  const auto n_tokens = int64_t(vocabulary.tokens.size() + added.size());
  if (!size.is_counted && n_vocab > most_ids(n_tokens)) {
    fail("{}/config.json: vocab_size: {}, but the tokenizer has {} tokens", folder, n_vocab, n_tokens);
  }
  vocabulary.tokens.resize(size_t(n_vocab), {"", 0, TokenKind::unused});
}

// What has no text yet: ids between the tokenizer's, and those up to the model's size.
void name_padding(HfVocabulary& vocabulary) {
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    HfVocabulary::Entry& token = vocabulary.tokens[i];
    if (!token.text.empty()) continue;
    token = {fmt::format("[PAD{}]", i), vocabulary.model == "gpt2" ? 0.0 : -10000.0, TokenKind::unused};
  }
}

}  // namespace

HfVocabulary vocabulary_of_sentencepiece(std::span<const std::byte> bytes, const std::string& path) {
  const SentencePieceModel model = parse_sentencepiece(bytes, path);
  HfVocabulary vocabulary;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    const auto kind = TokenKind(piece.type);
    vocabulary.tokens.push_back(
        {kind == TokenKind::user_defined ? with_spaces(piece.text) : piece.text, piece.score, kind});
  }
  const auto id = [&](int32_t stored) {
    const bool exists = stored >= 0 && size_t(stored) < vocabulary.tokens.size();
    return exists ? std::optional<int64_t>(stored) : std::nullopt;
  };
  vocabulary.unk = id(model.unk);
  vocabulary.bos = id(model.bos);
  vocabulary.eos = id(model.eos);
  vocabulary.pad = id(model.pad);
  vocabulary.add_space_prefix = model.add_dummy_prefix;
  return vocabulary;
}

HfVocabulary read_hf_vocabulary(const std::string& folder, const VocabularySize& size,
                                const TokenRoles& config, const std::function<void(std::string_view)>& say) {
  const auto read_optional = [&](const char* name) {
    const std::string path = folder + "/" + name;
    return file_exists(path) ? read_json_file(path) : json::object();
  };
  const json tokenizer = read_optional("tokenizer_config.json"),
             map = read_optional("special_tokens_map.json");
  AddedTokens added;
  HfVocabulary vocabulary = read_tokenizer(folder, added, config.merges_as);
  for (const std::string& line : vocabulary.not_done) say(line);
  read_added_files(added, folder, tokenizer);
  set_size(vocabulary, size, folder, added, say);
  apply_added(vocabulary, added, config);
  set_roles(vocabulary, tokenizer, map, config, say);
  add_ends(vocabulary, folder, say);
  name_padding(vocabulary);
  read_chat_templates(vocabulary, folder, tokenizer);
  return vocabulary;
}

void HfVocabulary::set_keys(GgufWriter& writer) const {
  std::vector<std::string> texts;
  std::vector<double> scores;
  std::vector<int64_t> kinds;
  for (const Entry& token : tokens) {
    texts.push_back(token.text);
    scores.push_back(token.score);
    kinds.push_back(int64_t(token.kind));
  }
  writer.set_string("tokenizer.ggml.model", model);
  if (!pre.empty()) writer.set_string("tokenizer.ggml.pre", pre);
  writer.set_strings("tokenizer.ggml.tokens", std::move(texts));
  if (model != "gpt2") {
    writer.set("tokenizer.ggml.scores", {GgufValueType::array, GgufValueType::f32, std::move(scores)});
  }
  writer.set("tokenizer.ggml.token_type", {GgufValueType::array, GgufValueType::i32, std::move(kinds)});
  if (model != "llama") writer.set_strings("tokenizer.ggml.merges", merges);
  const std::pair<const char*, const std::optional<int64_t>&> ids[] = {
      {"tokenizer.ggml.bos_token_id", bos},     {"tokenizer.ggml.eos_token_id", eos},
      {"tokenizer.ggml.eot_token_id", eot},     {"tokenizer.ggml.eom_token_id", eom},
      {"tokenizer.ggml.unknown_token_id", unk}, {"tokenizer.ggml.padding_token_id", pad},
  };
  for (const auto& [key, id] : ids) {
    if (id) writer.set_u32(key, uint32_t(*id));
  }
  const std::pair<const char*, const std::optional<bool>&> switches[] = {
      {"tokenizer.ggml.add_bos_token", add_bos},
      {"tokenizer.ggml.add_eos_token", add_eos},
      {"tokenizer.ggml.add_space_prefix", add_space_prefix},
      {"tokenizer.ggml.compose_accents", composes},
      {"tokenizer.ggml.ignore_merges", ignore_merges},
  };
  for (const auto& [key, on] : switches) {
    if (on) writer.set_bool(key, *on);
  }
  if (!metaspace.empty() && add_space_prefix.value_or(true)) {
    writer.set_string("tokenizer.ggml.metaspace", metaspace);
  }
  std::vector<std::string> names;
  for (const auto& [name, text] : chat_templates) {
    writer.set_string(name == "default" ? "tokenizer.chat_template" : "tokenizer.chat_template." + name,
                      text);
    if (name != "default") names.push_back(name);
  }
  if (!names.empty()) writer.set_strings("tokenizer.chat_templates", std::move(names));
}

}  // namespace lora
