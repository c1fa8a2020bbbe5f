#include "model/part.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "model/network.h"
#include "model/weight_prefetch.h"

namespace lora {
namespace {

// Whether nothing but the stream goes into layer b, for each b.
std::vector<bool> cuts_of(const Model& model) {
  const size_t n_layer = model.layers.size();
  std::vector<bool> can_cut(n_layer, true);
  std::vector<size_t> writer(kv_slots(model), n_layer);
  for (size_t i = 0; i < n_layer; ++i) {
    for_each_attention(model.layers[i], [&](const Attention& a) {
      if (a.form.kv_slot < 0) return;
      size_t& from = writer[size_t(a.form.kv_slot)];
      if (a.has_k()) from = i;
      for (size_t b = from + 1; b <= i; ++b) can_cut[b] = false;
    });
  }
  return can_cut;
}

// Bytes of the largest part so far, and what tells equal ones apart: the sum of squares.
using Cost = std::pair<double, double>;

}  // namespace

std::vector<NetworkPart> network_parts(const Model& model, int64_t n) {
  const auto n_layer = int64_t(model.layers.size());
  const std::vector<bool> can_cut = cuts_of(model);
  const int64_t most = n_layer == 0 ? 0 : 1 + std::count(can_cut.begin() + 1, can_cut.end(), true);
  if (n < 1 || n > most) {
    fail("--pipeline: {} stages: the {} layers of {} can be parted into {} at most{}", n, n_layer,
         model.gguf.path(), most, most < n_layer ? " (those that share keys and values stay together)" : "");
  }
  std::vector<double> below = {0};  // bytes of the layers below each, the head's with the last
  for (const StageWeights& stage : stage_weights(model, model.layers))
    below.push_back(below.back() + double(stage.bytes()));
  below[size_t(n_layer)] = below.back();

  // cost[p][e]: of p + 1 parts that end below layer e.
  std::vector cost(size_t(n), std::vector<Cost>(size_t(n_layer) + 1));
  std::vector from(size_t(n), std::vector<int64_t>(size_t(n_layer) + 1, -1));
  for (int64_t p = 0; p < n; ++p) {
    for (int64_t e = 1; e <= n_layer; ++e) {
      for (int64_t b = p == 0 ? 0 : 1; b < (p == 0 ? 1 : e); ++b) {
        if (!can_cut[size_t(b)] || (p > 0 && from[size_t(p - 1)][size_t(b)] < 0)) continue;
        const double bytes = below[size_t(e)] - below[size_t(b)];
        const Cost before = p == 0 ? Cost{} : cost[size_t(p - 1)][size_t(b)];
        const Cost now = {std::max(before.first, bytes), before.second + bytes * bytes};
        if (from[size_t(p)][size_t(e)] >= 0 && cost[size_t(p)][size_t(e)] <= now) continue;
        cost[size_t(p)][size_t(e)] = now;
        from[size_t(p)][size_t(e)] = b;
      }
    }
  }
  std::vector<NetworkPart> parts(static_cast<size_t>(n));
  int64_t end = n_layer;
  for (int64_t p = n; p-- > 0;) {
    const int64_t begin = from[size_t(p)][size_t(end)];
    // One for each part from here up (Narayanan et al., "PipeDream-Flush" in "Memory-Efficient
    // Pipeline-Parallel DNN Training", 2021).
    parts[size_t(p)] = {{begin, end - begin}, p == 0, p == n - 1, n == 1 ? 0 : n - p};
    end = begin;
  }
  return parts;
}

NetworkPart forward_part(const Model& model, int64_t n, int rank) {
  NetworkPart part = network_parts(model, n)[size_t(rank)];
  part.n_flight = part.is_whole() ? 0 : 2;
  return part;
}

uint64_t weight_bytes(const Model& model, const NetworkPart& part) {
  if (part.is_whole()) return model.gguf.file_bytes();
  const MatrixView& table = model.embedding.table;
  const bool has_table = part.has_embedding || reads_embedding(model);
  return weight_bytes(stage_weights(model, part)) +
         (has_table ? uint64_t(table.n_rows) * uint64_t(table.row_bytes()) : 0);
}

bool passes_down(const Model& model, const NetworkPart& part) {
  return !part.has_embedding && layers_below(model, model.layers) < part.layers.begin;
}

bool goes_back(const Model& model, const NetworkPart& part) {
  return part.has_head || layers_below(model, model.layers) < part.layers.end();
}

}  // namespace lora
