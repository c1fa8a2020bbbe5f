// LoRAs that begin with a part of the base's own weights. PEFT takes that part out of the base as it adds the
// adapter, and again when it loads it, so that what is trained and used is
//
//   W - c P W + scale B A      P = Q Q^T, a projection onto `rank` directions, c > 0
//
//   PiSSA (Meng, Wang and Zhang, 2024): P W is W's `rank` largest singular components, c = 1
//   OLoRA (Bueyuekakyuez, 2024): the first `rank` columns of Q and rows of R in W = Q R, c = scale
//
// On the plain base this is a LoRA of twice the rank, A' = [A; Q^T W], B' = [B, -c/scale Q]. The weights must
// be those that the training started from: of a quantized base the components are others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/peft_config.h"
#include "base/parallel.h"

namespace lora {

// The pair as one of a plain LoRA. A pair of the token embedding began with zeros, and stays. `scale` is its
// scale in PEFT. Error naming `path` and the tensor where the start is not defined.
void make_plain(LoraPair& pair, LoraStart start, double scale, const BaseWeight& weight_of, ThreadPool& pool,
                const std::string& path);

// `rank` directions Q as rows, (rank, n_out), and Q^T W, (rank, n_in), balanced: directions times a,
// projected times 1 / a, per row. Rows beyond min(n_out, n_in) are zeros.
struct Projection {
  std::vector<float> directions, projected;
};
Projection principal_part(const std::vector<float>& w, int64_t n_out, int64_t n_in, int64_t rank,
                          ThreadPool& pool);
// Error if W's first columns depend on each other.
Projection first_columns_part(const std::vector<float>& w, int64_t n_out, int64_t n_in, int64_t rank,
                              ThreadPool& pool);

}  // namespace lora
