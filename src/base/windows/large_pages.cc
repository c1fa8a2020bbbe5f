#include "base/large_pages.h"

namespace lora {

// Windows has them for whom an administrator lets lock memory, when memory is taken; memory that is there
// cannot have them.
void prefer_large_pages(const void*, int64_t) {}

}  // namespace lora
