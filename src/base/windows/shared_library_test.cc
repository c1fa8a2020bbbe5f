#include "base/shared_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/windows/windows.h"

namespace lora {
namespace windows_shared_library_test {

TEST(SharedLibrary, CallsAFunctionByItsName) {
  const SharedLibrary kernel("kernel32.dll");
  EXPECT_EQ(kernel.function<DWORD WINAPI()>("GetCurrentProcessId")(), GetCurrentProcessId());
}

TEST(SharedLibrary, WhatIsMissingIsNamed) {
  EXPECT_THAT([] { SharedLibrary("no-such-thing.dll"); },
              testing::ThrowsMessage<Error>(testing::StartsWith("no-such-thing.dll: cannot be loaded: ")));
  EXPECT_THAT([] { SharedLibrary("kernel32.dll").function<void()>("no_such_function"); },
              testing::ThrowsMessage<Error>("kernel32.dll: has no function no_such_function"));
}

}  // namespace windows_shared_library_test
}  // namespace lora
