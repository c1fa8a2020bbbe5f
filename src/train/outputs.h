// Looked at before hours of training, not after them: whether the results can be written, and where.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/options.h"

namespace lora {

// `pattern` in `name` replaced by `value`, everywhere.
std::string fill_pattern(std::string name, const std::string& pattern, const std::string& value);

// The files that a save at this iteration writes for lora_out or checkpoint_out: the numbered one, then the
// latest; one if the name holds no pattern, none if it is empty.
std::vector<std::string> output_paths(const FinetuneOptions& options, const std::string& name,
                                      int64_t iteration);

// The file of the best adapter: BEST in place of the pattern in lora_out or, without one, -BEST before its
// extension.
std::string best_path(const FinetuneOptions& options);

// checkpoint_in: what the run goes on from, "" if nothing. Error naming the flag or the file if an output
// would overwrite an input or another output, or if it could not be created. Leaves no file behind.
void check_outputs(const FinetuneOptions& options, const std::string& checkpoint_in, int64_t last_iteration);

}  // namespace lora
