// What attention does to the rows of a tile of scores, between its products. All tiles are (kTile, kTile)
// f32.
#pragma once

#include <cstdint>

#include "kernels/attention/tile.h"

namespace lora {

// softcap: of the scores, 0 for none. Scores become p = exp(score - maximum so far), 0 where masked; max and
// sum (kTile) go on, and factors (kTile) are what earlier sums must be multiplied by.
void softmax_rows(float* scores, float* max, float* sum, float* factors, const TileMask& mask, float softcap);

// sums ([dim / nr][kTile][nr]) *= factors, row by row.
void rescale_rows(float* sums, const float* factors, int64_t n_rows, const TileShape& s);

// From scores and dp, in place: p = exp(score - lse), ds = p (dp - delta), both 0 where masked and in the
// rows beyond the mask's. With a softcap, ds is times its slope.
void gradient_rows(float* scores, float* dp, const float* lse, const float* delta, const TileMask& mask,
                   float softcap);

// to[j][i] = from[i][j], i < n_rows.
void turn_tile(float* to, const float* from, int64_t n_rows);

// dots[r] = a_r . b_r for n rows of `dim` numbers, `row` apart.
void dot_of_rows(float* dots, const float* a, const float* b, int64_t row, int64_t n, int64_t dim);

}  // namespace lora
