// VPDPBUSD at 256 bits as processors without AVX-512 encode it (AVX-VNNI). With LORA_EMULATE_AVX_VNNI, in a
// test's build, as those with AVX-512 do: the same results, on other machines.
#pragma once

#ifdef LORA_EMULATE_AVX_VNNI
#define LORA_VPDPBUSD _mm256_dpbusd_epi32
#define LORA_VPDPBUSD_TARGET "avx512f,avx512vl,avx512vnni"
#else
#define LORA_VPDPBUSD _mm256_dpbusd_avx_epi32
#define LORA_VPDPBUSD_TARGET "avxvnni"
#endif
