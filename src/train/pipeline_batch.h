// A batch of samples as what a pipeline takes.
#pragma once

#include "data/batch.h"
#include "model/pipeline.h"

namespace lora {

// What `batch` is left with is nobody's.
inline void put(PipelineBatch& to, Batch& batch) {
  to.ids.swap(batch.inputs);
  to.targets.swap(batch.targets);
  to.positions.swap(batch.positions);
  to.segments.clear();
  for (const BatchSegment& s : batch.segments) to.segments.push_back({s.begin, s.length, s.begin, s.length});
}

}  // namespace lora
