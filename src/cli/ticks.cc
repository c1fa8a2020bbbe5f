#include "cli/ticks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "base/elementary.h"

namespace lora::cli {

namespace {

constexpr double kSlack = 1e-6;  // of a step: what rounding may add up to
constexpr int kMostTicks = 200;

// fmt writes 3e-05 and 1e+20.
std::string short_exponent(std::string text) {
  const size_t e = text.find('e');
  if (e == text.npos) return text;
  const std::string_view digits = std::string_view(text).substr(e + 2);
  const size_t first = std::min(digits.find_first_not_of('0'), digits.size() - 1);
  return text.substr(0, e) + (text[e + 1] == '-' ? "e-" : "e") + std::string(digits.substr(first));
}

struct Unit {
  double size;
  const char* name;
};

// Thousands are written out up to 9999.
Unit unit_of(double most) {
  for (const Unit unit : {Unit{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}) {
    if (most >= unit.size * (unit.size == 1e3 ? 10 : 1)) return unit;
  }
  return {1, ""};
}

// All ticks of an axis have one unit and as many decimals as tell them apart.
std::string tick_text(double value, double step, double most) {
  if (std::abs(value) < step / 1000) return "0";
  if (most >= 1e15 || most < 1e-3) return short_exponent(fmt::format("{:.4g}", value));
  const Unit unit = unit_of(most);
  return fmt::format("{:.{}f}{}", value / unit.size,
                     std::clamp(int(std::ceil(-elementary::log10(step / unit.size) - 1e-9)), 0, 12),
                     unit.name);
}

struct Step {
  double size;
  int n_minor;  // parts that minor ticks make of it
};

// The smallest of 1, 2, 5 times a power of ten that divides the axis into at most n parts.
Step round_step(double span, int n) {
  const double rough = span / n, power = elementary::pow(10, std::floor(elementary::log10(rough)));
  for (const Step step : {Step{1, 5}, {2, 4}, {5, 5}}) {
    if (step.size * power >= rough * (1 - 1e-9)) return {step.size * power, step.n_minor};
  }
  return {10 * power, 5};
}

std::vector<Tick> linear_ticks(const Scale& scale, int n, bool whole) {
  Step step = round_step(scale.high - scale.low, n);
  if (whole && step.size < 1) step = {1, 1};
  if (whole && step.size < step.n_minor) step.n_minor = step.size == 2 ? 2 : 1;
  const double minor = step.size / step.n_minor;
  const double most = std::max(std::abs(scale.low), std::abs(scale.high));
  std::vector<Tick> result;
  const double first = std::ceil(scale.low / minor - kSlack);
  for (int i = 0; i < kMostTicks && (first + i) * minor <= scale.high + minor * kSlack; ++i) {
    const double value = (first + i) * minor, majors = value / step.size;
    const bool is_major = std::abs(majors - std::round(majors)) < 0.1 / step.n_minor;
    result.push_back({value, is_major ? tick_text(value, step.size, most) : ""});
  }
  return result;
}

std::vector<Tick> log_ticks(const Scale& scale, int n) {
  const int first = int(std::floor(elementary::log10(scale.low))),
            last = int(std::floor(elementary::log10(scale.high)));
  const auto inside = [&](double value) {
    return scale.low * (1 - 1e-9) <= value && value <= scale.high * (1 + 1e-9);
  };
  constexpr std::array<double, 3> kFactors = {1, 2, 5};
  int n_powers = 0, n_rounds = 0;
  for (int power = first; power <= last; ++power) {
    for (const double factor : kFactors) {
      if (!inside(factor * elementary::pow(10, power))) continue;
      ++n_rounds;
      n_powers += factor == 1;
    }
  }
  if (n_rounds < 3) return {};
  const bool all_rounds = n_rounds <= n;
  const int every = std::max(1, (n_powers + n - 1) / n);  // powers of ten from one major tick to the next
  std::vector<Tick> result;
  for (int power = first; power <= last; ++power) {
    for (int factor = 1; factor <= 9; ++factor) {
      const double value = factor * elementary::pow(10, power);
      if (!inside(value) || (every > 1 && factor > 1)) continue;
      const bool is_major = factor == 1 ? power % every == 0 : all_rounds && (factor == 2 || factor == 5);
      result.push_back({value, is_major ? tick_text(value, elementary::pow(10, power), value) : ""});
    }
  }
  return result;
}

}  // namespace

double Scale::share(double value) const {
  if (!log) return (value - low) / (high - low);
  return (elementary::log(value) - elementary::log(low)) / (elementary::log(high) - elementary::log(low));
}

std::vector<Tick> ticks(const Scale& scale, int n, bool whole) {
  if (scale.log) {
    std::vector<Tick> result = log_ticks(scale, std::max(3, n));
    if (!result.empty()) return result;
  }
  return linear_ticks(scale, std::max(2, n), whole);
}

std::string number_text(double value) {
  const double magnitude = std::abs(value);
  if (magnitude == 0) return "0";
  if (magnitude >= 1e15 || magnitude < 1e-3) return short_exponent(fmt::format("{:.3g}", value));
  if (magnitude < 0.1) return fmt::format("{:.3g}", value);
  const Unit unit = unit_of(magnitude);
  const double scaled = magnitude / unit.size;
  const int decimals = scaled < 0.99995  ? 4
                       : scaled < 9.9995 ? 3
                       : scaled < 99.995 ? 2
                       : scaled < 999.95 ? 1
                                         : 0;
  return fmt::format("{:.{}f}{}", value / unit.size, decimals, unit.name);
}

}  // namespace lora::cli
