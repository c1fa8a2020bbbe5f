// How fast this machine goes through a model's weights without computing with them.
#pragma once

#include <span>

#include "base/parallel.h"
#include "quant/types.h"

namespace lora {

// Bytes per second when all threads read all weights once, the best of several times: what generation, which
// reads every weight for every token, is bound by. Weights that fit a cache are read from there.
double read_bandwidth(std::span<const MatrixView* const> weights, ThreadPool& pool);

// Seconds to decode all weights once into the cache, the better of two times.
double decode_seconds(std::span<const MatrixView* const> weights, ThreadPool& pool);

}  // namespace lora
