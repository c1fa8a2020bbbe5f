// What a run needs to go on as if it had never stopped: a GGUF with the adapter, the optimizer's
// state, the place in the data and the settings that must not change.
//
//   general.type "checkpoint"   general.architecture
//   lora_cpp.checkpoint.version u32, .iteration u64, .alpha f32, .rslora bool, .optimizer "adam" or "lbfgs"
//     .seed u64                          key of every random stream but the shuffle's
//     .cursor u64                        samples used
//     .shuffle_seed, .shuffle_begin u64  the order in use, and the cursor at which it began
//     .losses f64[], .best_loss f64, .n_no_improvement u64   for the convergence tests
//     .val_loss_before, .best_val_loss, .last_val_loss f64   of Evaluations, each if there was one
//     .best_iteration, .last_val_iteration, .n_no_better u64, .sample_prompt, .sample_before, .sample_best
//     string                             absent: 0, ""
//     .evaluation_due bool               the held-out loss of this iteration is still to be found; absent: no
//   lora_cpp.setting.NAME string, for each setting that decides the numbers
//   lora_cpp.changeable.NAME string, for each that does, too, and may change on resume
//   tensors, F32, for every base tensor: BASE.lora_a, ne = {n_in, rank}, and BASE.lora_b, ne = {rank, n_out};
//     with Adam each with its moments, BASE.lora_a.m and .v;
//     with L-BFGS lbfgs.N.s and lbfgs.N.y, oldest pair first
//   the tensor "checksum", the file's last: see GgufWriter::write
//
// Random numbers are functions of key and place, so no generator's state is stored.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapter/parameters.h"
#include "gguf/fingerprint.h"
#include "model/model.h"
#include "train/convergence.h"
#include "train/held_out.h"
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
  Evaluations evaluations;
  bool evaluation_due = false;
  Settings changeable;  // changeable_settings() of what trained last
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
// What tells whose it is, from the metadata alone.
struct CheckpointHead {
  int64_t iteration = 0;
  Settings settings;
};
CheckpointHead read_checkpoint_head(const std::string& path);
// The same in two steps, of bytes in memory: `path` is for messages.
void verify_checkpoint(std::span<const std::byte> bytes, const Gguf& gguf);
Checkpoint parse_checkpoint(const Gguf& gguf);

// A setting; "" if there is none of that name. As a number: Error naming the file and the setting if it is
// none.
std::string setting(const Checkpoint& checkpoint, std::string_view name);
double number_setting(const Checkpoint& checkpoint, const std::string& path, std::string_view name);

// What tells runs apart, in the fact "run" of their adapters: 16 hex digits of the settings in any order.
// They hold model, data and seed, and stay the same while a run goes on, whatever else it is given.
std::string run_id(Settings settings);

// The ways out where files of another run are in the way.
inline constexpr std::string_view kWaysOut =
    "--checkpoint-in '' begins anew: over these files or, with other names in --checkpoint-out and "
    "--lora-out, "
    "beside them";

// Error naming the first setting in which a checkpoint differs from a run, with both values and the ways out.
// While the data is not read yet, the run's settings may lack it. `typed`: what the run's user calls a
// setting.
void expect_fits(
    const Settings& checkpoint, const std::string& path, const Settings& run,
    const std::function<std::string(std::string_view setting)>& typed = [](std::string_view setting) {
      return std::string(setting);
    });
// The same for tensors and ranks.
void expect_fits(const Checkpoint& checkpoint, const std::string& path, const LoraParameters& parameters);

}  // namespace lora
