// Tokens of a text of any length, in parallel and in bounded memory.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/parallel.h"
#include "tokenizer/tokenizer.h"

namespace lora {

inline constexpr int64_t kEncodeChunk = 128 << 10;

// Appends what tokenizer.encode(text, parse_special) gives. The text is split about every
// `chunk_bytes` at a space or a line end where encoding the neighbourhood in two halves gives the
// tokens of encoding it whole; where no such place is found nearby, the chunk grows. The result does
// not depend on the pool's size.
void encode_long(std::vector<Token>& tokens, std::string_view text, const Tokenizer& tokenizer,
                 bool parse_special, ThreadPool& pool, int64_t chunk_bytes = kEncodeChunk);

}  // namespace lora
