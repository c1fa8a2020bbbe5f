#include "base/elementary.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

namespace lora::elementary {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

// high + low, of which high is the sum rounded.
struct Pair {
  double high, low;
};

Pair sum(double a, double b) {
  const double s = a + b, of_b = s - a;
  return {s, (a - (s - of_b)) + (b - of_b)};
}

// Two halves of 26 bits, whose products are exact.
Pair split(double a) {
  const double shifted = 134217729.0 * a, high = shifted - (shifted - a);
  return {high, a - high};
}

Pair product(double a, double b) {
  const Pair x = split(a), y = split(b);
  const double p = a * b;
  return {p, ((x.high * y.high - p) + x.high * y.low + x.low * y.high) + x.low * y.low};
}

Pair operator+(Pair a, Pair b) {
  const Pair s = sum(a.high, b.high);
  return sum(s.high, s.low + (a.low + b.low));
}

Pair operator*(Pair a, Pair b) {
  const Pair p = product(a.high, b.high);
  return sum(p.high, p.low + (a.high * b.low + a.low * b.high));
}

Pair operator/(Pair a, Pair b) {
  const double q = a.high / b.high;
  const Pair p = product(q, b.high);
  return sum(q, ((a.high - p.high) - p.low + a.low - q * b.low) / b.high);
}

// 1 / n!; n! is exact.
constexpr auto kSeries = [] {
  std::array<double, 22> all{};
  double factorial = 1;
  for (size_t n = 0; n < all.size(); factorial *= double(++n)) all[n] = 1 / factorial;
  return all;
}();

constexpr Pair kLn2{0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
constexpr Pair kLn10{0x1.26bb1bbb55516p+1, -0x1.f48ad494ea3e9p-53};
constexpr double kLn2First = 0x1.62e42feep-1, kLn2Second = 0x1.a39ef35793c76p-33;  // 32 bits, and the rest

// To the nearest integer, |x| < 2^51.
double nearest(double x) {
  constexpr double kShift = 0x1.8p52;
  return (x + kShift) - kShift;
}

// y 2^k, rounded once: also where that is subnormal.
double scaled(double y, int64_t k) {
  const auto power = [](int64_t n) { return std::bit_cast<double>(uint64_t(n + 1023) << 52); };
  return y * power(k / 2) * power(k - k / 2);
}

// exp(x) - 1 = 2^k (1 + r + q) - 1, |r| < 0.35.
struct ExpParts {
  int64_t k;
  double r, q;
};

// Of x + rest, |x| < 800.
ExpParts exp_parts(double x, double rest) {
  const double n = nearest(x * std::numbers::log2e);
  const double first = x - n * kLn2First, second = n * kLn2Second - rest;
  const double r = first - second, lost = (first - r) - second;
  double p = 0;
  for (size_t i = 14; i >= 2; --i) p = p * r + kSeries[i];
  return {int64_t(n), r, r * r * p + (lost + lost * r)};
}

double exp(double x, double rest) {
  if (std::isnan(x)) return x;
  if (x > 710) return kInfinity;
  if (x < -746) return 0;
  const ExpParts e = exp_parts(x, rest);
  const Pair s = sum(1, e.r);
  return scaled(s.high + (s.low + e.q), e.k);
}

// In f64's digits twice, and so rounded once: what is written in few decimals comes out as it is written.
double exp(Pair x) {
  const double n = nearest(x.high * std::numbers::log2e);
  const Pair r = x + Pair{-n, 0} * kLn2;
  Pair p{1, 0};  // 1 + r/1 (1 + r/2 (1 + r/3 (...)))
  for (int i = 26; i >= 1; --i) p = Pair{1, 0} + p * r / Pair{double(i), 0};
  return scaled(p.high, int64_t(n));
}

// x = 2^k (1 + f) with 1 + f from sqrt(1/2) to sqrt(2); x > 0 and finite.
struct LogParts {
  double k, f;
};

LogParts log_parts(double x) {
  int64_t k = 0;
  if (x < std::numeric_limits<double>::min()) x *= 0x1p54, k = -54;
  const auto bits = std::bit_cast<uint64_t>(x);
  k += int64_t(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffff) | uint64_t{1023} << 52);
  if (m > std::numbers::sqrt2) m /= 2, ++k;
  return {double(k), m - 1};
}

// ln(1 + f) = 2 (s + s^3/3 + s^5/5 + ...), s = f / (2 + f).
Pair log_in_two_parts(double x) {
  const LogParts parts = log_parts(x);
  const Pair s = Pair{parts.f, 0} / sum(2, parts.f), square = s * s;
  Pair series{0, 0};
  for (int n = 41; n >= 1; n -= 2) series = series * square + Pair{1, 0} / Pair{double(n), 0};
  const Pair of_f = s * series;
  return Pair{parts.k, 0} * kLn2 + Pair{2 * of_f.high, 2 * of_f.low};
}

// Of 0, infinity, NaN and what is below 0: what ln is there.
double log_of_rest(double x) {
  return x == 0 ? -kInfinity : x > 0 ? x : kNan;
}

bool has_log(double x) {
  return x > 0 && x < kInfinity;
}

}  // namespace

