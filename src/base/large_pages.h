// Large pages for memory that is used whole, across rows that lie kilobytes apart: with small ones each row
// costs a walk through the page tables.
#pragma once

#include <cstdint>

namespace lora {

// Asks the system for them, where it has any; up to one of them (2 MB) more may be taken.
void prefer_large_pages(const void* begin, int64_t bytes);

}  // namespace lora
