// Weights to f32 or bf16 with the vectors of the kernel set in use: by way of their codes (decode_codes.h)
// where they have any, others as quant/ does, compiled once more for the set. The bits are the same as
// decode_row's (f16 is the processor's own conversion, which makes signalling NaNs quiet).
#pragma once

#include <cstdint>

#include "kernels/decode/decode_codes.h"
#include "quant/types.h"

namespace lora {

// A matrix ready to be decoded: what decode_row would look up for every row is looked up once.
class RowDecoder {
 public:
  explicit RowDecoder(const MatrixView& matrix);

  // Values [begin, end) of a row; begin and end are multiples of the block size.
  void operator()(float* values, int64_t row, int64_t begin, int64_t end) const {
    decode_(values, data_ + row * row_bytes_ + begin / block_size_ * block_bytes_, end - begin);
  }

  // The same of n rows from `row` on, one behind the other, each `ahead` rows after it was brought near.
  void rows(float* values, int64_t row, int64_t n, int64_t begin, int64_t end, int64_t ahead) const {
    const std::byte* at = data_ + row * row_bytes_ + begin / block_size_ * block_bytes_;
    const int64_t n_bytes = (end - begin) / block_size_ * block_bytes_;
    for (int64_t r = 0; r < n; ++r, at += row_bytes_, values += end - begin) {
      const uintptr_t next = reinterpret_cast<uintptr_t>(at) + uintptr_t(ahead * row_bytes_);
      for (int64_t i = 0; i < n_bytes; i += 64) {
        __builtin_prefetch(reinterpret_cast<const void*>(next + uintptr_t(i)), 0, 3);
      }
      decode_(values, at, end - begin);
    }
  }

  // The same, rounded to bf16 to nearest even as scale_row() does. temporary: (end - begin).
  void operator()(bf16* values, int64_t row, int64_t begin, int64_t end, float* temporary) const;

  // Brings them near, for a call that comes later: to the second-level cache, or the first. Rows lie
  // kilobytes apart, which hardware does not foresee: without this a product waits for memory most of the
  // time. Any row will do, also one that is not there.
  void prefetch(int64_t row, int64_t begin, int64_t end) const {
    for_lines(row, begin, end, [](const void* p) { __builtin_prefetch(p, 0, 2); });
  }
  void prefetch_near(int64_t row, int64_t begin, int64_t end) const {
    for_lines(row, begin, end, [](const void* p) { __builtin_prefetch(p, 0, 3); });
  }

 private:
  template <class Body>
  void for_lines(int64_t row, int64_t begin, int64_t end, const Body& body) const {
    const uintptr_t start = reinterpret_cast<uintptr_t>(data_) + uintptr_t(row * row_bytes_);
    const uintptr_t last = start + uintptr_t(end / block_size_ * block_bytes_);
    for (uintptr_t p = start + uintptr_t(begin / block_size_ * block_bytes_); p < last; p += 64) {
      body(reinterpret_cast<const void*>(p));
    }
  }

  F32Decoder decode_;
  Bf16Decoder decode_bf16_;  // or nullptr
  const std::byte* data_;
  int64_t row_bytes_, block_size_, block_bytes_;
};

}  // namespace lora
