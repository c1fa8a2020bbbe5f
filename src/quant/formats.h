// The formats that hold weights, as one list: LORA_FOR_EACH_FORMAT(X) expands X(type, values per block,
// bytes per block, decode function, encode function) for each, in the order of type ids. An encode function
// is a template over the Search (search-inl.h) that it looks for scales with; no_encoder stands for none.
#pragma once

#include "quant/floats.h"
#include "quant/fp4.h"
#include "quant/iq1.h"
#include "quant/iq2.h"
#include "quant/iq3.h"
#include "quant/iq4.h"
#include "quant/q2_k.h"
#include "quant/q3_k.h"
#include "quant/q4.h"
#include "quant/q4_k.h"
#include "quant/q5.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8.h"
#include "quant/ternary.h"

namespace lora {
template <class Search>
inline constexpr void (*no_encoder)(std::byte*, const float*, int64_t, const float*) = nullptr;
}

#define LORA_FOR_EACH_FORMAT(X)                                     \
  X(F32, 1, 4, decode_f32, encode_f32)                              \
  X(F16, 1, 2, decode_f16, encode_f16)                              \
  X(Q4_0, 32, sizeof(BlockQ4_0), decode_q4_0, encode_q4_0)          \
  X(Q4_1, 32, sizeof(BlockQ4_1), decode_q4_1, encode_q4_1)          \
  X(Q5_0, 32, sizeof(BlockQ5_0), decode_q5_0, encode_q5_0)          \
  X(Q5_1, 32, sizeof(BlockQ5_1), decode_q5_1, encode_q5_1)          \
  X(Q8_0, 32, sizeof(BlockQ8_0), decode_q8_0, encode_q8_0)          \
  X(Q2_K, 256, sizeof(BlockQ2_K), decode_q2_k, encode_q2_k)         \
  X(Q3_K, 256, sizeof(BlockQ3_K), decode_q3_k, encode_q3_k)         \
  X(Q4_K, 256, sizeof(BlockQ4_K), decode_q4_k, encode_q4_k)         \
  X(Q5_K, 256, sizeof(BlockQ5_K), decode_q5_k, encode_q5_k)         \
  X(Q6_K, 256, sizeof(BlockQ6_K), decode_q6_k, encode_q6_k)         \
  X(IQ2_XXS, 256, sizeof(BlockIQ2_XXS), decode_iq2_xxs, no_encoder) \
  X(IQ2_XS, 256, sizeof(BlockIQ2_XS), decode_iq2_xs, no_encoder)    \
  X(IQ3_XXS, 256, sizeof(BlockIQ3_XXS), decode_iq3_xxs, no_encoder) \
  X(IQ1_S, 256, sizeof(BlockIQ1_S), decode_iq1_s, no_encoder)       \
  X(IQ4_NL, 32, sizeof(BlockIQ4_NL), decode_iq4_nl, encode_iq4_nl)  \
  X(IQ3_S, 256, sizeof(BlockIQ3_S), decode_iq3_s, no_encoder)       \
  X(IQ2_S, 256, sizeof(BlockIQ2_S), decode_iq2_s, no_encoder)       \
  X(IQ4_XS, 256, sizeof(BlockIQ4_XS), decode_iq4_xs, encode_iq4_xs) \
  X(IQ1_M, 256, sizeof(BlockIQ1_M), decode_iq1_m, no_encoder)       \
  X(BF16, 1, 2, decode_bf16, encode_bf16)                           \
  X(TQ1_0, 256, sizeof(BlockTQ1_0), decode_tq1_0, encode_tq1_0)     \
  X(TQ2_0, 256, sizeof(BlockTQ2_0), decode_tq2_0, encode_tq2_0)     \
  X(MXFP4, 32, sizeof(BlockMXFP4), decode_mxfp4, encode_mxfp4)      \
  X(NVFP4, 64, sizeof(BlockNVFP4), decode_nvfp4, no_encoder)
