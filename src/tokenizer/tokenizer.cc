#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <optional>

#include "base/ascii.h"
#include "base/error.h"
#include "base/printable.h"
#include "tokenizer/bpe.h"
#include "tokenizer/special_tokens.h"
#include "tokenizer/spm.h"
#include "tokenizer/vocabulary.h"

namespace lora {
namespace {

// Phi-3's tokenizer drops the white space behind its special tokens. The GGUF format has no key for that;
// llama.cpp goes by the model's name, and so do we.
std::vector<Token> tokens_that_strip_after(const Gguf& gguf, const Vocabulary& vocab) {
  const std::string name = lower_case(gguf.get_string("general.name").value_or(""));
  if (name.find("phi-3") == std::string::npos && name.find("phi3") == std::string::npos) return {};
  std::vector<Token> tokens;
  for (Token id = 0; id < vocab.size(); ++id) {
    const TokenKind kind = vocab.kinds[size_t(id)];
    const std::string& piece = vocab.pieces[size_t(id)];
    const bool special =
        kind == TokenKind::control || kind == TokenKind::user_defined || kind == TokenKind::unknown;
    if (special && piece != "<unk>" && piece != "<s>" && piece != "<|endoftext|>") tokens.push_back(id);
  }
  return tokens;
}

std::string with_spaces(std::string_view text) {
  std::string spaced;
  for (size_t mark; (mark = text.find(kSpaceMark)) != std::string_view::npos;) {
    spaced.append(text.substr(0, mark)) += ' ';
    text.remove_prefix(mark + kSpaceMark.size());
  }
  return spaced.append(text);
}

// 64 bytes each: half a MiB, which stays in the second-level cache.
constexpr size_t kRememberedWords = 1 << 13;

const PreTokenizerRow& pre_tokenizer_row(const Gguf& gguf) {
  const std::string name = gguf.get_string("tokenizer.ggml.pre").value_or("default");
  const PreTokenizerRow* row = find_pre_tokenizer(name);
  if (!row) {
    fail("{}: tokenizer.ggml.pre: unknown pre-tokenizer \"{}\"; known are {}", gguf.path(), printable(name),
         pre_tokenizer_names());
  }
  return *row;
}

}  // namespace

struct Tokenizer::Impl {
  // Buffers of the two families, only one of which is used.
  struct Scratch {
    Spm::Scratch spm;
    Bpe::Scratch bpe;
    std::string spaced;
    bool space_prefix = false;  // a space goes before the text that comes next
    Scratch(const Impl& impl, size_t n_words) : spm(impl.spm ? n_words : 0), bpe(impl.bpe ? n_words : 0) {}
  };

  explicit Impl(const Gguf& gguf) : vocab(gguf), special(vocab, tokens_that_strip_after(gguf, vocab)) {
    bool default_add_bos = false;
    if (vocab.model == "llama" || vocab.model == "gemma4") {
      spm.emplace(vocab, gguf);
      default_add_bos = true;
      add_space_prefix = gguf.get_bool("tokenizer.ggml.add_space_prefix").value_or(vocab.model == "llama");
      has_space_runs = vocab.find_text("  ") >= 0;
      read_metaspace(gguf);
    } else if (vocab.model == "gpt2") {
      const PreTokenizerRow& row = pre_tokenizer_row(gguf);
      bpe.emplace(vocab, gguf, row);
      default_add_bos = row.add_bos;
    } else {
      fail("{}: tokenizer.ggml.model: unknown tokenizer \"{}\"; known are llama, gpt2, gemma4", gguf.path(),
           printable(vocab.model));
    }
    add_bos = gguf.get_bool("tokenizer.ggml.add_bos_token").value_or(default_add_bos) && vocab.bos >= 0;
    add_eos = gguf.get_bool("tokenizer.ggml.add_eos_token").value_or(false) && vocab.eos >= 0;
    chat_template = gguf.get_string("tokenizer.chat_template").value_or("");
    if (const auto* names = gguf.get_strings("tokenizer.chat_templates")) {
      for (const std::string& name : *names) {
        if (auto text = gguf.get_string("tokenizer.chat_template." + name))
          named_templates[name] = std::move(*text);
      }
    }
  }

  // A key of our own conversion: tokenizer.json puts the space with a "Metaspace", by this prepend_scheme.
  void read_metaspace(const Gguf& gguf) {
    constexpr std::string_view key = "tokenizer.ggml.metaspace";
    const std::optional<std::string> scheme = gguf.get_string(key);
    if (scheme && *scheme != "first" && *scheme != "always") {
      fail("{}: {}: unknown scheme \"{}\"; known are first, always", gguf.path(), key, printable(*scheme));
    }
    space_after_token = add_space_prefix && scheme != "first";
    doubles_space = !scheme;
  }

  size_t checked(Token token) const {
    if (token < 0 || token >= vocab.size()) {
      fail("token {}: outside the vocabulary of {}", token, vocab.size());
    }
    return size_t(token);
  }

  // Control and unknown tokens are marks, not text.
  bool is_mark(Token token) const {
    const TokenKind kind = vocab.kinds[checked(token)];
    return kind == TokenKind::control || kind == TokenKind::unknown;
  }

  // Tokens that encode() finds as a whole, and after which it adds a space again.
  bool is_matched_whole(Token token) const {
    return is_mark(token) || vocab.kinds[size_t(token)] == TokenKind::user_defined;
  }

  std::string bytes(Token token) const {
    if (is_matched_whole(token)) return vocab.pieces[size_t(token)];
    return spm ? spm->decode(token) : bpe->decode(token);
  }

