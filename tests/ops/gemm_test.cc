#include "ops/kernels/gemm.h"

#include <limits>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/base/error.h"
#include "ops/kernels/gemm/gemm_product.h"
#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/allocation_count.h"

namespace trib::ops {
namespace {

using test::Doubles;
using test::Floats;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  std::int64_t m, n, k;
};

// Odd sizes, single rows and columns, several tiles, and two that are cut along k.
constexpr Shape kShapes[] = {{1, 1, 1},      {3, 5, 7},       {1, 129, 33},   {130, 1, 64},
                             {65, 127, 100}, {513, 259, 129}, {17, 33, 9001}, {96, 64, 16500}};

class Gemm : public testing::TestWithParam<std::tuple<Shape, Transpose, Transpose>> {
 protected:
  Gemm() {
    std::tie(shape, trans_a, trans_b) = GetParam();
    const auto [m, n, k] = shape;
    // Leading dimensions wider than the matrices, as for views of packed tensors.
    lda = (trans_a == Transpose::no ? k : m) + 3;
    ldb = (trans_b == Transpose::no ? n : k) + 1;
    ldc = n + 2;
    a = test::random_values("a", lda * (trans_a == Transpose::no ? m : k));
    b = test::random_values("b", ldb * (trans_b == Transpose::no ? k : n));
    c = test::random_values("c", ldc * m);
  }

  Doubles expected(double alpha, double beta) const {
    return reference::gemm(trans_a, trans_b, shape.m, shape.n, shape.k, alpha, a.data(), lda,
                           b.data(), ldb, beta, c.data(), ldc);
  }
  template <class Function>
  Floats run(const Function& function, float alpha, float beta) const {
    Floats padded = c;
    function(trans_a, trans_b, shape.m, shape.n, shape.k, alpha, a.data(), lda, b.data(), ldb, beta,
             padded.data(), ldc);
    Floats dense;
    for (std::int64_t i = 0; i < shape.m; ++i) {
      const float* row = padded.data() + i * ldc;
      dense.insert(dense.end(), row, row + shape.n);
      EXPECT_EQ(row[shape.n], c[static_cast<std::size_t>(i * ldc + shape.n)]) << "padding touched";
    }
    return dense;
  }

