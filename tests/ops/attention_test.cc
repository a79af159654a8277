#include "ops/kernels/attention.h"

#include <gtest/gtest.h>

#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/gradient_check.h"

namespace trib::ops {
namespace {

using test::Doubles;
using test::Floats;

struct Shape {
  std::int64_t batch, tokens, heads, head_dim;
};

class Attention : public testing::TestWithParam<Shape> {
 protected:
  void forward() {
    attention_forward(out.data(), lse.data(), qkv.data(), batch, tokens, heads, head_dim);
  }
  Floats backward() {
    Floats dqkv(qkv.size(), 1e9F);  // must be written, not added to
    attention_backward(dqkv.data(), dout.data(), qkv.data(), out.data(), lse.data(), batch, tokens,
                       heads, head_dim);
    return dqkv;
  }

  const std::int64_t batch = GetParam().batch, tokens = GetParam().tokens;
  const std::int64_t heads = GetParam().heads, head_dim = GetParam().head_dim;
  Floats qkv = test::random_values("qkv", batch* tokens * 3 * heads * head_dim, 1.5F);
  Floats dout = test::random_values("dout", batch* tokens* heads* head_dim);
  Floats out = Floats(dout.size(), 1e9F);
  Floats lse = Floats(reference::size(batch * heads * tokens));
};

TEST_P(Attention, ForwardMatchesTheReference) {
  forward();
  Doubles lse_expected;
  const Doubles expected =
      reference::attention(qkv.data(), batch, tokens, heads, head_dim, &lse_expected);
  test::expect_close(out, expected, 3e-6, "out");
  test::expect_close(lse, lse_expected, 3e-6, "lse");
}

TEST_P(Attention, BackwardIsTheGradient) {
  forward();
  const Floats dqkv = backward();
  const auto loss = [&] {
    return test::weighted_sum(reference::attention(qkv.data(), batch, tokens, heads, head_dim),
                              dout);
  };
  // Few elements of the large shapes: the reference is slow.
  test::check_gradient("qkv", qkv, dqkv, loss,
                       {.step = 1e-3, .tolerance = 1e-3, .max_elements = tokens > 100 ? 12 : 48});
}

TEST_P(Attention, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("attention", [&] {
    forward();
    Floats result = backward();
    for (const Floats& part : {out, lse}) result.insert(result.end(), part.begin(), part.end());
    return result;
  });
}

// One token, odd sizes, one block exactly, and several blocks with a rest.
INSTANTIATE_TEST_SUITE_P(Shapes, Attention,
                         testing::Values(Shape{1, 1, 1, 1}, Shape{2, 3, 2, 5}, Shape{3, 17, 4, 16},
                                         Shape{2, 64, 2, 32}, Shape{1, 128, 1, 64},
                                         Shape{1, 129, 2, 24}, Shape{2, 300, 1, 16}),
                         [](const auto& test_info) {
                           const Shape& shape = test_info.param;
                           return std::to_string(shape.batch) + "x" + std::to_string(shape.tokens) +
                                  "x" + std::to_string(shape.heads) + "x" +
                                  std::to_string(shape.head_dim);
                         });

TEST(AttentionEdges, LargeScoresDoNotOverflow) {
  // Scores of several thousand, the largest in the second block of keys.
  constexpr std::int64_t kTokens = 200, kDim = 8;
  Floats qkv = test::random_values("qkv", kTokens * 3 * kDim, 40.0F);
  for (std::int64_t d = 0; d < kDim; ++d) qkv[reference::size((150 * 3 + 1) * kDim + d)] *= 3.0F;
  Floats out(kTokens * kDim), lse(kTokens);
  attention_forward(out.data(), lse.data(), qkv.data(), 1, kTokens, 1, kDim);
  // The scores themselves are rounded to 1e-7 of their size.
  test::expect_close(out, reference::attention(qkv.data(), 1, kTokens, 1, kDim), 2e-3, "out");
}

TEST(AttentionEdges, NanInAQueryReachesThatQueryAlone) {
  constexpr std::int64_t kTokens = 5, kDim = 4;
  Floats qkv = test::random_values("qkv", kTokens * 3 * kDim);
  qkv[2 * 3 * kDim] = std::nanf("");
  Floats out(kTokens * kDim), lse(kTokens);
  attention_forward(out.data(), lse.data(), qkv.data(), 1, kTokens, 1, kDim);
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i / kDim == 2) << i;
}

TEST(AttentionEdges, SamplesTokensAndHeadsMayBeNone) {
  for (const Shape& shape : {Shape{0, 5, 2, 4}, Shape{3, 0, 2, 4}, Shape{3, 5, 0, 4}}) {
    EXPECT_NO_THROW(attention_forward(nullptr, nullptr, nullptr, shape.batch, shape.tokens,
                                      shape.heads, shape.head_dim));
    EXPECT_NO_THROW(attention_backward(nullptr, nullptr, nullptr, nullptr, nullptr, shape.batch,
                                       shape.tokens, shape.heads, shape.head_dim));
  }
}

}  // namespace
}  // namespace trib::ops
