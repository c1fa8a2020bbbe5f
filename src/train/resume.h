// Where a run goes on, and whose the files are that stand under its names.
//
//   --checkpoint-in ''      begins anew; what is in the way is written over, as was said
//   --checkpoint-in FILE    goes on from it. Without the flag, or where FILE is missing:
//   the LATEST of --checkpoint-out, else checkpoint.gguf (without the flag), else the run begins. With
//   --only-write-lora a FILE that is missing stands for nothing else
//
// A run that begins writes over no file that another left; one that goes on over none but its own.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "train/checkpoint.h"
#include "train/options.h"

namespace lora {

struct Resume {
  std::string path = {};                     // the checkpoint to go on from; empty: the run begins
  bool overwrites = false;                   // begun anew by --checkpoint-in ''
  std::vector<std::string> looked_for = {};  // where none of them is there
};
Resume find_checkpoint(const FinetuneOptions& options);

// What read(path) gives of a checkpoint. One that was found, not named, may be anything: then an Error says
// the ways out, too.
template <class Read>
auto read_found(const FinetuneOptions& options, const std::string& path, const Read& read) {
  try {
    return read(path);
  } catch (const Error& e) {
    if (options.checkpoint_in == path) throw;
    fail("{}; {}", e.what(), kWaysOut);
  }
}

// Files that stand under an output's name already: the latest or only one, and numbered ones. Empty files are
// none: nothing is lost with them.
std::vector<std::string> files_of(const FinetuneOptions& options, const std::string& name);

// Those of lora_out and, with save_best, the best.
std::vector<std::string> adapters_of(const FinetuneOptions& options);

// Those of files_of() that have the number of an iteration in place of the pattern, by it.
std::map<int64_t, std::string> numbered_files(const FinetuneOptions& options, const std::string& name);

// For a run that begins. Error naming the first file in its way, and the ways out.
void expect_no_files(const FinetuneOptions& options);

// For one that goes on from iteration `iteration` of a checkpoint: `run` with all settings. Error naming the
// first file that is another run's, the metrics included. Returns a line about its own latest checkpoint if
// that is further on than the one to go on from, else "".
std::string expect_own_files(const FinetuneOptions& options, const std::string& checkpoint, int64_t iteration,
                             const Settings& run);

// The same for the adapters alone: each must say that it is of the run with these settings.
void expect_own_adapters(const FinetuneOptions& options, const std::string& checkpoint, const Settings& run);

// Whether a file is an adapter, or a checkpoint, of the run of this id.
bool is_adapter_of(const std::string& id, const std::string& path);
bool is_checkpoint_of(const std::string& id, const std::string& path);

}  // namespace lora
