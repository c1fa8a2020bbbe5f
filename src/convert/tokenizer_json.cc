// tokenizer.json: byte-level BPE, and BPE with byte fallback as conversions of SentencePiece models have it.
#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/printable.h"
#include "convert/hf_vocabulary.h"
#include "convert/json_file.h"
#include "convert/pre_tokenizer_name.h"
#include "tokenizer/pre_tokenizers.h"

namespace lora {
namespace {

using nlohmann::json;

constexpr std::string_view kSpaceMark = "▁";

// An object or any of the objects that its sequence holds satisfies `holds`.
template <class Holds>
bool any_part(const json* node, const char* sequence, Holds holds) {
  if (!node || !node->is_object()) return false;
  if (holds(*node)) return true;
  const json* parts = json_field(*node, sequence);
  if (!parts || !parts->is_array()) return false;
  return std::any_of(parts->begin(), parts->end(),
                     [&](const json& part) { return part.is_object() && holds(part); });
}

auto is_type(const char* type) {
  return [type](const json& node) { return json_text(node, "type") == type; };
}

bool is_byte_token(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with(">");
}

// Left and right of a merge: "left right" or ["left", "right"].
std::pair<std::string, std::string> read_merge(const json& merge, const std::string& path) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  if (merge.is_string()) {
    const auto text = merge.get<std::string>();
    const size_t space = text.find(' ', 1);
    if (space != text.npos && space + 1 < text.size()) return {text.substr(0, space), text.substr(space + 1)};
  }
  fail("{}: model: merges: expected pairs of tokens", path);
}

// SentencePiece merges the pair whose result has the highest score. A tokenizer.json has the pairs in the
// order of these scores instead; equal results stand together, and get one score.
void score_by_merges(HfVocabulary& vocabulary, const json& merges, const std::string& path) {
  std::unordered_map<std::string, double> scores;
  double next = 0;
  for (const json& merge : merges) {
    const auto [left, right] = read_merge(merge, path);
    if (scores.emplace(left + right, next).second) next -= 1;
  }
  for (HfVocabulary::Entry& token : vocabulary.tokens) {
    if (token.kind != TokenKind::normal) continue;
    const auto found = scores.find(token.text);
    token.score = found == scores.end() ? next : found->second;
  }
}

void read_tokens(HfVocabulary& vocabulary, const json& model, size_t n_added, const std::string& path) {
  const json* tokens = json_field(model, "vocab");
  if (!tokens || !tokens->is_object() || tokens->empty()) fail("{}: model: vocab: missing or empty", path);
  const int64_t n_ids = std::min(kMaxTokens, most_ids(int64_t(tokens->size() + n_added)));
  for (const auto& [text, id] : tokens->items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= uint64_t(n_ids)) {
      fail("{}: model: vocab: token '{}' has no usable id", path, printable(text));
    }
    const auto i = id.get<size_t>();
    if (i >= vocabulary.tokens.size()) vocabulary.tokens.resize(i + 1, {"", 0, TokenKind::unused});
    vocabulary.tokens[i] = {text, 0, TokenKind::normal};
  }
}

void read_added(AddedTokens& added, const json& root, const std::string& path) {
  const json* list = json_field(root, "added_tokens");
  if (!list) return;
  if (!list->is_array()) fail("{}: added_tokens: expected an array", path);
  for (const json& token : *list) {
    const auto id = json_integer(token, "id");
    const auto content = json_text(token, "content");
    if (!id || *id < 0 || *id >= kMaxTokens || !content)
      fail("{}: added_tokens: expected ids and contents", path);
    added[*id] = {*content, json_bool(token, "special").value_or(false)};
  }
}

// Whether the post-processor puts a special token before or after each text.
void read_template(HfVocabulary& vocabulary, const json& root) {
  any_part(json_field(root, "post_processor"), "processors", [&](const json& node) {
    const json* single = json_field(node, "single");
    if (!is_type("TemplateProcessing")(node) || !single || !single->is_array() || single->empty())
      return false;
    const auto special = [](const json& part) { return json_field(part, "SpecialToken") != nullptr; };
    vocabulary.add_bos = special(single->front());
    vocabulary.add_eos = special(single->back());
    return true;
  });
}

