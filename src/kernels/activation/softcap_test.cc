#include "kernels/activation/softcap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace lora {
namespace softcap_test {

// Against tanh in double; Tanh's error is below 5e-7 of its value (kernels/exp-inl.h), and two roundings
// follow.
TEST(Softcap, IsTheScaledTanhAndItsSlope) {
  ThreadPool pool(2);
  for (const float cap : {0.5f, 3.0f, 30.0f, 50.0f}) {
    for (const int64_t n : {1, 7, 16, 33, 20001}) {
      std::vector<float> x(static_cast<size_t>(n)), y(x.size()), dy(x.size()), dx(x.size());
      for (int64_t i = 0; i < n; ++i) {
        x[size_t(i)] = float(std::sin(double(i) * 0.7) * (i % 5 == 0 ? 400 : i % 3 == 0 ? 1e-3 : 20));
        dy[size_t(i)] = float(std::cos(double(i)));
      }
      softcap_forward(y.data(), x.data(), cap, n, pool);
      softcap_backward(dx.data(), dy.data(), y.data(), cap, n, pool);
      for (size_t i = 0; i < x.size(); ++i) {
        const double t = std::tanh(double(x[i]) / double(cap)), want = double(cap) * t;
        ASSERT_NEAR(double(y[i]), want, 8e-7 * std::fabs(want)) << cap << " " << x[i];
        ASSERT_NEAR(double(dx[i]), double(dy[i]) * (1 - t * t), 3e-6 * std::fabs(double(dy[i]))) << x[i];
      }
      std::vector<float> in_place = x;
      softcap_forward(in_place.data(), in_place.data(), cap, n, pool);
      EXPECT_EQ(in_place, y);
    }
  }
}

}  // namespace softcap_test
}  // namespace lora
