#include "base/large_pages.h"

#include <sys/mman.h>

#include "base/system_file.h"

namespace lora {
namespace {

#ifdef MADV_HUGEPAGE
constexpr int kAdvice = MADV_HUGEPAGE;
#else
constexpr int kAdvice = MADV_NORMAL;
#endif

}  // namespace

void prefer_large_pages(const void* begin, int64_t bytes) {
  constexpr int64_t kWorthwhile = 4 << 20;
  if (bytes < kWorthwhile) return;
  const uintptr_t page = page_bytes(), first = reinterpret_cast<uintptr_t>(begin) / page * page;
  // Without large pages nothing changes but the time.
  ::madvise(reinterpret_cast<void*>(first), reinterpret_cast<uintptr_t>(begin) + uintptr_t(bytes) - first,
            kAdvice);
}

}  // namespace lora
