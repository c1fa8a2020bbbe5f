#include "base/lost_pages.h"

#include <algorithm>
#include <atomic>

#include "base/windows/windows.h"

namespace lora {
namespace {

constexpr uintptr_t kZeros = uintptr_t{64} << 20;

// Zeros take their place one file at a time; until they have, other threads find nothing there.
std::atomic_flag is_replacing;

bool is_readable(uintptr_t address) {
  MEMORY_BASIC_INFORMATION info = {};
  return VirtualQuery(reinterpret_cast<void*>(address), &info, sizeof info) && info.State == MEM_COMMIT &&
         info.Protect == PAGE_READONLY;
}

LONG CALLBACK on_exception(EXCEPTION_POINTERS* pointers) {
  const EXCEPTION_RECORD& record = *pointers->ExceptionRecord;
  const bool is_page_error = record.ExceptionCode == EXCEPTION_IN_PAGE_ERROR;
  const bool is_bad_read = record.ExceptionCode == EXCEPTION_ACCESS_VIOLATION &&
                           record.NumberParameters >= 2 && record.ExceptionInformation[0] == 0;
  if ((!is_page_error && !is_bad_read) || record.NumberParameters < 2) return EXCEPTION_CONTINUE_SEARCH;
  const uintptr_t address = record.ExceptionInformation[1];
  while (is_replacing.test_and_set()) SwitchToThread();
  // Another thread may have met the same file's loss, and its zeros are there now.
  const bool goes_on =
      is_lost_mapping_at(address) ? is_readable(address) : is_page_error && lose_mapping_at(address);
  is_replacing.clear();
  return goes_on ? EXCEPTION_CONTINUE_EXECUTION : EXCEPTION_CONTINUE_SEARCH;
}

}  // namespace

// Views of one piece of zeros side by side, so that they cost no memory.
bool put_zeros(uintptr_t begin, uintptr_t end) {
  const HANDLE zeros = CreateFileMappingW(INVALID_HANDLE_VALUE, nullptr, PAGE_READONLY, 0,
                                          DWORD(std::min(kZeros, end - begin)), nullptr);
  if (!zeros || !UnmapViewOfFile(reinterpret_cast<void*>(begin))) return false;
  bool all = true;
  for (uintptr_t at = begin; at < end && all; at += kZeros) {
    all = MapViewOfFileEx(zeros, FILE_MAP_READ, 0, 0, std::min(kZeros, end - at),
                          reinterpret_cast<void*>(at)) != nullptr;
  }
  CloseHandle(zeros);
  return all;
}

void catch_page_errors() {
  AddVectoredExceptionHandler(1, on_exception);
}

}  // namespace lora
