#include "ops/kernels/attention.h"

#include <algorithm>
#include <tuple>

#include <gtest/gtest.h>
#include <tbb/task_arena.h>

#include "ops/kernels/attention/attention_block.h"
#include "ops/kernels/gemm.h"
#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/allocation_count.h"
#include "tests/support/gradient_check.h"

namespace trib::ops {
namespace {

using test::Doubles;
using test::Floats;
using test::Halves;
using test::widened;

struct Shape {
  std::int64_t batch, tokens, heads, head_dim;
};

// Rounded to bfloat16, in both types.
Halves round_in_place(Floats& values) {
  const Halves result = test::rounded(values);
  values = widened(result);
  return result;
}

Doubles as_doubles(const Floats& values) {
  return {values.begin(), values.end()};
}

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
                       {.step = 1e-3,
                        .tolerance = 1e-3,
                        .max_elements = tokens > 1000  ? 3
                                        : tokens > 100 ? 12
                                                       : 48});
}

// A bfloat16 is right to 2^-9 of itself. Forward two roundings add up, of the weights and of the
// result; backward three, of weights or of their gradients, of the output that delta is taken of,
// and of the result. Twice that much leaves room for sums of several terms.
TEST_P(Attention, BFloat16IsFloat32Rounded) {
  const Halves qkv_half = round_in_place(qkv), dout_half = round_in_place(dout);
  forward();
  const Floats dqkv = backward();
  Halves out_half(out.size()), dqkv_half(qkv.size(), BFloat16(1e9F));
  Floats lse_half(lse.size());
  attention_forward(out_half.data(), lse_half.data(), qkv_half.data(), batch, tokens, heads,
                    head_dim);
  attention_backward(dqkv_half.data(), dout_half.data(), qkv_half.data(), out_half.data(),
                     lse_half.data(), batch, tokens, heads, head_dim);
  test::expect_close(widened(out_half), as_doubles(out), 4.0 / 512, "out");
  test::expect_close(lse_half, as_doubles(lse), 3e-6, "lse");  // nothing of it is rounded
  test::expect_close(widened(dqkv_half), as_doubles(dqkv), 6.0 / 512, "dqkv");
}

TEST_P(Attention, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("attention", [&] {
    forward();
    Floats result = backward();
    for (const Floats& part : {out, lse}) result.insert(result.end(), part.begin(), part.end());
    return result;
  });
  const Halves qkv_half = round_in_place(qkv), dout_half = round_in_place(dout);
  test::expect_same_on_any_threads("attention in bfloat16", [&] {
    Halves out_half(out.size()), dqkv_half(qkv.size());
    attention_forward(out_half.data(), lse.data(), qkv_half.data(), batch, tokens, heads, head_dim);
    attention_backward(dqkv_half.data(), dout_half.data(), qkv_half.data(), out_half.data(),
                       lse.data(), batch, tokens, heads, head_dim);
    Floats result = widened(dqkv_half);
    for (const Floats& part : {widened(out_half), lse}) {
      result.insert(result.end(), part.begin(), part.end());
    }
    return result;
  });
}

TEST_P(Attention, AllocatesNothingWhenRunAgain) {
  // On one thread, so that it is the same thread again.
  tbb::task_arena(1).execute([&] {
    Floats dqkv(qkv.size());
    const auto run = [&] {
      forward();
      attention_backward(dqkv.data(), dout.data(), qkv.data(), out.data(), lse.data(), batch,
                         tokens, heads, head_dim);
    };
    run();
    const std::int64_t before = test::allocation_count();
    ASSERT_GT(before, 0);  // the inputs
    run();
    EXPECT_EQ(test::allocation_count(), before);
  });
}

