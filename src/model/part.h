// Which part of a network a process computes, where several have one together, in a pipeline (Huang et al.,
// "GPipe", 2019): layers in a row, with the embedding below the first and the head above the last. Each part
// gives the next one what its last layer gives, and gets the gradient of that.
#pragma once

#include <cstdint>
#include <vector>

#include "model/model.h"

namespace lora {

// Layers of the model, beginning at 0.
struct LayerRange {
  int64_t begin = 0, n = 0;

  int64_t end() const { return begin + n; }
  bool operator==(const LayerRange&) const = default;
};

struct NetworkPart {
  LayerRange layers;
  bool has_embedding = true, has_head = true;
  // Batches that may be between their forward and their backward pass; 0: none, one follows the other.
  int64_t n_flight = 0;

  bool is_whole() const { return has_embedding && has_head; }
};

// n parts whose weights (layers' and the output's) are as near to one another in bytes as can be, cut where
// nothing but the stream goes from layer to layer: those that share keys and values stay together. Error if
// there are not so many such places.
std::vector<NetworkPart> network_parts(const Model& model, int64_t n);

// The part of one of n processes in a row that have no backward pass: one batch is computed while another is
// sent.
NetworkPart forward_part(const Model& model, int64_t n, int rank);

// Bytes of the file that a part reads, its rows of the embedding counted as all of them.
uint64_t weight_bytes(const Model& model, const NetworkPart& part);

// Whether anything is trained below a part: then it owes the gradient of what came in.
bool passes_down(const Model& model, const NetworkPart& part);
// Whether a part has a backward pass: something is trained in it or below.
bool goes_back(const Model& model, const NetworkPart& part);

}  // namespace lora
