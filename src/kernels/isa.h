// Which kernel set the process computes with. Chosen once: LORA_ISA if set, else the best that
// the CPU, the operating system and this build support.
//
//   scalar  the plain references beside each kernel
//   avx2    Highway, 256-bit
//   avx512  Highway, 512-bit (F BW CD DQ VL), and bf16 GEMMs on AVX512-BF16 where the CPU has it
//   amx     avx512, and bf16 GEMMs on the tile unit
//   neon    Highway, ARM
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lora {

enum class Isa { scalar, avx2, avx512, amx, neon };

std::string_view name(Isa isa);

// The sets this build has, and of these the ones this machine can run, weakest first.
std::vector<Isa> built_isas();
std::vector<Isa> supported_isas();

// The set in use. The first call reads LORA_ISA (Error "LORA_ISA=x: not supported by this CPU or
// build" for an unknown or unsupported one) and restricts Highway's dispatch to it. Every kernel
// entry calls this before its first HWY_DYNAMIC_DISPATCH.
Isa isa();

// Whether bf16 GEMMs run on bf16 instructions, and whether these are faster than f32's (what --precision auto
// asks).
bool has_native_bf16();
bool prefers_bf16();
// Whether a unit multiplies tiles of bf16, several times as fast as vectors of anything.
bool has_bf16_tiles();
// Whether the AVX512-BF16 instructions may be used.
bool has_avx512_bf16();
// Whether VPDPBUSD may be used at 256 bits, in its encoding without AVX-512.
bool has_avx_vnni();
// The set and those of its instructions that decide bits, for people: "avx2 with VNNI".
std::string instructions_text();

}  // namespace lora
