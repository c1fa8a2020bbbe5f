#include "base/large_pages.h"

#include <sys/mman.h>
#include <unistd.h>

namespace lora {

void prefer_large_pages([[maybe_unused]] void* begin, [[maybe_unused]] int64_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr int64_t kWorthwhile = 4 << 20;
  if (bytes < kWorthwhile) return;
  const auto page = uintptr_t(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = reinterpret_cast<uintptr_t>(begin) / page * page;
  // Without large pages nothing changes but the time.
  ::madvise(reinterpret_cast<void*>(first), reinterpret_cast<uintptr_t>(begin) + uintptr_t(bytes) - first,
            MADV_HUGEPAGE);
#endif
}

}  // namespace lora
