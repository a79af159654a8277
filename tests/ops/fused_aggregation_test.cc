// The fused aggregations against what they stand for: tokens formed, keys and values formed,
// attention over them or their weighted sum, and the gradients of all that, in double.
#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "ops/kernels/fused_channel_attention.h"
#include "ops/kernels/fused_channel_linear.h"
#include "tests/ops/kernel_testing.h"
#include "tests/ops/reference.h"
#include "tests/support/gradient_check.h"

namespace trib::ops {
namespace {

using reference::Index;
using reference::size;
using test::Doubles;
using test::Floats;

struct Shape {
  Index rows, channels, pixels, dim, heads, head_dim;
};

std::string name_of_shape(const Shape& s) {
  return "R" + std::to_string(s.rows) + "C" + std::to_string(s.channels) + "P" +
         std::to_string(s.pixels) + "D" + std::to_string(s.dim) + "H" + std::to_string(s.heads) +
         "x" + std::to_string(s.head_dim);
}

std::string name_of_case(const testing::TestParamInfo<Shape>& test_info) {
  return std::to_string(test_info.index) + "_" + name_of_shape(test_info.param);
}

// Central differences call the reference about a hundred times.
bool reference_is_slow(const Shape& s) {
  return s.rows * s.channels * s.dim * (s.pixels + s.heads * s.head_dim) > 3'000'000;
}

// Edges of the blocks of positions and channels, patches larger than a block, all heads and some.
std::vector<Shape> shapes() {
  std::vector<Shape> result = {
      {1, 1, 1, 8, 1, 8},     {3, 5, 4, 24, 2, 7},     {64, 17, 16, 32, 4, 8},
      {65, 70, 1, 16, 8, 2},  {150, 33, 49, 24, 3, 8}, {129, 40, 16, 12, 1, 12},
      {9, 3, 300, 8, 2, 4},   {70, 31, 15, 10, 5, 1},  {100, 30, 4, 64, 2, 32},
      {33, 60, 9, 24, 3, 20}, {64, 12, 16, 64, 1, 64}};
  const RandomStream stream(7, "shapes");
  constexpr Index kPixels[] = {1, 4, 9, 16, 49};
  for (std::size_t i = 0; i < 8; ++i) {
    const auto draw = [&](std::size_t what, Index low, Index high) {
      const float u = stream.uniform(16 * i + what);
      return std::min(high, low + static_cast<Index>(u * static_cast<float>(high - low + 1)));
    };
    result.push_back({draw(0, 1, 150), draw(1, 2, 70), kPixels[draw(2, 0, 4)], draw(3, 1, 40),
                      draw(4, 1, 8), draw(5, 1, 9)});
  }
  return result;
}

// Patches that are a group within a larger tensor, the tokens' weights and gradients for them.
struct Tokens {
  explicit Tokens(const Shape& of)
      : shape(of),
        row_stride((of.channels + 3) * of.pixels),
        patches(test::random_values("patches", of.rows * row_stride)),
        row_offsets(size(of.rows)),
        weights(test::random_values("weights", of.channels * of.dim * of.pixels,
                                    1.0F / std::sqrt(static_cast<float>(of.pixels)))),
        biases(test::random_values("biases", of.channels * of.dim)),
        var_embed(test::random_values("var_embed", of.channels * of.dim)) {
    for (Index r = 0; r < of.rows; ++r) row_offsets[size(r)] = r * row_stride;
  }

  // Channels [begin, end) of the group; patches are square where they can be.
  ChannelPatchesView view(Index begin, Index end) const {
    const auto edge = static_cast<Index>(std::lround(std::sqrt(shape.pixels)));
    const Index width = edge * edge == shape.pixels ? edge : shape.pixels;
    return {.x = patches.data() + (begin + 2) * shape.pixels,
            .row_offsets = row_offsets.data(),
            .channel_stride = shape.pixels,
            .pitch = width,
            .rows = shape.rows,
            .channels = end - begin,
            .height = shape.pixels / width,
            .width = width};
  }
  TokenWeights token_weights(Index begin) const {
    const Index at = begin * shape.dim;
    return {weights.data() + at * shape.pixels, biases.data() + at, var_embed.data() + at,
            shape.dim};
  }
  double patch(Index r, Index c, Index p) const {
    return patches[size(r * row_stride + (c + 2) * shape.pixels + p)];
  }

