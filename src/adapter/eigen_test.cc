#include "adapter/eigen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace lora {
namespace eigen_test {

using Matrix = std::vector<double>;

// (n, n), symmetric.
Matrix random_symmetric(int64_t n, uint64_t stream) {
  Matrix a(size_t(n * n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      a[size_t(i * n + j)] = a[size_t(j * n + i)] =
          random_uniform(3, Purpose::test, stream, uint64_t(i * n + j)) - 0.5;
    }
  }
  return a;
}

Matrix top(Matrix a, int64_t n, int64_t k, int n_threads = 2) {
  ThreadPool pool(n_threads);
  return top_eigenvectors(a, n, k, pool);
}

double along(const double* x, const double* y, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

// The eigenvalues of the vectors, after the equations that make them eigenvectors were checked.
std::vector<double> expect_eigenvectors(const Matrix& a, int64_t n, const Matrix& vectors) {
  const int64_t k = int64_t(vectors.size()) / n;
  double size = 1;
  for (const double x : a) size = std::max(size, std::fabs(x));
  std::vector<double> values;
  for (int64_t i = 0; i < k; ++i) {
    const double* x = &vectors[size_t(i * n)];
    for (int64_t j = 0; j <= i; ++j) {
      EXPECT_NEAR(along(x, &vectors[size_t(j * n)], n), i == j, 1e-12) << n << ": " << i << " and " << j;
    }
    Matrix image(static_cast<size_t>(n));
    for (int64_t row = 0; row < n; ++row) image[size_t(row)] = along(&a[size_t(row * n)], x, n);
    values.push_back(along(image.data(), x, n));
    for (int64_t row = 0; row < n; ++row) {
      EXPECT_NEAR(image[size_t(row)], values.back() * x[row], 1e-12 * size * double(n)) << n << ": " << i;
    }
  }
  for (size_t i = 1; i < values.size(); ++i) EXPECT_GE(values[i - 1], values[i] - 1e-12 * size) << n;
  return values;
}

TEST(TopEigenvectors, AllOfASmallMatrixInOrder) {
  for (int64_t n : {1, 2, 3, 4, 5, 8, 33, 70}) {
    const Matrix a = random_symmetric(n, uint64_t(n));
    const std::vector<double> values = expect_eigenvectors(a, n, top(a, n, n));
    double trace = 0, sum = 0;
    for (int64_t i = 0; i < n; ++i) trace += a[size_t(i * n + i)];
    for (const double value : values) sum += value;
    EXPECT_NEAR(sum, trace, 1e-12 * double(n)) << n;  // so it was all of them
  }
}

TEST(TopEigenvectors, TheFirstFewAreTheLargest) {
  const int64_t n = 60;
  const Matrix a = random_symmetric(n, 5);
  const std::vector<double> all = expect_eigenvectors(a, n, top(a, n, n));
  const std::vector<double> few = expect_eigenvectors(a, n, top(a, n, 7));
  for (size_t i = 0; i < few.size(); ++i) EXPECT_NEAR(few[i], all[i], 1e-12);
}

TEST(TopEigenvectors, EqualEigenvaluesGiveEachItsOwnDirection) {
  const int64_t n = 20;
  Matrix identity(n * n), zero(n * n), ones(n * n, 1.0), blocks(n * n);
  for (int64_t i = 0; i < n; ++i) identity[size_t(i * n + i)] = 2;
  for (int64_t i = 0; i < n; ++i) {  // ten times [[2, 1], [1, 2]]
    blocks[size_t(i * n + i)] = 2;
    blocks[size_t(i * n + (i ^ 1))] = 1;
  }
  EXPECT_THAT(expect_eigenvectors(identity, n, top(identity, n, 5)),
              testing::Each(testing::DoubleNear(2, 1e-12)));
  EXPECT_THAT(expect_eigenvectors(zero, n, top(zero, n, 5)), testing::Each(0));
  EXPECT_THAT(expect_eigenvectors(ones, n, top(ones, n, 2)),
              testing::ElementsAre(testing::DoubleNear(20, 1e-12), testing::DoubleNear(0, 1e-12)));
  EXPECT_THAT(expect_eigenvectors(blocks, n, top(blocks, n, 10)),
              testing::Each(testing::DoubleNear(3, 1e-12)));
}

TEST(TopEigenvectors, TinyAndHugeNumbers) {
  for (const double factor : {1e-140, 1e140}) {
    Matrix a = random_symmetric(12, 8);
    const std::vector<double> plain = expect_eigenvectors(a, 12, top(a, 12, 3));
    for (double& x : a) x *= factor;
    Matrix vectors = top(a, 12, 3);
    for (double& x : a) x /= factor;
    const std::vector<double> scaled = expect_eigenvectors(a, 12, vectors);
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(scaled[i], plain[i], 1e-12);
  }
}

TEST(TopEigenvectors, ThreadsDoNotChangeTheBits) {
  const Matrix a = random_symmetric(50, 6);
  EXPECT_EQ(top(a, 50, 9, 1), top(a, 50, 9, 3));
}

}  // namespace eigen_test
}  // namespace lora
