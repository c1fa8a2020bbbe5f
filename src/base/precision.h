// What numbers a matrix multiplication reads. It accumulates in f32 whatever this says. Generation
// reads 8-bit integers unless this is f32 (kernels/dot, kernels/gemm_int8); training does with int8.
#pragma once

namespace lora {

enum class Precision {
  f32,
  bf16,
  int8,  // quantized weights times rounded activations and gradients; what stays in floats: as automatic
  // bf16 where the CPU has instructions that are faster than f32's (prefers_bf16()), else f32; in training
  // int8 where it is the fastest and loses no more than bf16 (prefers_int8_training())
  automatic,
};

}  // namespace lora
