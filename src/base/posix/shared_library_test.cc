#include "base/shared_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace lora {
namespace shared_library_test {

TEST(SharedLibrary, CallsAFunctionByItsName) {
  const SharedLibrary maths("libm.so.6");
  EXPECT_EQ(maths.function<double(double)>("sqrt")(9), 3);
}

TEST(SharedLibrary, WhatIsMissingIsNamed) {
  EXPECT_THAT(
      [] { SharedLibrary("libno-such-thing.so.7"); },
      testing::ThrowsMessage<Error>(testing::StartsWith("libno-such-thing.so.7: cannot be loaded: ")));
  EXPECT_THAT([] { SharedLibrary("libm.so.6").function<void()>("no_such_function"); },
              testing::ThrowsMessage<Error>("libm.so.6: has no function no_such_function"));
}

}  // namespace shared_library_test
}  // namespace lora
