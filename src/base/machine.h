// What machine this process runs on and what it may use of it: cores, instruction sets, memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lora {

// Physical cores this process may run on: its affinity mask and the processor quotas of its control groups
// are respected, hyper-threads of one core count once. At least 1.
int physical_cores();
// Processors that threads of this process can run on, hyper-threads and all; at least 1.
int logical_processors();
// For a thread that works beside others, numbered from 1: spreads them over groups of processors, where the
// system keeps a thread to one.
void place_worker(int worker);
// For a program's first thread, at its start: where memory is in several places, each near to some of the
// processors that this process may run on, pages come from all of these places in turn. Any thread takes any
// task, so none of them would be the right one. Nothing changes where the user has set a policy.
void spread_pages();
// Seconds that a processor has worked for the calling thread.
double thread_cpu_seconds();
// The steps in which that grows.
double thread_cpu_step();

// Instruction-set extensions that both the CPU and the operating system support. `amx` also asks
// the kernel for permission to use the tile registers (Linux grants it per process).
struct CpuFeatures {
  bool avx2 = false;      // with FMA, F16C, BMI2
  bool avx512 = false;    // F, BW, CD, DQ, VL
  bool avx_vnni = false;  // VNNI at 256 bits, encoded without AVX-512
  bool avx512_bf16 = false;
  bool avx512_bf16_is_slow = false;  // does fewer operations a second than f32's instructions
  bool avx512_vnni = false;
  bool amx_bf16 = false;
  bool amx_int8 = false;
  bool neon = false;
  bool neon_dot = false;  // SDOT, UDOT
};
const CpuFeatures& cpu_features();
// What of it the system has to say: whether this process may use the tile registers, for which it is asked
// now; whether there are dot products of bytes, on 64-bit ARM.
bool system_lets_use_tiles();
bool system_has_dot_products();

// Bytes that could be allocated now without swapping while so many bytes of mapped files stay in memory,
// within the limits of this process: its control groups (base/posix/limits.h), its address space (ulimit -v,
// -d). nullopt: cannot tell.
std::optional<uint64_t> available_memory(uint64_t file_bytes = 0);
// Error "memory: WHAT need … (WAY_OUT)" unless so many bytes are available; what cannot be told is let pass,
// and ends in std::bad_alloc at worst where the system has a limit.
void expect_memory(std::string_view what, uint64_t bytes, std::string_view way_out);
// 0 where the system does not tell: bytes of this process's resident pages that are not file mappings
// (RssAnon), and all of them (VmRSS).
uint64_t resident_anonymous_bytes();
uint64_t resident_bytes();
// Of file mappings (RssFile), and the most that all of them have been so far (VmHWM).
uint64_t resident_file_bytes();
uint64_t peak_resident_bytes();

}  // namespace lora