// The scheme by which a Metaspace puts a space before texts; "" where there is none, or it puts none.
std::string metaspace_of(const json& root) {
  std::string scheme;
  any_part(json_field(root, "pre_tokenizer"), "pretokenizers", [&](const json& node) {
    if (!is_type("Metaspace")(node) || !json_bool(node, "add_prefix_space").value_or(true)) return false;
    scheme = json_text(node, "prepend_scheme").value_or("always");
    if (scheme == "never") scheme.clear();
    return true;
  });
  return scheme;
}

void read_byte_fallback(HfVocabulary& vocabulary, const json& root, const json& model, const json& merges,
                        std::string_view merges_as, const std::string& path) {
  if (!merges_as.empty()) {
    vocabulary.model = merges_as;
    vocabulary.pre = "";
  }
  const auto unk = json_text(model, "unk_token");
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    HfVocabulary::Entry& token = vocabulary.tokens[i];
    if (is_byte_token(token.text)) token.kind = TokenKind::byte;
    if (unk && token.text == *unk) {
      token.kind = TokenKind::unknown;
      vocabulary.unk = int64_t(i);
    }
  }
  if (!merges_as.empty()) {
    for (const json& merge : merges) {
      const auto [left, right] = read_merge(merge, path);
      vocabulary.merges.push_back(left + " " + right);
    }
    vocabulary.add_bos = true;  // as llama.cpp's conversion has it, like the scores
    for (HfVocabulary::Entry& token : vocabulary.tokens) token.score = -1000;
  } else {
    score_by_merges(vocabulary, merges, path);
  }
  vocabulary.metaspace = metaspace_of(root);
  vocabulary.add_space_prefix =
      any_part(
          json_field(root, "normalizer"), "normalizers",
          [](const json& n) { return is_type("Prepend")(n) && json_text(n, "prepend") == kSpaceMark; }) ||
      !vocabulary.metaspace.empty();
}

// The name, and as keys of our own what the file has otherwise than the name implies.
void name_pre_tokenizer(HfVocabulary& vocabulary, const json& root, const json& pre, bool ignore_merges,
                        const std::string& path) {
  bool composes = false;
  any_part(json_field(root, "normalizer"), "normalizers", [&](const json& node) {
    const std::string type = json_text(node, "type").value_or("?");
    if (type == "NFC") {
      composes = true;
    } else if (type != "Sequence") {
      vocabulary.not_done.push_back(fmt::format(
          "{}: normalizer: {} is not applied to texts: GGUF cannot say it", path, printable(type)));
    }
    return false;
  });
  vocabulary.pre = pre_tokenizer_name(pre, composes, ignore_merges, path);
  const PreTokenizerRow& row = *find_pre_tokenizer(vocabulary.pre);
  if (row.composes != composes) vocabulary.composes = composes;
  if (row.ignore_merges != ignore_merges) vocabulary.ignore_merges = ignore_merges;
}

}  // namespace

BesideModel read_beside_model(std::string_view text, const std::string& path) {
  const json root = parse_json_object(text, path);
  BesideModel beside;
  read_added(beside.added, root, path);
  beside.metaspace = metaspace_of(root);
  return beside;
}

HfVocabulary vocabulary_of_tokenizer_json(std::string_view text, const std::string& path, AddedTokens& added,
                                          std::string_view merges_as) {
  const json root = parse_json_object(text, path);
  const json* model = json_field(root, "model");
  if (!model) fail("{}: model: missing", path);
  const std::string type = json_text(*model, "type").value_or("BPE");
  if (type != "BPE") {
    fail("{}: a tokenizer of type {}, which is not supported; expected BPE", path, printable(type));
  }
  const json* merges = json_field(*model, "merges");
  if (!merges || !merges->is_array()) fail("{}: model: merges: missing", path);
  HfVocabulary vocabulary;
  read_added(added, root, path);
  read_tokens(vocabulary, *model, added.size(), path);
  read_template(vocabulary, root);
  const json* pre = json_field(root, "pre_tokenizer");
  if (any_part(pre, "pretokenizers", is_type("ByteLevel"))) {
    vocabulary.model = "gpt2";
    name_pre_tokenizer(vocabulary, root, *pre, json_bool(*model, "ignore_merges").value_or(false), path);
    for (const json& merge : *merges) {
      const auto [left, right] = read_merge(merge, path);
      vocabulary.merges.push_back(left + " " + right);
    }
  } else if (json_bool(*model, "byte_fallback").value_or(false)) {
    read_byte_fallback(vocabulary, root, *model, *merges, merges_as, path);
  } else {
    fail("{}: neither byte-level BPE nor BPE with byte fallback", path);
  }
  return vocabulary;
}

}  // namespace lora
