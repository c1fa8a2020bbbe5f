#include "kernels/dot/int8.h"

#include "base/machine.h"
#include "kernels/isa.h"

namespace lora {

Int8Dot int8_dot(Type type) {
  const CpuFeatures& cpu = cpu_features();
  switch (isa()) {
    case Isa::scalar:
      return nullptr;
    case Isa::avx2:
      return has_avx_vnni() ? avx_vnni_int8_dot(type) : avx2_int8_dot(type);
    case Isa::avx512:
    case Isa::amx:
      return cpu.avx512_vnni ? avx512_vnni_int8_dot(type) : avx2_int8_dot(type);
    case Isa::neon:
      return cpu.neon_dot ? neon_int8_dot(type) : nullptr;
  }
  return nullptr;
}

}  // namespace lora
