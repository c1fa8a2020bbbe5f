// Writes a run's adapters and checkpoints under the names that the options give them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "train/setup.h"

namespace lora {

struct Saved {
  std::string lora_path, checkpoint_path;  // the last one written of each; empty: none
  std::string error;                       // the first file's that could not be written; empty: all were
};

// Every file is written whole or not at all, one that fails does not keep the others from being written.
// Error, and nothing is written, if the values are not finite.
Saved save(const Setup& setup);

// With options.keep: removes this run's numbered checkpoints and adapters beyond the last so many. For after
// a save() that wrote all: newer files, other runs' and the checkpoint that the options name stay. Returns
// those that could not be removed.
std::vector<std::string> remove_older(const Setup& setup);

// A save writes the adapters after the checkpoint: where a run that is resumed from a checkpoint of its own
// outputs was killed in between, they are written now. Returns those that were not there, or were of another
// run; the latest one is written in any case, since there it would be an older one. Error if one cannot be
// written.
std::vector<std::string> write_missing_adapters(const Setup& setup);

// The latest checkpoint of a run that begins: from then on it finds its place. Where it begins over adapters
// of another run, its own stand in for the latest and the best of them, so that they are known as its own.
// Error if one cannot be written. Returns the checkpoint's path, "" if there is none.
std::string save_beginning(const Setup& setup);

// The adapter alone, for the best held-out loss so far. Error if it cannot be written.
void save_best(const Setup& setup);

// The adapter of the checkpoint `path`, under the names of its iteration. Error if there is none ("") or it
// is of another model, or if another run's file is in the way. Returns the last path written, and says
// through `iteration` whose it is.
std::string write_adapter_of_checkpoint(const FinetuneOptions& options, const std::string& path,
                                        int64_t& iteration, const Say& say);

}  // namespace lora
