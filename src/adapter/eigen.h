// Eigenvectors of a symmetric matrix.
//
// Householder's reduction to tridiagonal form, bisection by Sturm counts, inverse iteration (Wilkinson and
// Reinsch, "Handbook for Automatic Computation II: Linear Algebra", 1971: tred, bisect, tristurm), in double
// precision: n^3 4/3 operations for the first, little for the rest. The bits do not depend on the pool.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"

namespace lora {

// Those of the k largest eigenvalues, largest first: (k, n), orthonormal. a: (n, n), of which the lower
// triangle is read; it is overwritten. 1 <= k <= n. An eigenvector's sign, and the choice of vectors for
// equal eigenvalues, are arbitrary.
std::vector<double> top_eigenvectors(std::vector<double>& a, int64_t n, int64_t k, ThreadPool& pool);

}  // namespace lora
