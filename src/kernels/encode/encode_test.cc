#include "kernels/encode/encode.h"

#include <gtest/gtest.h>

namespace lora {
namespace {
TEST(Encoder, RefusesTypesWithoutWeights) {
  EXPECT_ANY_THROW(find_encoder(Type::I64));
}
}  // namespace
}  // namespace lora
