// The main() of every benchmark. Google Benchmark's own library of it, in Ubuntu 22.04, does not link with
// the compiler that its updates bring (another version of LTO).
#include <benchmark/benchmark.h>

BENCHMARK_MAIN();
