// tokenizer.model: a SentencePiece model, of which a vocabulary needs the pieces and a few settings.
//
// The file is a protocol buffer (sentencepiece_model.proto). A message is a list of fields, each a varint
// number << 3 | wire type, then a varint (0), 8 bytes (1), a length and as many bytes (2), or 4 bytes (5).
// Read:
//
//   1 piece: 1 text, 2 score (f32), 3 type (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte)
//   2 trainer: 3 model type (1 unigram, 2 BPE, 3 word, 4 char), 40 to 43 ids of unknown, BOS, EOS, padding
//   3 normalizer: 3 add_dummy_prefix
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lora {

struct SentencePieceModel {
  struct Piece {
    std::string text;
    float score = 0;
    int32_t type = 1;  // as TokenKind numbers them
  };
  std::vector<Piece> pieces;
  bool add_dummy_prefix = true;
  int32_t unk = 0, bos = 1, eos = 2, pad = -1;  // -1: none
};

// Error naming `path` for what is no such file, and for models other than BPE, by their name.
SentencePieceModel parse_sentencepiece(std::span<const std::byte> bytes, const std::string& path);

}  // namespace lora