  Doubles tokens_rcd() const {
    const auto [rows, channels, pixels, dim, heads, head_dim] = shape;
    Doubles tokens;
    for (Index r = 0; r < rows; ++r) {
      for (Index cd = 0; cd < channels * dim; ++cd) {
        double token = static_cast<double>(biases[size(cd)]) + var_embed[size(cd)];
        for (Index p = 0; p < pixels; ++p) {
          token += weights[size(cd * pixels + p)] * patch(r, cd / dim, p);
        }
        tokens.push_back(token);
      }
    }
    return tokens;
  }
  // Gradients of the weights and of the biases (or embeddings) from that of the tokens.
  void backward(const Doubles& d_tokens, Doubles& d_weights, Doubles& d_biases) const {
    const auto [rows, channels, pixels, dim, heads, head_dim] = shape;
    d_weights.assign(weights.size(), 0);
    d_biases.assign(biases.size(), 0);
    for (Index r = 0; r < rows; ++r) {
      for (Index cd = 0; cd < channels * dim; ++cd) {
        const double d = d_tokens[size(r * channels * dim + cd)];
        d_biases[size(cd)] += d;
        for (Index p = 0; p < pixels; ++p) {
          d_weights[size(cd * pixels + p)] += d * patch(r, cd / dim, p);
        }
      }
    }
  }

  Shape shape;
  Index row_stride;
  Floats patches;
  std::vector<std::int64_t> row_offsets;
  Floats weights, biases, var_embed;
};

struct TokenGradientBuffers {
  explicit TokenGradientBuffers(const Tokens& tokens, float start = 0)
      : weights(tokens.weights.size(), start),
        biases(tokens.biases.size(), start),
        var_embed(tokens.biases.size(), start) {}

  TokenGradients at(const Tokens& tokens, Index channel) {
    const Index at = channel * tokens.shape.dim;
    return {weights.data() + at * tokens.shape.pixels, biases.data() + at, var_embed.data() + at};
  }

  Floats weights, biases, var_embed;
};

void expect_added(const Floats& added, const Floats& gradient, float start,
                  const std::string& what) {
  Doubles expected;
  for (const float g : gradient) expected.push_back(static_cast<double>(g) + start);
  test::expect_close(added, expected, 1e-6, what);
}

// ---- attention -----------------------------------------------------------------------------

struct AttentionResult {
  Doubles out, dq, dk_weight, dv_weight, d_weights, d_biases;
};

class FusedChannelAttention : public testing::TestWithParam<Shape> {
 protected:
  struct Gradients {
    explicit Gradients(const FusedChannelAttention& test, float start = 0)
        : q(test.q.size(), start),
          k_weight(test.k_weight.size(), start),
          v_weight(test.v_weight.size(), start),
          tokens(test.tokens, start) {}

    Floats q, k_weight, v_weight;
    TokenGradientBuffers tokens;
  };

  // What a rank with channels [begin, end) does.
  struct Rank {
    Rank(const FusedChannelAttention& of, Index first, Index last)
        : test(of),
          begin(first),
          patches(of.tokens.view(first, last)),
          weights(size(fused_attention_weights_floats(shape.rows, last - first, shape.heads)),
                  1e9F),
          values(size(fused_attention_folded_floats(last - first, shape.pixels, shape.heads,
                                                    shape.head_dim)),
                 1e9F),
          out(of.dout.size(), 1e9F),
          max(size(shape.rows * shape.heads), 1e9F),
          sum(max),
          factor(max) {}

