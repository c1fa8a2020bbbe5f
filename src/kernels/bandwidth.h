// How fast this machine moves bytes when it does nothing else: what shares of bandwidth refer to.
#pragma once

#include <cstdint>
#include <span>

#include "base/parallel.h"
#include "quant/types.h"

namespace lora {

// Bytes per second when all threads read all weights once, the best of several times: what generation, which
// reads every weight for every token, is bound by. Weights that fit a cache are read from there.
double read_bandwidth(std::span<const MatrixView* const> weights, ThreadPool& pool);

// Bytes read and written per second when the calling thread copies one half of so many bytes to the other,
// again and again; the best of several times.
double copy_bandwidth(int64_t bytes);

// Seconds to decode all weights once into the cache, the better of two times.
double decode_seconds(std::span<const MatrixView* const> weights, ThreadPool& pool);

}  // namespace lora
