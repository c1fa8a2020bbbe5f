// Where config.json and the weights say different things.
#pragma once

#include <functional>
#include <string_view>

#include "convert/hf_config.h"
#include "convert/hf_weights.h"

namespace lora {

// What the weights say wins, with a line about it: how many tokens there are (rows of the embedding), whether
// the output is a matrix of its own (then `tied` is false, else true), whether there are biases. A
// config.json with other sizes than these is of another model, for all that is known: conversion refuses it
// (convert/plan.h). Error if GGUF's architecture cannot have the output that is there.
void trust_weights(HfConfig& config, const HfWeights& weights,
                   const std::function<void(std::string_view)>& say);

}  // namespace lora