    void scores() {
      Floats workspace(size(fused_channel_scores_workspace(patches.channels, shape.pixels,
                                                           shape.dim, shape.heads, shape.head_dim)),
                       kNan);
      fused_channel_scores(state(), max.data(), sum.data(), patches,
                           test.tokens.token_weights(begin), test.attention_weights(),
                           workspace.data());
    }
    void mix() {
      fused_channel_mix(out.data(), state(), factor.data(), patches, test.attention_weights());
    }
    void backward(const Floats& total_out, Gradients& gradients) {
      Floats workspace(
          size(fused_channel_attention_backward_workspace(
              shape.rows, patches.channels, shape.pixels, shape.dim, shape.heads, shape.head_dim)),
          kNan);
      fused_channel_attention_backward(
          {gradients.q.data(), gradients.k_weight.data(), gradients.v_weight.data()},
          gradients.tokens.at(test.tokens, begin), test.dout.data(), total_out.data(), patches,
          test.tokens.token_weights(begin), test.attention_weights(), state(), workspace.data());
    }
    FusedAttentionState state() { return {weights.data(), values.data()}; }

    static constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    const FusedChannelAttention& test;
    const Shape shape = test.shape;
    Index begin;
    ChannelPatchesView patches;
    Floats weights, values, out, max, sum, factor;
  };

  // Forward and backward of ranks that own the channels between `bounds`, as if these summed up
  // over MPI. Returns the output.
  Floats run(const std::vector<Index>& bounds, Gradients& gradients) const {
    std::vector<Rank> ranks;
    for (std::size_t i = 0; i + 1 < bounds.size(); ++i) {
      ranks.emplace_back(*this, bounds[i], bounds[i + 1]);
    }
    for (Rank& rank : ranks) rank.scores();
    for (std::size_t i = 0; i < size(shape.rows * shape.heads); ++i) {
      float max = -std::numeric_limits<float>::infinity(), sum = 0;
      for (const Rank& rank : ranks) max = std::max(max, rank.max[i]);
      for (const Rank& rank : ranks) sum += rank.sum[i] * std::exp(rank.max[i] - max);
      for (Rank& rank : ranks) rank.factor[i] = std::exp(rank.max[i] - max) / sum;
    }
    Floats out(dout.size());
    for (Rank& rank : ranks) {
      rank.mix();
      for (std::size_t i = 0; i < out.size(); ++i) out[i] += rank.out[i];
    }
    for (Rank& rank : ranks) rank.backward(out, gradients);
    return out;
  }
  Floats run(Gradients& gradients) const { return run({0, shape.channels}, gradients); }

  ChannelAttentionWeights attention_weights() const {
    return {q.data(), k_weight.data(), v_weight.data(), shape.heads, shape.head_dim};
  }

  // The unfused composition; gradients only if asked for.
  AttentionResult expected(bool with_gradients) const {
    const auto [rows, channels, pixels, dim, heads, head_dim] = shape;
    const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
    const Index width = heads * head_dim;
    const Doubles t = tokens.tokens_rcd();
    AttentionResult result;
    result.out.assign(size(rows * width), 0);
    result.dq.assign(q.size(), 0);
    result.dk_weight.assign(k_weight.size(), 0);
    result.dv_weight.assign(v_weight.size(), 0);
    Doubles dt(t.size());
    for (Index r = 0; r < rows; ++r) {
      for (Index h = 0; h < heads; ++h) {
        Doubles k(size(channels * head_dim)), v(k.size()), s(size(channels)), da(s.size());
        for (Index c = 0; c < channels; ++c) {
          for (Index j = 0; j < head_dim; ++j) {
            const std::size_t cj = size(c * head_dim + j);
            for (Index d = 0; d < dim; ++d) {
              const double token = t[size((r * channels + c) * dim + d)];
              k[cj] += k_weight[size((h * head_dim + j) * dim + d)] * token;
              v[cj] += v_weight[size((h * head_dim + j) * dim + d)] * token;
            }
            s[size(c)] += scale * q[size(h * head_dim + j)] * k[cj];
          }
        }
        reference::softmax(s.data(), 1, channels);
        const std::size_t at = size(r * width + h * head_dim);
        double mean = 0;
        for (Index c = 0; c < channels; ++c) {
          for (Index j = 0; j < head_dim; ++j) {
            const double value = v[size(c * head_dim + j)];
            result.out[at + size(j)] += s[size(c)] * value;
            da[size(c)] += dout[at + size(j)] * value;
          }
          mean += s[size(c)] * da[size(c)];
        }
        if (!with_gradients) continue;
        for (Index c = 0; c < channels; ++c) {
          const double ds = scale * s[size(c)] * (da[size(c)] - mean);
          for (Index j = 0; j < head_dim; ++j) {
            const Index a = h * head_dim + j;
            const double dk = ds * q[size(a)], dv = s[size(c)] * dout[at + size(j)];
            result.dq[size(a)] += ds * k[size(c * head_dim + j)];
            for (Index d = 0; d < dim; ++d) {
              const std::size_t ad = size(a * dim + d), rcd = size((r * channels + c) * dim + d);
              result.dk_weight[ad] += dk * t[rcd];
              result.dv_weight[ad] += dv * t[rcd];
              dt[rcd] += dk * k_weight[ad] + dv * v_weight[ad];
            }
          }
        }
      }
    }
    tokens.backward(dt, result.d_weights, result.d_biases);
    return result;
  }

