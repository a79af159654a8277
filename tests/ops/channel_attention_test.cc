#include "ops/kernels/channel_attention.h"

#include <gtest/gtest.h>

#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/gradient_check.h"

namespace trib::ops {
namespace {

using test::Doubles;
using test::Floats;

struct Shape {
  std::int64_t rows, channels, heads, head_dim;
};

std::string name_of_case(const testing::TestParamInfo<Shape>& test_info) {
  const Shape& shape = test_info.param;
  return std::to_string(shape.rows) + "x" + std::to_string(shape.channels) + "x" +
         std::to_string(shape.heads) + "x" + std::to_string(shape.head_dim);
}

const auto kShapes =
    testing::Values(Shape{1, 1, 1, 1}, Shape{3, 5, 2, 7}, Shape{9, 33, 3, 16}, Shape{130, 8, 2, 32},
                    Shape{2, 500, 1, 64}, Shape{301, 13, 4, 24});

class ChannelAttention : public testing::TestWithParam<Shape> {
 protected:
  void forward() {
    channel_attention_forward(out.data(), a.data(), q.data(), kv.data(), rows, channels, heads,
                              head_dim);
  }
  void backward(Floats& dq, Floats& dkv) {
    channel_attention_backward(dq.data(), dkv.data(), dout.data(), a.data(), q.data(), kv.data(),
                               rows, channels, heads, head_dim);
  }
  Doubles reference_out(Doubles* weights = nullptr) const {
    return reference::channel_attention(q.data(), kv.data(), rows, channels, heads, head_dim,
                                        weights);
  }

  const std::int64_t rows = GetParam().rows, channels = GetParam().channels;
  const std::int64_t heads = GetParam().heads, head_dim = GetParam().head_dim;
  Floats q = test::random_values("q", heads* head_dim);
  Floats kv = test::random_values("kv", rows* channels * 2 * heads * head_dim);
  Floats dout = test::random_values("dout", rows* heads* head_dim);
  Floats out = Floats(dout.size(), 1e9F);
  Floats a = Floats(reference::size(rows * heads * channels), 1e9F);
};

TEST_P(ChannelAttention, ForwardMatchesTheReference) {
  forward();
  Doubles weights;
  test::expect_close(out, reference_out(&weights), 2e-6, "out");
  test::expect_close(a, weights, 2e-6, "a");
}

TEST_P(ChannelAttention, BackwardIsTheGradient) {
  forward();
  Floats dq(q.size()), dkv(kv.size(), 1e9F);
  backward(dq, dkv);
  const auto loss = [&] { return test::weighted_sum(reference_out(), dout); };
  const test::GradientCheck check{.step = 1e-3, .tolerance = 1e-3, .max_elements = 32};
  if (channels > 1) test::check_gradient("q", q, dq, loss, check);  // else exactly zero
  test::check_gradient("kv", kv, dkv, loss, check);

  Floats dq_added(q.size(), 2.0F);
  backward(dq_added, dkv);
  for (std::size_t i = 0; i < dq.size(); ++i) EXPECT_NEAR(dq_added[i], dq[i] + 2.0F, 1e-5);
}

TEST_P(ChannelAttention, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("channel_attention", [&] {
    forward();
    Floats dq(q.size()), dkv(kv.size());
    backward(dq, dkv);
    for (const Floats& part : {out, a, dq}) dkv.insert(dkv.end(), part.begin(), part.end());
    return dkv;
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, ChannelAttention, kShapes, name_of_case);

class ChannelLinear : public testing::TestWithParam<Shape> {
 protected:
  const std::int64_t rows = GetParam().rows, channels = GetParam().channels;
  const std::int64_t dim = GetParam().heads * GetParam().head_dim;
  Floats tokens = test::random_values("tokens", rows* channels* dim);
  Floats w = test::random_values("w", channels);
  Floats bias = {0.7F};
  Floats dout = test::random_values("dout", rows* dim);
};

TEST_P(ChannelLinear, ForwardMatchesTheReference) {
  Floats out(dout.size(), 1e9F);
  channel_linear_forward(out.data(), tokens.data(), w.data(), bias[0], rows, channels, dim);
  test::expect_close(
      out, reference::channel_linear(tokens.data(), w.data(), bias[0], rows, channels, dim), 2e-6,
      "out");
}

TEST_P(ChannelLinear, BackwardIsTheGradient) {
  Floats dtokens(tokens.size(), 1e9F), dw(w.size()), dbias(1);
  channel_linear_backward(dtokens.data(), dw.data(), dbias.data(), dout.data(), tokens.data(),
                          w.data(), rows, channels, dim);
  const auto loss = [&] {
    return test::weighted_sum(
        reference::channel_linear(tokens.data(), w.data(), bias[0], rows, channels, dim), dout);
  };
  const test::GradientCheck check{.tolerance = 1e-3, .max_elements = 32};
  test::check_gradient("tokens", tokens, dtokens, loss, check);
  test::check_gradient("w", w, dw, loss, check);
  test::check_gradient("bias", bias, dbias, loss, check);
}

TEST_P(ChannelLinear, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("channel_linear", [&] {
    Floats out(dout.size()), dtokens(tokens.size()), dw(w.size()), dbias(1);
    channel_linear_forward(out.data(), tokens.data(), w.data(), bias[0], rows, channels, dim);
    channel_linear_backward(dtokens.data(), dw.data(), dbias.data(), dout.data(), tokens.data(),
                            w.data(), rows, channels, dim);
    for (const Floats& part : {dtokens, dw, dbias}) out.insert(out.end(), part.begin(), part.end());
    return out;
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, ChannelLinear, kShapes, name_of_case);

TEST(ChannelAttentionEdges, WithoutChannelsTheOutputIsZero) {
  const Floats q{1, 2, 3, 4}, dout(12, 1.0F);
  Floats out(12, 9.0F), dq{5, 6, 7, 8};
  channel_attention_forward(out.data(), nullptr, q.data(), nullptr, 3, 0, 2, 2);
  EXPECT_EQ(out, Floats(12));
  channel_attention_backward(dq.data(), nullptr, dout.data(), nullptr, q.data(), nullptr, 3, 0, 2,
                             2);
  EXPECT_EQ(dq, (Floats{5, 6, 7, 8}));
}

TEST(ChannelAttentionEdges, RowsAndHeadsMayBeNone) {
  const Floats q{1, 2};
  Floats dq{5, 6};
  for (const auto& [rows, heads] : {std::pair{0, 1}, std::pair{3, 0}}) {
    channel_attention_forward(nullptr, nullptr, q.data(), nullptr, rows, 4, heads, 2);
    channel_attention_backward(dq.data(), nullptr, nullptr, nullptr, q.data(), nullptr, rows, 4,
                               heads, 2);
  }
  EXPECT_EQ(dq, (Floats{5, 6}));
}

TEST(ChannelLinearEdges, WithoutChannelsOnlyTheBiasIsLeft) {
  const Floats dout{1, 2, 3, 4};
  Floats out(4, 9.0F), dbias{1};
  channel_linear_forward(out.data(), nullptr, nullptr, 0.5F, 2, 0, 2);
  EXPECT_EQ(out, Floats(4, 0.5F));
  channel_linear_backward(nullptr, nullptr, dbias.data(), dout.data(), nullptr, nullptr, 2, 0, 2);
  EXPECT_EQ(dbias[0], 11.0F);
}

}  // namespace
}  // namespace trib::ops
