// What differs between model families: one file and one row in architectures() each. A file's
// general.architecture chooses the row.
#pragma once

#include <span>
#include <string_view>

#include "arch/keys.h"
#include "arch/spec.h"
#include "kernels/rope/rope.h"

namespace lora {

struct HfFamily;
struct ModelConfig;

// Whether positions are told by turning heads; as_said: unless rope.scaling.finetuned is false.
enum class HasRope { yes, no, as_said };

// What layers' gradients need where training multiplies in 8-bit integers, activations having two bytes, so
// that adapters' keep a cosine of 0.999 to f32's (tests/families_test.cc). `floats`: then it does so on
// demand only.
enum class GradientBytes { one, two, floats };

struct Architecture {
  std::string_view name;    // general.architecture, and the prefix of its keys: "llama.block_count"
  std::string_view models;  // of the family, as people call them; README lists them
  RopeStyle rope_style = RopeStyle::halves;
  HasRope has_rope = HasRope::yes;
  bool layers_differ =
      false;  // in heads and in the width of MLPs: the file has arrays, and 0 where there is none
  NormKind norm = NormKind::rms;  // of all norms but where a layer says otherwise; chooses the key of epsilon
  std::string_view output_norm = "output_norm";  // the tensor of that behind the layers
  // The family's own keys and constants, after those that all have in common; nullptr: it has none.
  void (*read)(const Keys& keys, ModelConfig& config) = nullptr;
  bool own_value_length = false;  // read() knows what values of another length than keys' are
  GradientBytes gradient_bytes = GradientBytes::one;
  LayerSpec (*layer)(const ModelConfig& config, int64_t i);
  const HfFamily* hf = nullptr;  // how Hugging Face has it (arch/hf.h)
};

// Families that are known by name alone: an error about one says why it is not supported.
struct NotComputed {
  std::string_view name;     // as in Architecture; "" where GGUF has no name of its own
  std::string_view classes;  // in config.json, one behind the other
  std::string_view models;
  std::string_view why;
};
std::span<const NotComputed> not_computed();
// By either name; nullptr for any other.
const NotComputed* find_not_computed(std::string_view architecture_or_class);

std::span<const Architecture* const> architectures();
const Architecture* find_architecture(std::string_view name);  // nullptr if unknown

}  // namespace lora