// One head by every variant that this processor can run; the best is what the other tests test.
TEST_P(Attention, EveryInstructionSetAgrees) {
  const Halves qkv_half = round_in_place(qkv), dout_half = round_in_place(dout);
  const std::int64_t width = heads * head_dim, plane = tokens * attention_row(head_dim);
  const auto run = [&](auto& result_out, auto& result_dq, const AttentionBlocks& blocks,
                       ConstFloatPtr q, ConstFloatPtr dout_ptr) {
    const AttentionTask task{.q = q,
                             .k = q + width,
                             .v = q + 2 * width,
                             .qkv_ld = 3 * width,
                             .out_ld = width,
                             .tokens = tokens,
                             .head_dim = head_dim,
                             .q_begin = 0,
                             .q_end = tokens};
    Floats scratch(reference::size(
        std::max(attention_forward_scratch(task), attention_backward_scratch(task))));
    Floats sums(reference::size(2 * plane));
    Floats lse_n(reference::size(tokens));
    blocks.forward(result_out.data(), lse_n.data(), task, scratch.data());
    blocks.backward({.dout = dout_ptr,
                     .out = result_out.data(),
                     .lse = lse_n.data(),
                     .dq = result_dq.data(),
                     .dk_sums = sums.data(),
                     .dv_sums = sums.data() + plane},
                    task, scratch.data());
    // All gradients, without what fills the rows up. Of one token those of queries and keys are
    // zero but for rounding, so that they are compared beside those of values.
    Floats gradients;
    for (const auto value : result_dq) gradients.push_back(static_cast<float>(value));
    for (std::int64_t n = 0; n < 2 * tokens; ++n) {
      const float* row = sums.data() + n * attention_row(head_dim);
      gradients.insert(gradients.end(), row, row + head_dim);
    }
    return gradients;
  };
  Floats out_expected, expected;
  for (const AttentionBlocks& blocks : attention_blocks(DType::f32)) {
    Floats out_n(out.size()), dq(qkv.size());
    const Floats gradients = run(out_n, dq, blocks, qkv.data(), dout.data());
    if (expected.empty()) std::tie(out_expected, expected) = std::tie(out_n, gradients);
    test::expect_close(out_n, as_doubles(out_expected), 3e-6, blocks.name);
    test::expect_close(gradients, as_doubles(expected), 1e-5, blocks.name);
  }
  for (const AttentionBlocks& blocks : attention_blocks(DType::bf16)) {
    Halves out_n(out.size()), dq(qkv.size());
    const Floats gradients = run(out_n, dq, blocks, qkv_half.data(), dout_half.data());
    test::expect_close(widened(out_n), as_doubles(out_expected), 4.0 / 512, blocks.name);
    test::expect_close(gradients, as_doubles(expected), 6.0 / 512, blocks.name);
  }
}

// One token, odd sizes, dims that fill no vector, one block exactly, several blocks with a rest,
// and few heads of many tokens, whose queries are shared among tasks.
INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    testing::Values(Shape{1, 1, 1, 1}, Shape{2, 3, 2, 5}, Shape{3, 17, 4, 16}, Shape{1, 1, 3, 64},
                    Shape{2, 64, 2, 32}, Shape{1, 128, 1, 64}, Shape{1, 129, 2, 24},
                    Shape{2, 300, 1, 16}, Shape{2, 65, 2, 4}, Shape{1, 130, 3, 12},
                    Shape{2, 130, 2, 48}, Shape{3, 36, 6, 64}, Shape{9, 144, 2, 64},
                    Shape{1, 65, 2, 80}, Shape{1, 257, 1, 128}, Shape{1, 1024, 1, 64}),
    [](const auto& test_info) {
      const Shape& shape = test_info.param;
      return std::to_string(shape.batch) + "x" + std::to_string(shape.tokens) + "x" +
             std::to_string(shape.heads) + "x" + std::to_string(shape.head_dim);
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

TEST(AttentionEdges, NanInAValueStaysInItsDim) {
  constexpr std::int64_t kTokens = 70, kDim = 20;
  for (const bool is_bf16 : {false, true}) {
    Floats qkv = test::random_values("qkv", kTokens * 3 * kDim);
    qkv[(33 * 3 + 2) * kDim + 7] = std::nanf("");
    const Halves qkv_half = round_in_place(qkv);
    Floats out(kTokens * kDim), lse(kTokens);
    Halves out_half(out.size());
    if (is_bf16) {
      attention_forward(out_half.data(), lse.data(), qkv_half.data(), 1, kTokens, 1, kDim);
      out = widened(out_half);
    } else {
      attention_forward(out.data(), lse.data(), qkv.data(), 1, kTokens, 1, kDim);
    }
    for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i % kDim == 7) << i;
  }
}

TEST(AttentionEdges, ProductsCount) {
  constexpr std::int64_t kTokens = 10, kDim = 4, kProduct = 2 * kTokens * kTokens * kDim;
  const Floats qkv = test::random_values("qkv", kTokens * 3 * kDim);
  Floats out(kTokens * kDim), lse(kTokens), dqkv(qkv.size());
  const std::int64_t before = gemm_flops();
  attention_forward(out.data(), lse.data(), qkv.data(), 1, kTokens, 1, kDim);
  EXPECT_EQ(gemm_flops() - before, 2 * kProduct);
  attention_backward(dqkv.data(), out.data(), qkv.data(), out.data(), lse.data(), 1, kTokens, 1,
                     kDim);
  EXPECT_EQ(gemm_flops() - before, 7 * kProduct);
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
