// What the scan does to numbers between its products: steps and decays of a chunk, tiles of pairs of tokens,
// rows of tokens, and single tokens. Tiles are (kSsdChunk, kSsdChunk) f32.
#pragma once

#include <cstdint>

namespace lora {

// Tokens of a chunk: a multiple of every micro-kernel's mr, nr and k_step. What lies within a chunk costs its
// length per token, a state at its end n_state * head_dim.
inline constexpr int64_t kSsdChunk = 96;

// One head over one chunk. s_t, the sum of dt a up to and with token t, is high + low: where a step is large,
// differences of later ones keep their digits.
struct SsdDecays {
  alignas(64) float dt[kSsdChunk];
  float high[kSsdChunk], low[kSsdChunk];
  float from_begin[kSsdChunk];  // exp(s_t)
  float to_end[kSsdChunk];      // exp(s_end - s_t) dt_t
  float whole;                  // exp(s_end)
};

// raw: dt before the bias and softplus, of n tokens, `row` apart. Behind them all is 0.
void ssd_decays(SsdDecays& decays, const float* raw, int64_t row, int64_t n, float a, float bias);

// tile[t][u] = pairs[t][u] exp(s_t - s_u) dt_u for u <= t, else 0; n rows, those behind are 0.
void ssd_weigh(float* tile, const float* pairs, const SsdDecays& decays, int64_t n);

// The same of tiles that are turned, rows u and columns t >= u, and what the backward pass makes of them:
// with pairs = B_u . C_t and products = x_u . dy_t,
//
//   tile[u][t] = pairs exp(s_t - s_u) dt_u        sums[u][t] += products exp(s_t - s_u) dt_u
//   ddt[u] = sum_t products pairs exp(s_t - s_u)
//   ds[t] += sum over u < t of products tile,  ds[u] -= sum over t > u of it
//
// Rows from n on, and columns before u and from n on, of `tile` are 0.
void ssd_weigh_backward(float* tile, float* sums, float* ddt, float* ds, const float* pairs,
                        const float* products, const SsdDecays& decays, int64_t n);

// y[t] = sums[t] + factors[t] more[t] + d x[t] of n rows of `dim`; factors nullptr: without more.
void ssd_store(float* y, int64_t y_row, const float* sums, const float* more, int64_t sums_row,
               const float* factors, float d, const float* x, int64_t x_row, int64_t n, int64_t dim);

// sum[t] += factors[t] from[t], dots[t] = from[t] . with[t], of n rows of `dim`.
void ssd_add_rows(float* sum, int64_t sum_row, float* dots, const float* from, int64_t from_row,
                  const float* factors, const float* with, int64_t with_row, int64_t n, int64_t dim);

// to = factor from, n numbers; to may be from.
void ssd_scale(float* to, const float* from, float factor, int64_t n);

double ssd_dot(const float* a, const float* b, int64_t n);

// One token of one head: h = decay h + b (dt x)^T, y = h^T c + d x. h: (n_state, dim).
void ssd_token(float* y, float* h, const float* x, const float* b, const float* c, float raw, float a,
               float bias, float d, int64_t n_state, int64_t dim);

// slope of softplus, 1 / (1 + exp(-x)).
float ssd_softplus_slope(float x);

}  // namespace lora
