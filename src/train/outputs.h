// Looked at before hours of training, not after them: whether the results can be written, and where.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/output.h"
#include "train/name_pattern.h"
#include "train/options.h"

namespace lora {

// The files that a save at this iteration writes for lora_out or checkpoint_out: the numbered one, then the
// latest; one if the name holds no pattern, none if it is empty.
std::vector<std::string> output_paths(const FinetuneOptions& options, const std::string& name,
                                      int64_t iteration);

// Whether the files of this output have numbers: the pattern is in its name, not in that of its folder.
bool has_number(const FinetuneOptions& options, const std::string& name);

// The file of the best adapter: best_out, or BEST in place of the pattern in lora_out or, without one, -BEST
// before its extension.
std::string best_path(const FinetuneOptions& options);

// The right to write what a run of these options writes, before anything is read: the latest adapter and
// checkpoint (which stand for the numbered ones), the best adapter, the metrics. Removes what killed runs
// left of any file of these patterns. checkpoint_in: what the run goes on from, "" if nothing. Error naming
// the flag or the file if an output would overwrite an input or another output, if it could not be written,
// is held by somebody, or if the metrics are another kind of file.
std::vector<Hold> hold_outputs(const FinetuneOptions& options, const std::string& checkpoint_in,
                               const Say& say);

// The same for the files of the last iteration, once that is known. Leaves no file behind.
void check_outputs(const FinetuneOptions& options, const std::string& checkpoint_in, int64_t last_iteration);

}  // namespace lora