  void append(std::vector<Token>& tokens, std::string_view text, std::span<const TextRange> special_in,
              Scratch& scratch) const {
    bool& prefix = scratch.space_prefix;
    const auto add_text = [&](std::string_view part) {
      if (spm) {
        const bool begins_with_space = part.starts_with(' ') || part.starts_with(kSpaceMark);
        spm->encode(part, prefix && (doubles_space || !begins_with_space), scratch.spm, tokens);
      } else {
        bpe->encode(part, scratch.bpe, tokens);
      }
      prefix = false;
    };
    const auto add_token = [&](Token token) {
      tokens.push_back(token);
      prefix = space_after_token;
    };
    special.split(
        text, special_in,
        [&](std::string_view part) {
          if (!has_space_runs || part.find(kSpaceMark) == std::string_view::npos) return add_text(part);
          // Runs of spaces are tokens that are found in the text, where ▁ is one of them.
          scratch.spaced = with_spaces(part);
          special.split(scratch.spaced, {}, add_text, add_token);
        },
        add_token);
  }

  Vocabulary vocab;
  SpecialTokens special;
  std::optional<Spm> spm;  // one of the two
  std::optional<Bpe> bpe;
  bool add_space_prefix = false;
  bool space_after_token = false;  // after special tokens, too
  bool doubles_space = true;       // before a text that begins with a space, too
  bool has_space_runs = false;     // Gemma's vocabulary
  bool add_bos = false;
  bool add_eos = false;
  std::string chat_template;
  std::map<std::string, std::string, std::less<>> named_templates;
};

Tokenizer::Tokenizer(const Gguf& gguf) : impl_(std::make_unique<Impl>(gguf)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<Token> Tokenizer::encode(std::string_view text, bool parse_special) const {
  std::vector<Token> tokens;
  Impl::Scratch scratch(*impl_, 0);
  scratch.space_prefix = impl_->add_space_prefix;
  const TextRange whole{0, text.size()};
  impl_->append(tokens, text, {&whole, parse_special ? size_t{1} : 0}, scratch);
  return tokens;
}

struct Encoder::Impl {
  const Tokenizer::Impl& tokenizer;
  Tokenizer::Impl::Scratch scratch;
};

Encoder::Encoder(const Tokenizer& tokenizer)
    : impl_(new Impl{*tokenizer.impl_, {*tokenizer.impl_, kRememberedWords}}) {}
Encoder::~Encoder() = default;
Encoder::Encoder(Encoder&&) noexcept = default;

void Encoder::append(std::vector<Token>& tokens, std::string_view text, bool parse_special) {
  const TextRange whole{0, text.size()};
  append(tokens, text, {&whole, parse_special ? size_t{1} : 0});
}

void Encoder::append(std::vector<Token>& tokens, std::string_view text,
                     std::span<const TextRange> special_in) {
  impl_->scratch.space_prefix = impl_->tokenizer.add_space_prefix;
  impl_->tokenizer.append(tokens, text, special_in, impl_->scratch);
}

void Encoder::append_next(std::vector<Token>& tokens, std::string_view text,
                          std::span<const TextRange> special_in) {
  if (text.starts_with(' ')) impl_->scratch.space_prefix = false;
  impl_->tokenizer.append(tokens, text, special_in, impl_->scratch);
}

std::vector<Token> Tokenizer::encode_with_bos(std::string_view text, bool parse_special) const {
  std::vector<Token> tokens = encode(text, parse_special);
  if (impl_->add_bos && (tokens.empty() || tokens.front() != impl_->vocab.bos)) {
    tokens.insert(tokens.begin(), impl_->vocab.bos);
  }
  return tokens;
}

std::string Tokenizer::decode(Token token, bool special) const {
  if (!special && impl_->is_mark(token)) return "";
  return impl_->bytes(token);
}

std::string Tokenizer::decode(const std::vector<Token>& tokens, bool special) const {
  std::string text;
  bool space_prefix = impl_->add_space_prefix;
  for (const Token token : tokens) {
    std::string bytes = decode(token, special);
    if (impl_->is_matched_whole(token)) {
      space_prefix = impl_->space_after_token;
    } else {
      if (space_prefix && !bytes.empty() && bytes.front() == ' ') bytes.erase(0, 1);
      space_prefix = false;
    }
    text += bytes;
  }
  return text;
}

const std::string& Tokenizer::piece(Token token) const {
  return impl_->vocab.pieces[impl_->checked(token)];
}
TokenKind Tokenizer::kind(Token token) const {
  return impl_->vocab.kinds[impl_->checked(token)];
}
int32_t Tokenizer::n_vocab() const {
  return impl_->vocab.size();
}
Token Tokenizer::bos() const {
  return impl_->vocab.bos;
}
Token Tokenizer::eos() const {
  return impl_->vocab.eos;
}
Token Tokenizer::eot() const {
  return impl_->vocab.eot;
}
Token Tokenizer::unk() const {
  return impl_->vocab.unk;
}
Token Tokenizer::pad() const {
  return impl_->vocab.pad;
}
bool Tokenizer::add_bos() const {
  return impl_->add_bos;
}
bool Tokenizer::add_eos() const {
  return impl_->add_eos;
}
bool Tokenizer::is_end(Token token) const {
  return impl_->vocab.ends[impl_->checked(token)];
}
const std::string& Tokenizer::chat_template() const {
  return impl_->chat_template;
}
const std::map<std::string, std::string, std::less<>>& Tokenizer::named_chat_templates() const {
  return impl_->named_templates;
}
Token Tokenizer::find(std::string_view piece) const {
  return impl_->vocab.find(piece);
}
Token Tokenizer::find_special_spelling(std::string_view text) const {
  return impl_->special.find_control(text);
}

}  // namespace lora
