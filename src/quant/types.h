// The tensor types of GGUF: one row per type drives size computation, decoding, names,
// tests and inspection. Adding a type is adding a file with its block and a row to the table.
//
// A type stores rows of numbers in blocks: `block_size` consecutive values of one row take
// `block_bytes` bytes. Rows are never split inside a block, so n_cols % block_size == 0.
// Block layouts follow ggml's (the reference is the struct comment in each type's file).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace lora {

// Values are GGUF's on-disk type ids.
enum class Type : uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  IQ2_XXS = 16,
  IQ2_XS = 17,
  IQ3_XXS = 18,
  IQ1_S = 19,
  IQ4_NL = 20,
  IQ3_S = 21,
  IQ2_S = 22,
  IQ4_XS = 23,
  I8 = 24,
  I16 = 25,
  I32 = 26,
  I64 = 27,
  F64 = 28,
  IQ1_M = 29,
  BF16 = 30,
  TQ1_0 = 34,
  TQ2_0 = 35,
  MXFP4 = 39,
  NVFP4 = 40,
};

struct TypeTraits {
  Type type;
  std::string_view name;  // as ggml prints it: "Q4_K"
  int64_t block_size;     // values per block
  int64_t block_bytes;    // bytes per block
  // Decodes n values (a multiple of block_size) to f32; nullptr for the integer types and F64,
  // which a model's weights never have.
  void (*decode)(float* values, const std::byte* blocks, int64_t n);
  // Encodes n finite values (a multiple of block_size), such that the sum of squared errors, each times its
  // value's importance (n positive numbers; nullptr: all the same), is small. nullptr where decode is, and
  // for types that are only read.
  void (*encode)(std::byte* blocks, const float* values, int64_t n, const float* importance);
};

// All known types.
std::span<const TypeTraits> all_types();
// The row of a type id read from a file, nullptr if unknown.
const TypeTraits* find_type(uint32_t id);
// The row of a name in any case ("q4_k"), nullptr if unknown.
const TypeTraits* find_type(std::string_view name);
// The row of a type of the enum.
const TypeTraits& traits(Type type);

// A weight matrix where it lies in the mapped file: n_rows rows of n_cols values.
struct MatrixView {
  Type type = Type::F32;
  const std::byte* data = nullptr;
  int64_t n_rows = 0, n_cols = 0;

  int64_t row_bytes() const { return n_cols / traits(type).block_size * traits(type).block_bytes; }
  const std::byte* row(int64_t r) const { return data + r * row_bytes(); }
  MatrixView rows(int64_t first, int64_t n) const { return {type, data ? row(first) : nullptr, n, n_cols}; }
};

// Decodes values [begin, end) of one row; begin and end are multiples of the block size.
void decode_row(float* values, const MatrixView& matrix, int64_t row, int64_t begin, int64_t end);

}  // namespace lora
