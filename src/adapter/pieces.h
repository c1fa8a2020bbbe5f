// Pairs that sit on rows of one tensor, as one pair of that tensor: where Hugging Face has q_proj, k_proj and
// v_proj and GGUF attn_qkv, or the other way round.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "adapter/adapter.h"

namespace lora {

struct Piece {
  const LoraPair* pair = nullptr;
  std::vector<int64_t> rows;  // of the whole tensor, one for each of the pair's
  double scale = 1;           // of the pair's B A
};

struct Joined {
  LoraPair pair;
  double scale = 1;         // of the joined pair's B A
  bool is_stacked = false;  // the ranks add up; else all have the same A
};
// Where all have the same A, theirs is the whole's, and B has the rows of each. Else the A lie below one
// another, and B has a block for each. Rows that no piece has are zero. Of stacks, matrix by matrix; the
// pieces have equally many.
Joined join(const std::string& base, std::span<const Piece> pieces, int64_t n_out);

}  // namespace lora
