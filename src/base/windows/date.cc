#include "base/date.h"

#include "base/windows/windows.h"

namespace lora {

DateTime local_time() {
  SYSTEMTIME now = {};
  GetLocalTime(&now);
  return {now.wYear, now.wMonth, now.wDay, now.wHour, now.wMinute, now.wSecond};
}

}  // namespace lora
