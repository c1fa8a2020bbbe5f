#include "base/elementary.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/random.h"

namespace lora {
namespace elementary_test {

constexpr double kInfinity = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int kSamples = 20000;

double uniform(uint64_t stream, int i, double from, double to) {
  return from + (to - from) * (double(random_bits(1, Purpose::test, stream, uint64_t(i)) >> 11) * 0x1p-53);
}

struct Function {
  std::string name;
  std::function<double(double)> ours;
  std::function<long double(long double)> wide;
  double from, to;
  bool of_power;  // of 2^x instead of x
  double most;    // units in the last place; subnormal results of pow are rounded twice
  uint64_t bits;  // the hash of all results
};

double argument(const Function& f, int i) {
  const double x = uniform(hash(f.name), i, f.from, f.to);
  return f.of_power ? elementary::pow(2, x) : x;
}

std::vector<Function> functions() {
  using L = long double;
  const auto of_cos = [](double x) { return elementary::cos_sin(x).cos; };
  const auto of_sin = [](double x) { return elementary::cos_sin(x).sin; };
  const auto cos = [](L x) { return std::cos(x); };
  const auto sin = [](L x) { return std::sin(x); };
  using D = double (*)(double);
  const D exp = elementary::exp, log = elementary::log, log10 = elementary::log10, log1p = elementary::log1p,
          tanh = elementary::tanh, erfc = elementary::erfc;
  const auto wide_exp = [](L x) { return std::exp(x); };
  const auto wide_log = [](L x) { return std::log(x); };
  const auto wide_log1p = [](L x) { return std::log1p(x); };
  const auto wide_tanh = [](L x) { return std::tanh(x); };
  const auto pow_of_ten = [](double y) { return elementary::pow(10, y); };
  const auto power_of_rope = [](double x) { return elementary::pow(x, -0.71875); };
  return {
      {"exp", exp, wide_exp, -745, 709, false, 1, 0xfcf26fe1c7487caf},
      {"exp near 0", exp, wide_exp, -1, 1, false, 1, 0x4c16857b3387dca6},
      {"log", log, wide_log, -1074, 1023, true, 1, 0x6be741797239a539},
      {"log near 1", log, wide_log, 0.5, 2, false, 1, 0x3c99849f4964b195},
      {"log10", log10, [](L x) { return std::log10(x); }, -1074, 1023, true, 0.51, 0xf1bf8742187421c2},
      {"log1p", log1p, wide_log1p, -1, 1, false, 2, 0x3c95d28e11ff06e3},
      {"log1p of powers", log1p, wide_log1p, -80, 100, true, 2, 0x1d2b62ec45a10d15},
      {"tanh", tanh, wide_tanh, -22, 22, false, 2, 0x889a2a983e123548},
      {"tanh of powers", tanh, wide_tanh, -1000, 5, true, 2, 0x80ad36a83aa1c6bd},
      {"10^y", pow_of_ten, [](L y) { return std::pow(10.0L, y); }, -323, 308, false, 0.76,
       0xa92bfd0a7da49c15},
      {"x^-0.71875", power_of_rope, [](L x) { return std::pow(x, -0.71875L); }, -1074, 1023, true, 0.51,
       0xbf63a94ba302f659},
      {"erfc", erfc, [](L x) { return std::erfc(x); }, -6, 26, false, 4500, 0x592dc5b038e19616},
      {"cos", of_cos, cos, -10, 10, false, 1, 0x38a5f8076c943b96},
      {"sin", of_sin, sin, -10, 10, false, 1, 0xfe8a031dd99e05df},
      {"cos of positions", of_cos, cos, 0, 2e7, false, 1, 0x380b55319d9fe6a2},
      {"sin of positions", of_sin, sin, 0, 2e7, false, 1, 0xb4f5f5db9f1fd4e6},
      {"cos of powers", of_cos, cos, -40, 44.99, true, 1, 0x707023ca2bf60119},
      {"sin of powers", of_sin, sin, -40, 44.99, true, 1, 0x342fe7cbc50a79fc},
  };
}

#ifdef __GLIBC__  // whose functions of long double are right in more digits than f64 has; others' are not
TEST(Elementary, IsRightToALastPlace) {
  for (const Function& f : functions()) {
    double worst = 0, where = 0;
    for (int i = 0; i < kSamples; ++i) {
      const double x = argument(f, i);
      const long double y = f.wide(x);
      const double least = std::numeric_limits<double>::min();
      const long double unit = std::ldexp(1.0L, std::ilogb(std::fmax(std::fabs(double(y)), least)) - 52);
      const double off = double(std::fabs(f.ours(x) - y) / unit);
      if (!(off <= worst)) worst = off, where = x;
    }
    EXPECT_LE(worst, f.most) << f.name << " of " << where;
  }
}

TEST(Elementary, FmaIsRoundedOnce) {
  for (int i = 0; i < kSamples; ++i) {
    const auto number = [&](uint64_t stream, int exponents) {
      const uint64_t bits = random_bits(2, Purpose::test, stream, uint64_t(i));
      return std::ldexp(float(int32_t(bits)) * 0x1p-31f, int(bits >> 32) % exponents - exponents / 2);
    };
    const float a = number(1, 60), b = number(2, 60), wide = number(3, 120);
    for (const float c : {wide, -a * b, a * b * 0x1p-24f, std::ldexp(-a, 30)})
      ASSERT_EQ(elementary::fma(a, b, c), std::fma(a, b, c)) << a << ' ' << b << ' ' << c;
  }
}
#endif

TEST(Elementary, HasTheSameBitsOnEverySystem) {
  for (const Function& f : functions()) {
    uint64_t all = kHashStart;
    for (int i = 0; i < kSamples; ++i) {
      const auto bits = std::bit_cast<uint64_t>(f.ours(argument(f, i)));
      all = (all ^ bits) * 0x100000001b3ull;
    }
    EXPECT_EQ(all, f.bits) << f.name << std::hex << " 0x" << all;
  }
}

TEST(Elementary, ExactResultsAreExact) {
  EXPECT_EQ(elementary::exp(0.0), 1);
  EXPECT_EQ(elementary::log(1.0), 0);
  EXPECT_EQ(elementary::tanh(0.0), 0);
  EXPECT_EQ(elementary::erfc(0.0), 1);
  EXPECT_EQ(elementary::cos(0.0), 1);
  for (int n = -22; n <= 22; ++n) {
    EXPECT_EQ(elementary::pow(10, n), std::stod("1e" + std::to_string(n))) << n;
    EXPECT_EQ(elementary::log10(elementary::pow(10, n)), n);
  }
  for (int n = -1074; n < 1024; ++n) EXPECT_EQ(elementary::pow(2, n), std::ldexp(1.0, n)) << n;
  EXPECT_EQ(elementary::pow(3, 33), 5559060566555523);
}

TEST(Elementary, TheEndsOfTheRange) {
  EXPECT_EQ(elementary::exp(kInfinity), kInfinity);
  EXPECT_EQ(elementary::exp(709.8), kInfinity);
  EXPECT_EQ(elementary::exp(-kInfinity), 0);
  EXPECT_EQ(elementary::exp(-745.2), 0);
  EXPECT_EQ(elementary::exp(-745.1), 0x1p-1074);
  EXPECT_EQ(elementary::exp(89.0f), std::numeric_limits<float>::infinity());
  EXPECT_EQ(elementary::log(0.0), -kInfinity);
  EXPECT_EQ(elementary::log(kInfinity), kInfinity);
  EXPECT_EQ(elementary::log1p(-1.0), -kInfinity);
  EXPECT_EQ(elementary::log1p(kInfinity), kInfinity);
  EXPECT_EQ(elementary::tanh(kInfinity), 1);
  EXPECT_EQ(elementary::tanh(-kInfinity), -1);
  EXPECT_EQ(elementary::erfc(kInfinity), 0);
  EXPECT_EQ(elementary::erfc(-kInfinity), 2);
  EXPECT_EQ(elementary::pow(0, 3), 0);
  EXPECT_EQ(elementary::pow(0, 0), 1);
  EXPECT_EQ(elementary::pow(0, -1), kInfinity);
  EXPECT_EQ(elementary::pow(kInfinity, 2), kInfinity);
  EXPECT_EQ(elementary::pow(kInfinity, -2), 0);
  EXPECT_EQ(elementary::pow(1, 1e300), 1);
  EXPECT_EQ(elementary::pow(2, 1e300), kInfinity);
  EXPECT_EQ(elementary::pow(2, -1e300), 0);
  for (const double nan :
       {elementary::exp(kNan), elementary::log(kNan), elementary::log(-1.0), elementary::log1p(-2.0),
        elementary::tanh(kNan), elementary::erfc(kNan), elementary::pow(-1, 0.5), elementary::pow(kNan, 1),
        elementary::pow(2, kNan), elementary::cos(kNan), elementary::cos(0x1p45),
        elementary::cos_sin(-kInfinity).sin})
    EXPECT_TRUE(std::isnan(nan));
  EXPECT_EQ(elementary::fma(1e30f, 1e30f, 1), std::numeric_limits<float>::infinity());
}

}  // namespace elementary_test
}  // namespace lora