  static float projection_scale(const Shape& shape) {
    return 1.0F / std::sqrt(static_cast<float>(shape.dim));
  }

  const Shape shape = GetParam();
  Tokens tokens{shape};
  Floats q = test::random_values("q", shape.heads* shape.head_dim);
  Floats k_weight =
      test::random_values("k", shape.heads* shape.head_dim* shape.dim, projection_scale(shape));
  Floats v_weight =
      test::random_values("v", shape.heads* shape.head_dim* shape.dim, projection_scale(shape));
  Floats dout = test::random_values("dout", shape.rows* shape.heads* shape.head_dim);
};

TEST_P(FusedChannelAttention, MatchesTheUnfusedForm) {
  Gradients gradients(*this);
  const Floats out = run(gradients);
  const AttentionResult e = expected(/*with_gradients=*/true);
  test::expect_close(out, e.out, 1e-5, "out");
  test::expect_close(gradients.v_weight, e.dv_weight, 1e-5, "dv_weight");
  test::expect_close(gradients.tokens.weights, e.d_weights, 1e-5, "d_weights");
  test::expect_close(gradients.tokens.biases, e.d_biases, 1e-5, "d_biases");
  EXPECT_EQ(gradients.tokens.biases, gradients.tokens.var_embed);
  if (shape.channels > 1) {
    test::expect_close(gradients.q, e.dq, 1e-5, "dq");
    test::expect_close(gradients.k_weight, e.dk_weight, 1e-5, "dk_weight");
  } else {  // a softmax of one has no gradient
    for (const float dq : gradients.q) EXPECT_NEAR(dq, 0, 1e-5);
    for (const float dk : gradients.k_weight) EXPECT_NEAR(dk, 0, 1e-5);
  }
}

TEST_P(FusedChannelAttention, BackwardIsTheGradient) {
  if (reference_is_slow(shape)) GTEST_SKIP() << "covered by the comparison with the reference";
  Gradients gradients(*this);
  run(gradients);
  const auto loss = [&] { return test::weighted_sum(expected(false).out, dout); };
  const test::GradientCheck check{.step = 1e-3, .tolerance = 1e-3, .max_elements = 8};
  if (shape.channels > 1) {
    test::check_gradient("q", q, gradients.q, loss, check);
    test::check_gradient("k_weight", k_weight, gradients.k_weight, loss, check);
  }
  test::check_gradient("v_weight", v_weight, gradients.v_weight, loss, check);
  test::check_gradient("weights", tokens.weights, gradients.tokens.weights, loss, check);
  test::check_gradient("biases", tokens.biases, gradients.tokens.biases, loss, check);
  test::check_gradient("var_embed", tokens.var_embed, gradients.tokens.var_embed, loss, check);
}

TEST_P(FusedChannelAttention, BackwardAddsToWhatIsThere) {
  constexpr float kStart = 2;
  Gradients gradients(*this), added(*this, kStart);
  run(gradients);
  run(added);
  expect_added(added.q, gradients.q, kStart, "dq");
  expect_added(added.k_weight, gradients.k_weight, kStart, "dk_weight");
  expect_added(added.v_weight, gradients.v_weight, kStart, "dv_weight");
  expect_added(added.tokens.weights, gradients.tokens.weights, kStart, "d_weights");
  expect_added(added.tokens.biases, gradients.tokens.biases, kStart, "d_biases");
  expect_added(added.tokens.var_embed, gradients.tokens.var_embed, kStart, "d_var_embed");
}

TEST_P(FusedChannelAttention, RanksWithSomeOfTheChannelsAgreeWithOne) {
  Gradients one(*this), many(*this);
  const Floats out_one = run(one);
  const Index half = shape.channels / 2;
  // The third rank owns none, as may the first.
  const Floats out_many = run({0, half, shape.channels, shape.channels}, many);
  const auto expect_same = [](const Floats& a, const Floats& b, const std::string& what) {
    test::expect_close(a, Doubles(b.begin(), b.end()), 1e-5, what);  // as each by itself
  };
  expect_same(out_many, out_one, "out");
  if (shape.channels > 1) {
    expect_same(many.q, one.q, "dq");
    expect_same(many.k_weight, one.k_weight, "dk_weight");
  }
  expect_same(many.v_weight, one.v_weight, "dv_weight");
  expect_same(many.tokens.weights, one.tokens.weights, "d_weights");
  expect_same(many.tokens.biases, one.tokens.biases, "d_biases");
}

TEST_P(FusedChannelAttention, LargeScoresDoNotOverflow) {
  for (float& value : q) value *= 1000;
  Gradients gradients(*this);
  const Floats out = run(gradients);
  // Only the scores' own rounding is left: they are some thousands.
  test::expect_close(out, expected(false).out, 5e-3, "out");
  for (const Floats* part : {&gradients.q, &gradients.k_weight, &gradients.v_weight,
                             &gradients.tokens.weights, &gradients.tokens.biases}) {
    for (const float value : *part) ASSERT_TRUE(std::isfinite(value));
  }
}

TEST_P(FusedChannelAttention, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("fused_channel_attention", [&] {
    Gradients gradients(*this);
    Floats all = run(gradients);
    for (const Floats* part : {&gradients.q, &gradients.k_weight, &gradients.v_weight,
                               &gradients.tokens.weights, &gradients.tokens.biases}) {
      all.insert(all.end(), part->begin(), part->end());
    }
    return all;
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, FusedChannelAttention, testing::ValuesIn(shapes()), name_of_case);

class FusedChannelAttentionOfNothing : public FusedChannelAttention {};

TEST_P(FusedChannelAttentionOfNothing, IsZeroAndAddsNothing) {
  Rank rank(*this, 0, shape.channels);
  rank.scores();
  for (std::size_t i = 0; i < rank.max.size(); ++i) {
    EXPECT_EQ(rank.max[i], -std::numeric_limits<float>::infinity());
    EXPECT_EQ(rank.sum[i], 0);
  }
  rank.mix();
  EXPECT_EQ(rank.out, Floats(rank.out.size()));
  Gradients gradients(*this, 3.0F);
  rank.backward(rank.out, gradients);
  for (const Floats* part : {&gradients.q, &gradients.k_weight, &gradients.v_weight,
                             &gradients.tokens.weights, &gradients.tokens.biases}) {
    EXPECT_EQ(*part, Floats(part->size(), 3.0F));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, FusedChannelAttentionOfNothing,
                         testing::Values(Shape{70, 0, 4, 8, 2, 4}, Shape{0, 5, 4, 8, 2, 4},
                                         Shape{70, 5, 4, 8, 0, 4}),
                         name_of_case);

class FusedChannelAttentionWithNan : public FusedChannelAttention {};

TEST_P(FusedChannelAttentionWithNan, CountsAsZeroInPatchesAndDoesNotSurviveInScratch) {
  constexpr Index kBad = 20, kFewRows = 9;
  float& missing = tokens.patches[size(kBad * tokens.row_stride + 2 * shape.pixels)];
  // On one thread, so that all calls share its scratch.
  tbb::task_arena(1).execute([&] {
    Gradients poisoned(*this), clean(*this);
    missing = 0;
    const Floats expected = run(poisoned);
    missing = Rank::kNan;
    EXPECT_EQ(run(poisoned), expected);
    dout.assign(dout.size(), Rank::kNan);
    run(poisoned);
    EXPECT_TRUE(std::isnan(poisoned.q[0]));

    dout.assign(dout.size(), 1.0F);
    Rank rank(*this, 0, shape.channels);
    rank.patches.rows = kFewRows;
    rank.scores();
    for (std::size_t i = 0; i < rank.sum.size(); ++i) rank.factor[i] = 1.0F / rank.sum[i];
    rank.mix();
    rank.backward(rank.out, clean);
    for (const Floats* part : {&clean.q, &clean.k_weight, &clean.v_weight, &clean.tokens.weights}) {
      for (const float value : *part) ASSERT_TRUE(std::isfinite(value));
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, FusedChannelAttentionWithNan,
                         testing::Values(Shape{64, 20, 16, 8, 2, 4}, Shape{128, 7, 1, 8, 4, 2}),
                         name_of_case);

// ---- linear --------------------------------------------------------------------------------

class FusedChannelLinear : public testing::TestWithParam<Shape> {
 protected:
  void forward(Floats& out) {
    Floats workspace(workspace_floats(), 1e9F);
    fused_channel_linear_forward(out.data(), stride, tokens.view(0, shape.channels),
                                 tokens.token_weights(0), w.data(), bias[0], workspace.data());
  }
  void backward(TokenGradientBuffers& d_tokens, Floats& dw, Floats& dbias) {
    Floats workspace(workspace_floats(), 1e9F);
    fused_channel_linear_backward(d_tokens.at(tokens, 0), dw.data(), dbias.data(), dout.data(),
                                  stride, tokens.view(0, shape.channels), tokens.token_weights(0),
                                  w.data(), workspace.data());
  }
  std::size_t workspace_floats() const {
    return size(fused_channel_linear_workspace(shape.channels, shape.pixels, shape.dim));
  }
  // The strided dout without the gaps.
  Floats dense(const Floats& strided) const {
    Floats result;
    for (Index r = 0; r < shape.rows; ++r) {
      const float* row = strided.data() + r * stride;
      result.insert(result.end(), row, row + shape.dim);
    }
    return result;
  }
  Doubles reference_out() const {
    const auto [rows, channels, pixels, dim, heads, head_dim] = shape;
    const Doubles t = tokens.tokens_rcd();
    Doubles out(size(rows * dim), bias[0]);
    for (Index rc = 0; rc < rows * channels; ++rc) {
      for (Index d = 0; d < dim; ++d) {
        out[size(rc / channels * dim + d)] += w[size(rc % channels)] * t[size(rc * dim + d)];
      }
    }
    return out;
  }

  const Shape shape = GetParam();
  const Index stride = 2 * shape.dim + 1;
  Tokens tokens{shape};
  Floats w = test::random_values("w", shape.channels);
  Floats bias = {0.7F};
  Floats dout = test::random_values("dout", shape.rows* stride);
};

TEST_P(FusedChannelLinear, ForwardMatchesTheUnfusedFormAndLeavesTheGaps) {
  Floats out(dout.size(), 1e9F);
  forward(out);
  test::expect_close(dense(out), reference_out(), 1e-5, "out");
  for (Index i = 0; i < shape.rows * stride; ++i) {
    if (i % stride >= shape.dim) {
      ASSERT_EQ(out[size(i)], 1e9F);
    }
  }
}

TEST_P(FusedChannelLinear, BackwardMatchesTheUnfusedForm) {
  TokenGradientBuffers gradients(tokens);
  Floats dw(w.size()), dbias(1);
  backward(gradients, dw, dbias);

  const auto [rows, channels, pixels, dim, heads, head_dim] = shape;
  const Doubles t = tokens.tokens_rcd();
  const Floats d = dense(dout);
  Doubles dt(t.size()), dw_expected(dw.size()), dbias_expected(1), d_weights, d_biases;
  double scale = 0;
  for (Index rc = 0; rc < rows * channels; ++rc) {
    for (Index i = 0; i < dim; ++i) {
      const double g = d[size(rc / channels * dim + i)];
      dt[size(rc * dim + i)] = w[size(rc % channels)] * g;
      dw_expected[size(rc % channels)] += g * t[size(rc * dim + i)];
    }
  }
  for (const float g : d) {
    dbias_expected[0] += g;
    scale += std::abs(g);
  }
  tokens.backward(dt, d_weights, d_biases);
  test::expect_close(gradients.weights, d_weights, 1e-5, "d_weights");
  test::expect_close(gradients.biases, d_biases, 1e-5, "d_biases");
  EXPECT_EQ(gradients.biases, gradients.var_embed);
  test::expect_close(dw, dw_expected, 1e-5, "dw");
  EXPECT_NEAR(dbias[0], dbias_expected[0], 1e-6 * scale);

  TokenGradientBuffers added(tokens, 2.0F);
  Floats dw_added(w.size(), 2.0F), dbias_added(1, 2.0F);
  backward(added, dw_added, dbias_added);
  expect_added(added.weights, gradients.weights, 2.0F, "d_weights");
  expect_added(added.var_embed, gradients.var_embed, 2.0F, "d_var_embed");
  expect_added(dw_added, dw, 2.0F, "dw");
  EXPECT_NEAR(dbias_added[0], dbias[0] + 2, 1e-6 * scale);
}

TEST_P(FusedChannelLinear, BackwardIsTheGradient) {
  if (reference_is_slow(shape)) GTEST_SKIP() << "covered by the comparison with the reference";
  TokenGradientBuffers gradients(tokens);
  Floats dw(w.size()), dbias(1);
  backward(gradients, dw, dbias);
  const Floats d = dense(dout);
  const auto loss = [&] { return test::weighted_sum(reference_out(), d); };
  const test::GradientCheck check{.tolerance = 1e-3, .max_elements = 8};
  test::check_gradient("weights", tokens.weights, gradients.weights, loss, check);
  test::check_gradient("biases", tokens.biases, gradients.biases, loss, check);
  test::check_gradient("var_embed", tokens.var_embed, gradients.var_embed, loss, check);
  test::check_gradient("w", w, dw, loss, check);
  test::check_gradient("bias", bias, dbias, loss, check);
}

TEST_P(FusedChannelLinear, IsTheSameOnAnyNumberOfThreads) {
  test::expect_same_on_any_threads("fused_channel_linear", [&] {
    Floats out(dout.size()), dw(w.size()), dbias(1);
    TokenGradientBuffers gradients(tokens);
    forward(out);
    backward(gradients, dw, dbias);
    for (const Floats* part : {&gradients.weights, &gradients.biases, &dw, &dbias}) {
      out.insert(out.end(), part->begin(), part->end());
    }
    return out;
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, FusedChannelLinear, testing::ValuesIn(shapes()), name_of_case);

TEST(FusedChannelLinearEdges, WithoutChannelsOnlyTheBiasIsLeft) {
  Floats out(6, 9.0F), workspace(2), dbias{1};
  const std::array<std::int64_t, 3> row_offsets{};
  const ChannelPatchesView patches{.x = nullptr,
                                   .row_offsets = row_offsets.data(),
                                   .channel_stride = 4,
                                   .pitch = 2,
                                   .rows = 3,
                                   .channels = 0,
                                   .height = 2,
                                   .width = 2};
  const TokenWeights tokens{nullptr, nullptr, nullptr, 2};
  fused_channel_linear_forward(out.data(), 2, patches, tokens, nullptr, 0.5F, workspace.data());
  EXPECT_EQ(out, Floats(6, 0.5F));
  fused_channel_linear_backward({}, nullptr, dbias.data(), out.data(), 2, patches, tokens, nullptr,
                                workspace.data());
  EXPECT_EQ(dbias[0], 4.0F);
}

}  // namespace
}  // namespace trib::ops