  Shape shape{};
  Transpose trans_a{}, trans_b{};
  std::int64_t lda, ldb, ldc;
  Floats a, b, c;
};

TEST_P(Gemm, MatchesTheReference) {
  for (const float beta : {0.0F, 1.0F, -0.5F}) {
    const Doubles reference = expected(1.5, beta);
    test::expect_close(run(gemm, 1.5F, beta), reference, 1e-5, "gemm");
    test::expect_close(run(gemm_serial, 1.5F, beta), reference, 1e-5, "gemm_serial");
  }
}

TEST_P(Gemm, OverwritesNanIfBetaIsZero) {
  const Doubles reference = expected(1, 0);
  std::fill(c.begin(), c.end(), kNan);
  Floats padded = c;
  gemm(trans_a, trans_b, shape.m, shape.n, shape.k, 1.0F, a.data(), lda, b.data(), ldb, 0.0F,
       padded.data(), ldc);
  Floats dense;
  for (std::int64_t i = 0; i < shape.m; ++i) {
    dense.insert(dense.end(), padded.data() + i * ldc, padded.data() + i * ldc + shape.n);
  }
  test::expect_close(dense, reference, 1e-5, "gemm");
}

TEST_P(Gemm, OpenBlasMatchesTheReference) {
  const auto blas = [](Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k,
                       float alpha, const float* x, std::int64_t ldx, const float* y,
                       std::int64_t ldy, float beta, float* out, std::int64_t ldo) {
    gemm_f32_blas({m, n, k, alpha, {x, ldx, ta}, {y, ldy, tb}, beta, out, ldo});
  };
  test::expect_close(run(blas, 1.5F, -0.5F), expected(1.5, -0.5), 1e-5, "OpenBLAS");
}

TEST_P(Gemm, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("gemm", [&] { return run(gemm, 1.0F, 0.5F); });
}

std::string name_of_case(const testing::TestParamInfo<Gemm::ParamType>& test_info) {
  const auto& [shape, trans_a, trans_b] = test_info.param;
  return std::to_string(shape.m) + "x" + std::to_string(shape.n) + "x" + std::to_string(shape.k) +
         (trans_a == Transpose::yes ? "_T" : "_N") + (trans_b == Transpose::yes ? "T" : "N");
}

INSTANTIATE_TEST_SUITE_P(Shapes, Gemm,
                         testing::Combine(testing::ValuesIn(kShapes),
                                          testing::Values(Transpose::no, Transpose::yes),
                                          testing::Values(Transpose::no, Transpose::yes)),
                         name_of_case);

TEST(GemmEdges, AnEmptyInnerAxisGivesBetaTimesC) {
  Floats c{1, 2, kNan, 4};
  gemm(Transpose::no, Transpose::no, 1, 4, 0, 1.0F, nullptr, 0, nullptr, 4, 0.0F, c.data(), 4);
  EXPECT_EQ(c, (Floats{0, 0, 0, 0}));
  c = {1, 2, 3, 4};
  gemm(Transpose::no, Transpose::no, 2, 2, 0, 1.0F, nullptr, 0, nullptr, 2, 0.5F, c.data(), 2);
  EXPECT_EQ(c, (Floats{0.5F, 1, 1.5F, 2}));
  gemm(Transpose::no, Transpose::no, 0, 4, 3, 1.0F, c.data(), 3, c.data(), 4, 0.0F, nullptr, 4);
  EXPECT_EQ(c, (Floats{0.5F, 1, 1.5F, 2}));
}

TEST(GemmEdges, EmptyOperandsMayHaveLeadingDimensionsOfZero) {
  for (const Transpose trans : {Transpose::no, Transpose::yes}) {
    for (const auto function : {gemm, gemm_serial}) {
      Floats c{1, 2, 3, 4, 5, 6};
      function(trans, trans, 2, 3, 0, 1.0F, nullptr, 0, nullptr, 0, 2.0F, c.data(), 3);
      EXPECT_EQ(c, (Floats{2, 4, 6, 8, 10, 12}));
      function(trans, trans, 0, 3, 2, 1.0F, nullptr, 0, c.data(), 3, 0.0F, nullptr, 0);
      function(trans, trans, 2, 0, 3, 1.0F, c.data(), 3, nullptr, 0, 0.0F, nullptr, 0);
      EXPECT_EQ(c, (Floats{2, 4, 6, 8, 10, 12}));
    }
  }
}

TEST(GemmEdges, NanInAnOperandReachesTheResult) {
  Floats a(64 * 64, 1.0F), b(64 * 64, 0.0F), c(64 * 64);
  a[0] = kNan;
  gemm(Transpose::no, Transpose::no, 64, 64, 64, 1.0F, a.data(), 64, b.data(), 64, 0.0F, c.data(),
       64);
  EXPECT_TRUE(std::isnan(c[0]));
  EXPECT_EQ(c[64], 0.0F);
}

TEST(GemmEdges, RefusesExtentsBeyondTheBlas) {
  float x = 0;
  EXPECT_THROW(gemm_f32_blas({.m = 1,
                              .n = 1,
                              .k = std::int64_t{1} << 31,
                              .alpha = 1.0F,
                              .a = {&x, 1, Transpose::no},
                              .b = {&x, 1, Transpose::no},
                              .beta = 0.0F,
                              .c = &x,
                              .ldc = 1}),
               RuntimeError);
}

TEST(GemmEdges, CountsItsFlopsOnce) {
  Floats a(64 * 20000), c(64 * 64);
  const auto before = gemm_flops();
  gemm(Transpose::yes, Transpose::no, 64, 64, 20000, 1.0F, a.data(), 64, a.data(), 64, 0.0F,
       c.data(), 64);
  gemm_serial(Transpose::no, Transpose::no, 2, 3, 5, 1.0F, a.data(), 5, a.data(), 3, 0.0F, c.data(),
              3);
  EXPECT_EQ(gemm_flops() - before, 2LL * 64 * 64 * 20000 + 2 * 2 * 3 * 5);
}

TEST(GemmEdges, AllocatesNothingOnceWarm) {
  constexpr std::int64_t kEdge = 300, kDepth = 5000;
  const Floats a(kEdge * kDepth, 1.0F);
  const std::vector<BFloat16> half(kEdge * kDepth, BFloat16(1.0F));
  Floats c(kEdge * kEdge);
  std::vector<BFloat16> c_half(kEdge * kEdge);
  const auto products = [&] {
    for (const Transpose trans : {Transpose::no, Transpose::yes}) {
      const std::int64_t lda = trans == Transpose::no ? kDepth : kEdge;
      for (const std::int64_t k : {kDepth, std::int64_t{65}}) {
        const auto run = [&](ConstFloatPtr x, FloatPtr result) {
          for (const auto function : {gemm, gemm_serial}) {
            function(trans, Transpose::no, kEdge, kEdge, k, 1.0F, x, lda, x, kEdge, 0.0F, result,
                     kEdge);
          }
        };
        run(a.data(), c.data());
        run(half.data(), c.data());
        run(half.data(), c_half.data());
      }
    }
  };
  // Alone in its arena, so that it is this thread that has made its room.
  tbb::task_arena(1).execute([&] {
    products();
    const std::int64_t before = test::allocation_count();
    products();
    EXPECT_EQ(test::allocation_count(), before);
  });
}

TEST(Blas, RunsOnOneThreadAndTellsWhatItIs) {
  EXPECT_NO_THROW(require_single_threaded_blas());
  EXPECT_THAT(blas_description(), testing::HasSubstr("OpenBLAS"));
  EXPECT_THAT(gemm_description(), testing::HasSubstr("bfloat16: "));
}

}  // namespace
}  // namespace trib::ops
