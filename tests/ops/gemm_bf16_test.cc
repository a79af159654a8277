// Products of bfloat16 operands, compared with products of the same rounded numbers in double
// precision: only the sums (float32) and a bfloat16 result may differ.
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "ops/base/bfloat16.h"
#include "ops/base/error.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/gemm/gemm_onednn.h"
#include "ops/kernels/gemm/gemm_product.h"
#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"

namespace trib::ops {
namespace {

using test::Doubles;
using test::Floats;
using test::Halves;
using test::rounded;
using test::widened;

constexpr double kSumTolerance = 1e-5;
// A result is rounded to 8 bits: by at most 2^-8 of it.
constexpr double kRoundedTolerance = 0x1.01p-8;

struct Shape {
  std::int64_t m, n, k;
};

// Odd sizes, single rows and columns, no multiples of any vector, several blocks of rows, columns
// and the inner axis, several pieces, long sums.
constexpr Shape kShapes[] = {{1, 1, 1},       {3, 5, 7},      {2, 16, 32},    {1, 129, 33},
                             {130, 1, 64},    {65, 127, 100}, {12, 64, 2},    {13, 33, 3},
                             {313, 259, 129}, {17, 33, 9001}, {61, 70, 1537}, {33, 5, 0},
                             {620, 40, 33},   {13, 1040, 35}, {601, 20, 1540}};

class GemmBf16 : public testing::TestWithParam<std::tuple<Shape, Transpose, Transpose>> {
 protected:
  GemmBf16() {
    std::tie(shape, trans_a, trans_b) = GetParam();
    const auto [m, n, k] = shape;
    lda = (trans_a == Transpose::no ? k : m) + 3;
    ldb = (trans_b == Transpose::no ? n : k) + 1;
    ldc = n + 2;
    a = rounded(test::random_values("a", lda * (trans_a == Transpose::no ? m : k)));
    b = rounded(test::random_values("b", ldb * (trans_b == Transpose::no ? k : n)));
    c = test::random_values("c", ldc * m);
  }

  Doubles expected(double alpha, double beta) const {
    const Floats wide_a = widened(a), wide_b = widened(b);
    return reference::gemm(trans_a, trans_b, shape.m, shape.n, shape.k, alpha, wide_a.data(), lda,
                           wide_b.data(), ldb, beta, c.data(), ldc);
  }
  // Added to c, or to bfloat16 over what is not a number.
  template <class Function>
  Floats run(const Function& function, float alpha, float beta, DType dtype = DType::f32) const {
    Floats padded = c;
    Halves padded_half(c.size(), BFloat16(std::numeric_limits<float>::quiet_NaN()));
    const FloatPtr out = dtype == DType::f32 ? FloatPtr(padded.data()) : padded_half.data();
    function(trans_a, trans_b, shape.m, shape.n, shape.k, alpha, a.data(), lda, b.data(), ldb, beta,
             out, ldc);
    if (dtype == DType::bf16) padded = widened(padded_half);
    Floats dense;
    for (std::int64_t i = 0; i < shape.m; ++i) {
      const float* row = padded.data() + i * ldc;
      dense.insert(dense.end(), row, row + shape.n);
      for (std::int64_t j = shape.n; j < ldc; ++j) {
        const float before = c[static_cast<std::size_t>(i * ldc + j)];
        EXPECT_TRUE(dtype == DType::bf16 ? std::isnan(row[j]) : row[j] == before)
            << "padding touched";
      }
    }
    return dense;
  }

