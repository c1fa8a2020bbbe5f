#include "convert/sentencepiece.h"

#include <cstring>
#include <string_view>

#include "base/byte_cursor.h"
#include "base/error.h"
#include "base/file_kind.h"

namespace lora {
namespace {

struct Field {
  uint32_t number = 0, wire = 0;
  uint64_t varint = 0;               // of wire type 0
  std::span<const std::byte> bytes;  // of the others
};

// The fields of one message.
struct Message {
  ByteCursor in;

  [[noreturn]] void malformed() const { fail("{}: {}", in.path, in.fault); }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = in.number<uint8_t>();
      value |= uint64_t(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    malformed();
  }
  bool next(Field& field) {
    if (in.at_end()) return false;
    const uint64_t key = varint();
    field = {uint32_t(key >> 3), uint32_t(key & 7), 0, {}};
    if (field.wire == 0) {
      field.varint = varint();
    } else if (field.wire == 1 || field.wire == 5) {
      field.bytes = in.take(field.wire == 1 ? 8 : 4);
    } else if (field.wire == 2) {
      field.bytes = in.take(varint());
    } else {
      malformed();
    }
    return true;
  }
};

Message message_in(std::span<const std::byte> bytes, const std::string& path) {
  return {{bytes, path, "not a SentencePiece model, or a damaged one", "a field"}};
}

SentencePieceModel::Piece read_piece(Message message) {
  SentencePieceModel::Piece piece;
  for (Field field; message.next(field);) {
    if (field.number == 1 && field.wire == 2) {
      piece.text.assign(reinterpret_cast<const char*>(field.bytes.data()), field.bytes.size());
    }
    if (field.number == 2 && field.wire == 5) std::memcpy(&piece.score, field.bytes.data(), 4);
    if (field.number == 3 && field.wire == 0) piece.type = int32_t(field.varint);
  }
  if (piece.type < 1 || piece.type > 6) message.malformed();
  return piece;
}

void read_trainer(Message message, SentencePieceModel& model, uint64_t& type) {
  for (Field field; message.next(field);) {
    if (field.wire != 0) continue;
    if (field.number == 3) type = field.varint;
    if (field.number == 40) model.unk = int32_t(field.varint);
    if (field.number == 41) model.bos = int32_t(field.varint);
    if (field.number == 42) model.eos = int32_t(field.varint);
    if (field.number == 43) model.pad = int32_t(field.varint);
  }
}

}  // namespace

SentencePieceModel parse_sentencepiece(std::span<const std::byte> bytes, const std::string& path) {
  refuse_known_kind(bytes, path, "a SentencePiece model");
  SentencePieceModel model;
  uint64_t type = 1;
  Message message = message_in(bytes, path);
  for (Field field; message.next(field);) {
    if (field.wire != 2) continue;
    const Message inner = message_in(field.bytes, path);
    if (field.number == 1) model.pieces.push_back(read_piece(inner));
    if (field.number == 2) read_trainer(inner, model, type);
    if (field.number == 3) {
      Message normalizer = inner;
      for (Field setting; normalizer.next(setting);) {
        if (setting.number == 3 && setting.wire == 0) model.add_dummy_prefix = setting.varint != 0;
      }
    }
  }
  if (model.pieces.empty()) message.malformed();
  if (type != 2) {
    fail("{}: a SentencePiece model of type {}, which is not supported; expected BPE", path,
         type == 1   ? "unigram"
         : type == 3 ? "word"
         : type == 4 ? "char"
                     : "?");
  }
  return model;
}

}  // namespace lora
