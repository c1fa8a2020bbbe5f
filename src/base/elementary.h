// Elementary functions of this program's own, whose bits are the same on every system, compiler and
// processor. The C library's are not: each has other last bits, and one library may use others where the
// processor can fuse. All that has a part in training, generation or what is written to a file calls these
// and no others (tests/include_rules_test.cc holds the sources to it). std::sqrt and what rounds to integers
// is exact everywhere.
//
// Computed with +, -, * and / in f64, nothing fused. Reduction of arguments in two or three parts (Cody and
// Waite, "Software Manual for the Elementary Functions", 1980), then the function's own series; products and
// sums are split into what f64 holds and the rest (Dekker, "A floating-point technique for extending the
// available precision", 1971). Off by less than 1 unit in the last place of f64 where nothing else is said;
// float is f64's rounded.
#pragma once

namespace lora::elementary {

// NaN for NaN; 0 and infinity where the result leaves f64's range.
double exp(double x);
// NaN below 0, -infinity at 0.
double log(double x);
double log10(double x);
// ln(1 + x); this and tanh are off by less than 2 units.
double log1p(double x);
double tanh(double x);
// Of x that is not negative, NaN otherwise; y finite.
double pow(double x, double y);
// 1 - erf(x). Relative error below 1e-12.
double erfc(double x);

// Of an angle in radians below 2^45, where f64's next is 0.008 away; NaN from there on.
struct CosSin {
  double cos, sin;
};
CosSin cos_sin(double x);
inline double cos(double x) {
  return cos_sin(x).cos;
}

inline float exp(float x) {
  return float(exp(double(x)));
}
inline float log(float x) {
  return float(log(double(x)));
}
inline float log1p(float x) {
  return float(log1p(double(x)));
}
inline float tanh(float x) {
  return float(tanh(double(x)));
}
inline float erfc(float x) {
  return float(erfc(double(x)));
}

// a b + c, rounded once. Some C libraries round it twice where the processor has no such instruction.
float fma(float a, float b, float c);

}  // namespace lora::elementary
