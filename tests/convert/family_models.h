// A small Hugging Face folder of any family, from its own table: every module with random numbers, and a
// config.json that names the sizes.
#pragma once

#include "arch/architecture.h"
#include "arch/hf_config.h"
#include "hf_models.h"

namespace lora::test {

// The families, and of each the class that its folder is of.
std::vector<const Architecture*> hf_families();
// hf_class: another of its classes.
HfModel family_model(const Architecture& family, int64_t n_layer = 2, std::string_view hf_class = "",
                     int64_t n_expert_ff = 40);
// What conversion reads of its config.json.
HfConfig config_of(const HfModel& model);

}  // namespace lora::test
