// Importance of a weight's input columns: the mean of the squares of what goes into each, over some text. An
// error in a column that large numbers go into does more harm.
//
// Two file formats of llama.cpp are read, told apart by their first bytes; the newer is written.
//
//   GGUF: general.type "imatrix", imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size; of ours also
//   general.base_model.count, general.base_model.0.name, the name of the model it is of; for each weight NAME
//   the F32 tensors NAME.in_sum2 (n_cols, n_experts), sums of squares, and NAME.counts (1, n_experts), tokens
//   seen
//
//   2023 (.dat): i32 n_entries; for each: i32 length, name, i32 n_calls, i32 n_values, f32 values, n_calls
//   times the mean squares; then, in later files, i32 chunks, i32 length, name of the text
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lora {

struct ImatrixEntry {
  std::vector<float> sums;    // (n_experts, n_cols): of the squares of each column's inputs
  std::vector<float> counts;  // (n_experts): of the tokens summed over
};

struct Imatrix {
  std::map<std::string, ImatrixEntry, std::less<>> entries;  // by tensor name: "blk.0.attn_q.weight"
  std::vector<std::string> datasets;                         // the texts it was made from
  int64_t n_chunks = 0, chunk_size = 0;                      // windows of so many tokens; 0: unknown
  std::string model = {};                                    // general.name of what it is of; "": unknown
};

// Throws Error naming the file and entry for anything that is not sound: also for sums or counts that are
// negative or not finite.
Imatrix read_imatrix(const std::string& path);
// The same of a file that lies in memory; `path` is for messages.
Imatrix parse_imatrix(std::span<const std::byte> bytes, const std::string& path);

void write_imatrix(const Imatrix& imatrix, const std::string& path);

// Weights for an encoder, (n_experts, n_cols) or (n_cols): means of squares relative to their average over
// the expert's n_cols columns, at least a thousandth, since no column is worth nothing. All 1 for an expert
// that saw no token.
std::vector<float> column_weights(const ImatrixEntry& entry, int64_t n_cols);

// The experts whose n_cols columns no number went into; of a matrix that is not stacked it is the 0th.
std::vector<int64_t> unreached_experts(const ImatrixEntry& entry, int64_t n_cols);
// "blk.1: experts 2, 5; blk.3: expert 0", from stacked tensors' names and their unreached experts: tensors of
// a layer that lack the same are named once. "" without any.
std::string experts_text(const std::vector<std::pair<std::string_view, std::vector<int64_t>>>& unreached);

}  // namespace lora
