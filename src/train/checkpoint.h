// What a run needs to go on as if it had never stopped: a GGUF with the adapter, the optimizer's
// moments, the place in the data and the settings that must not change.
//
//   general.type "checkpoint"   general.architecture
//   lora_cpp.checkpoint.version u32, .iteration u64, .cursor u64, .seed u64, .alpha f32
//   lora_cpp.setting.NAME string, for each setting that decides the numbers
//   tensors BASE.lora_a, BASE.lora_b and their moments BASE.lora_a.m, .v ..., F32, laid out as in an adapter
//
// Random numbers are functions of seed and place, so no generator's state is stored.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "adapter/parameters.h"
#include "model/model.h"

namespace lora {

using Settings = std::vector<std::pair<std::string, std::string>>;  // name, value

struct TrainState {
  int64_t iteration = 0;  // iterations done
  uint64_t cursor = 0;    // samples of the endless stream used
  uint64_t seed = 0;
};

void write_checkpoint(const std::string& path, const LoraParameters& parameters, const TrainState& state,
                      const Settings& settings, const Model& model);

// The seed a checkpoint was made with, needed before the parameters are.
uint64_t read_checkpoint_seed(const std::string& path);

// Fills values and moments of `parameters` and returns the state. Error naming the first setting, tensor or
// shape that differs, with both values, or what is wrong with the file.
TrainState read_checkpoint(const std::string& path, LoraParameters& parameters, const Settings& settings);

// A number that tells models apart: header, tensor table and samples of each tensor's data, so that a
// file of any size takes no time.
uint64_t fingerprint(const Gguf& gguf);

}  // namespace lora