double exp(double x) {
  return exp(x, 0);
}

double log(double x) {
  if (!has_log(x)) return log_of_rest(x);
  const auto [k, f] = log_parts(x);
  const double s = f / (2 + f), z = s * s;
  double p = 0;
  for (int n = 25; n >= 3; n -= 2) p = p * z + 2.0 / n;
  // ln(1 + f) = f - f^2/2 + s (f^2/2 + z p): the largest term is exact.
  const double half = f * f / 2, rest = s * (half + z * p);
  return k * kLn2First - ((half - (rest + k * kLn2Second)) - f);
}

double log10(double x) {
  return has_log(x) ? (log_in_two_parts(x) / kLn10).high : log_of_rest(x);
}

double log1p(double x) {
  const double u = 1 + x;
  if (!has_log(u)) return log_of_rest(u);
  if (std::fabs(x) < 0x1p-53) return x;
  const double lost = std::fabs(x) < 1 ? x - (u - 1) : 1 - (u - x);
  return log(u) + lost / u;
}

double tanh(double x) {
  const double a = std::fabs(x);
  if (!(a < 20)) return std::isnan(x) ? x : std::copysign(1.0, x);
  const ExpParts e = exp_parts(2 * a, 0);
  const double power = scaled(1, e.k), less_one = (power - 1) + power * (e.r + e.q);
  return std::copysign(less_one / (less_one + 2), x);
}

double pow(double x, double y) {
  if (y == 0 || x == 1) return 1;
  if (!has_log(x)) return x == 0 || x == kInfinity ? ((x == 0) == (y > 0) ? 0 : kInfinity) : kNan;
  const Pair of_x = log_in_two_parts(x);
  if (!(std::fabs(y * of_x.high) < 800)) return exp(y * of_x.high);
  return exp(of_x * Pair{y, 0});
}

double erfc(double x) {
  if (std::isnan(x)) return x;
  const double a = std::fabs(x);
  if (a > 28) return x < 0 ? 2 : 0;
  const Pair square = product(a, a);
  // exp(-a^2) / sqrt(pi)
  const double density = exp(-square.high, -square.low) * std::numbers::inv_sqrtpi;
  if (a < 1.5) {  // erf(a) = 2 density (a + a^3 2/3 + a^5 4/15 + ...), all positive
    double term = a, all = a;
    for (int n = 1; n <= 40; ++n) all += term *= 2 * square.high / (2 * n + 1);
    const double erf = 2 * density * all;
    return x < 0 ? 1 + erf : 1 - erf;
  }
  // density / (a + (1/2) / (a + (2/2) / (a + ...)))
  double fraction = a;
  for (int n = 120; n >= 1; --n) fraction = a + n / 2.0 / fraction;
  const double upper = density / fraction;
  return x < 0 ? 2 - upper : upper;
}

CosSin cos_sin(double x) {
  if (!(std::fabs(x) < 0x1p45)) return {kNan, kNan};
  // pi / 2 in three parts.
  constexpr double kFirst = 0x1.921fb54442d18p+0, kSecond = 0x1.1a62633145c07p-54,
                   kThird = -0x1.f1976b7ed8fbcp-110;
  const double n = nearest(x * (2 * std::numbers::inv_pi));
  const Pair first = product(n, kFirst), second = product(n, kSecond);
  // x - first.high is exact: x is near it.
  const Pair r = sum(x - first.high, -first.low) + Pair{-second.high, -second.low - n * kThird};

  const double z = r.high * r.high;
  double s = 0, c = 0;  // sin(r) = r + r^3 s, cos(r) = 1 - z/2 + z^2 c
  for (size_t i = 20; i >= 4; i -= 2) {
    s = kSeries[i + 1] - s * z;
    c = kSeries[i] - c * z;
  }
  s = kSeries[3] - s * z;
  const double half = z / 2, most = 1 - half;
  const double sin = r.high + (r.low * most - r.high * z * s);
  const double cos = most + (((1 - most) - half) + (z * z * c - r.high * r.low));
  switch (int64_t(n) & 3) {
    case 0:
      return {cos, sin};
    case 1:
      return {-sin, cos};
    case 2:
      return {-cos, -sin};
    default:
      return {sin, -cos};
  }
}

float fma(float a, float b, float c) {
  const Pair s = sum(double(a) * double(b), double(c));  // the product of two floats is exact
  // An inexact sum is made odd, so that rounding it once more does what rounding the exact one would
  // (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
  auto bits = std::bit_cast<uint64_t>(s.high);
  if ((s.low > 0 || s.low < 0) && bits % 2 == 0) bits += (s.low > 0) == (s.high > 0) ? 1 : uint64_t(-1);
  return float(std::bit_cast<double>(bits));
}

}  // namespace lora::elementary
