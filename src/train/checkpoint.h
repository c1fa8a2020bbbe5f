// What a run needs to go on as if it had never stopped: a GGUF with the adapter, the optimizer's
// state, the place in the data and the settings that must not change.
//
//   general.type "checkpoint"   general.architecture
//   lora_cpp.checkpoint.version u32, .iteration u64, .alpha f32, .rslora bool, .optimizer "adam" or "lbfgs"
//     .seed u64                          key of every random stream but the shuffle's
//     .cursor u64                        samples used
//     .shuffle_seed, .shuffle_begin u64  the order in use, and the cursor at which it began
//     .losses f64[], .best_loss f64, .n_no_improvement u64   for the convergence tests
//     .best_val_loss f64                 the lowest held-out loss, if there was one
//     .evaluation_due bool               the held-out loss of this iteration is still to be found; absent: no
//   lora_cpp.setting.NAME string, for each setting that decides the numbers
//   tensors, F32: BASE.lora_a ne = {n_in, rank} and BASE.lora_b ne = {rank, n_out} for every base tensor,
//   with
//     Adam each with its moments, BASE.lora_a.m and .v; with L-BFGS lbfgs.N.s and lbfgs.N.y, oldest pair
//     first
//   the tensor "checksum", the file's last: see GgufWriter::write
//
// Random numbers are functions of key and place, so no generator's state is stored.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapter/parameters.h"
#include "model/model.h"
#include "train/convergence.h"
#include "train/lbfgs.h"
#include "train/options.h"

namespace lora {

using Settings = std::vector<std::pair<std::string, std::string>>;  // name, value

struct TrainState {
  int64_t iteration = 0;  // iterations done
  uint64_t cursor = 0;    // samples of the endless stream used
  uint64_t seed = 0;
  uint64_t shuffle_seed = 0, shuffle_begin = 0;
  Convergence convergence;
  std::optional<double> best_val_loss;
  bool evaluation_due = false;
};

struct Checkpoint {
  TrainState state;
  Settings settings;
  Optimizer optimizer = Optimizer::adam;
  std::string architecture;
  LoraParameters parameters;
  LbfgsHistory lbfgs;
};

// Whole or not at all, on the disk when it returns (base/file.h).
void write_checkpoint(const std::string& path, const TrainState& state, const Settings& settings,
                      Optimizer optimizer, const LoraParameters& parameters, const LbfgsHistory& lbfgs,
                      const Model& model);

// Error naming the file and what is wrong with it, a checksum that does not agree included.
Checkpoint read_checkpoint(const std::string& path);
// The same in two steps, of bytes in memory: `path` is for messages.
void verify_checkpoint(std::span<const std::byte> bytes, const Gguf& gguf);
Checkpoint parse_checkpoint(const Gguf& gguf);

// A setting; "" if there is none of that name. As a number: Error naming the file and the setting if it is
// none.
std::string setting(const Checkpoint& checkpoint, std::string_view name);
double number_setting(const Checkpoint& checkpoint, const std::string& path, std::string_view name);

// Error naming the first setting, tensor or rank in which a checkpoint differs from a run, with both values.
void expect_fits(const Checkpoint& checkpoint, const std::string& path, const Settings& settings,
                 const LoraParameters& parameters);

// A number that tells models apart: metadata, tensor table and samples of each tensor's data, so that a
// file of any size takes no time.
uint64_t fingerprint(const Gguf& gguf);

}  // namespace lora