  Shape shape{};
  Transpose trans_a{}, trans_b{};
  std::int64_t lda, ldb, ldc;
  Halves a, b;
  Floats c;
};

TEST_P(GemmBf16, AddsToFloat32) {
  for (const float beta : {0.0F, 1.0F, -0.5F}) {
    const Doubles reference = expected(1.5, beta);
    test::expect_close(run(gemm, 1.5F, beta), reference, kSumTolerance, "gemm");
    test::expect_close(run(gemm_serial, 1.5F, beta), reference, kSumTolerance, "gemm_serial");
  }
}

TEST_P(GemmBf16, WritesBfloat16) {
  const Doubles reference = expected(0.25, 0);
  test::expect_close(run(gemm, 0.25F, 0, DType::bf16), reference, kRoundedTolerance, "gemm");
  test::expect_close(run(gemm_serial, 0.25F, 0, DType::bf16), reference, kRoundedTolerance,
                     "gemm_serial");
}

TEST_P(GemmBf16, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("float32", [&] { return run(gemm, 1.0F, 0.5F); });
  test::expect_same_on_any_threads("bfloat16", [&] { return run(gemm, 1.0F, 0, DType::bf16); });
}

// A back end called as gemm is; products without an inner axis never reach one.
template <class BackEnd>
auto called_as_gemm(const BackEnd& back_end) {
  return [back_end](Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k,
                    float alpha, ConstFloatPtr x, std::int64_t ldx, ConstFloatPtr y,
                    std::int64_t ldy, float beta, FloatPtr out, std::int64_t ldo) {
    back_end({m, n, k, alpha, {x, ldx, ta}, {y, ldy, tb}, beta, out, ldo});
  };
}

TEST_P(GemmBf16, PortableMatchesTheReference) {
  if (shape.k == 0) GTEST_SKIP() << "no inner axis";
  const auto portable = called_as_gemm(gemm_bf16_portable);
  test::expect_close(run(portable, 1.5F, -0.5F), expected(1.5, -0.5), kSumTolerance, "float32");
  test::expect_close(run(portable, 1.5F, 0, DType::bf16), expected(1.5, 0), kRoundedTolerance,
                     "bfloat16");
}

TEST_P(GemmBf16, OneDnnMatchesTheReference) {
  if (onednn_description() == nullptr) GTEST_SKIP() << "built without oneDNN";
  if (shape.k == 0) GTEST_SKIP() << "no inner axis";
  const auto onednn = called_as_gemm([](const GemmProduct& p) {
    // The same again, from the primitive that was kept.
    ASSERT_TRUE(gemm_bf16_onednn(p));
    if (p.beta == 0.0F) {
      ASSERT_TRUE(gemm_bf16_onednn(p));
    }
  });
  test::expect_close(run(onednn, 1.5F, -0.5F), expected(1.5, -0.5), kSumTolerance, "float32");
  test::expect_close(run(onednn, 1.5F, 0), expected(1.5, 0), kSumTolerance, "float32");
  test::expect_close(run(onednn, 1.5F, 0, DType::bf16), expected(1.5, 0), kRoundedTolerance,
                     "bfloat16");
}

std::string name_of_case(const testing::TestParamInfo<GemmBf16::ParamType>& test_info) {
  const auto& [shape, trans_a, trans_b] = test_info.param;
  return std::to_string(shape.m) + "x" + std::to_string(shape.n) + "x" + std::to_string(shape.k) +
         (trans_a == Transpose::yes ? "_T" : "_N") + (trans_b == Transpose::yes ? "T" : "N");
}

INSTANTIATE_TEST_SUITE_P(Shapes, GemmBf16,
                         testing::Combine(testing::ValuesIn(kShapes),
                                          testing::Values(Transpose::no, Transpose::yes),
                                          testing::Values(Transpose::no, Transpose::yes)),
                         name_of_case);

TEST(GemmBf16Edges, BackEndsAddABias) {
  constexpr std::int64_t kM = 30, kN = 45, kK = 77;
  const Halves a = rounded(test::random_values("a", kM * kK));
  const Halves b = rounded(test::random_values("b", kN * kK));
  const Floats bias = test::random_values("bias", kN);
  const Floats wide_a = widened(a), wide_b = widened(b);
  const Doubles reference =
      reference::linear(wide_a.data(), wide_b.data(), bias.data(), kM, kK, kN);
  Floats c(kM * kN);
  const GemmProduct p{.m = kM,
                      .n = kN,
                      .k = kK,
                      .alpha = 1.0F,
                      .a = {a.data(), kK, Transpose::no},
                      .b = {b.data(), kK, Transpose::yes},
                      .beta = 0.0F,
                      .c = c.data(),
                      .ldc = kN,
                      .bias = bias.data()};
  gemm_tile(p);
  test::expect_close(c, reference, kSumTolerance, "gemm_tile");
  gemm_bf16_portable(p);
  test::expect_close(c, reference, kSumTolerance, "portable");
  if (gemm_bf16_onednn(p)) test::expect_close(c, reference, kSumTolerance, "oneDNN");
}

TEST(GemmBf16Edges, NanAndInfinityReachTheResult) {
  const BFloat16 one(1.0F), inf(std::numeric_limits<float>::infinity());
  // An odd inner axis: what lies beyond its end must not count.
  Halves a(5 * 4, inf), b(3 * 2, one);
  Floats c(4 * 2);
  for (std::int64_t i = 0; i < 4 * 3; ++i) a[static_cast<std::size_t>(i)] = one;
  gemm(Transpose::no, Transpose::no, 4, 2, 3, 1.0F, a.data(), 3, b.data(), 2, 0.0F, c.data(), 2);
  EXPECT_EQ(c, Floats(8, 3.0F));
  a[0] = inf;
  gemm(Transpose::no, Transpose::no, 4, 2, 3, 1.0F, a.data(), 3, b.data(), 2, 0.0F, c.data(), 2);
  EXPECT_EQ(c[0], std::numeric_limits<float>::infinity());
  EXPECT_EQ(c[2], 3.0F);
}

TEST(GemmTypes, MustFit) {
  std::vector<float> f(16);
  std::vector<BFloat16> b(16);
  const auto product = [](ConstFloatPtr x, ConstFloatPtr y, float beta, FloatPtr z) {
    gemm(Transpose::no, Transpose::no, 4, 4, 4, 1, x, 4, y, 4, beta, z, 4);
  };
  EXPECT_THROW(product(f.data(), b.data(), 0, f.data()), RuntimeError);
  EXPECT_THROW(product(f.data(), f.data(), 0, b.data()), RuntimeError);
  EXPECT_THROW(product(b.data(), b.data(), 1, b.data()), RuntimeError);
}

}  // namespace
}  // namespace trib::ops
