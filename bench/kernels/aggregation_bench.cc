// Aggregation of channels from their patches, fused and by tokens, keys and values.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/kernels/rates.h"
#include "ops/base/parallel.h"
#include "ops/kernels/channel_attention.h"
#include "ops/kernels/fused_channel_attention.h"
#include "ops/kernels/fused_channel_linear.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/linear.h"

namespace trib::bench {
namespace {

using namespace ops;

// Aggregation of channels from their patches, forward and backward. Arguments: rows, channels,
// pixels, dim, heads.
struct AggregationCase {
  std::int64_t rows, channels, pixels, dim, heads;
  Floats patches, weights, biases, q, kv_weight, dout, out;
  Floats d_weights, d_biases, d_var_embed, dq, dkv_weight;
  std::vector<std::int64_t> row_offsets;

  explicit AggregationCase(const benchmark::State& state)
      : rows(state.range(0)),
        channels(state.range(1)),
        pixels(state.range(2)),
        dim(state.range(3)),
        heads(state.range(4)),
        patches(values(rows * channels * pixels)),
        weights(values(channels * dim * pixels)),
        biases(values(channels * dim)),
        q(values(dim)),
        kv_weight(values(2 * dim * dim)),
        dout(values(rows * dim)),
        out(dout.size()),
        d_weights(weights.size()),
        d_biases(biases.size()),
        d_var_embed(biases.size()),
        dq(q.size()),
        dkv_weight(kv_weight.size()) {
    for (std::int64_t r = 0; r < rows; ++r) row_offsets.push_back(r * channels * pixels);
  }

  // Square patches of one image after the other.
  ChannelPatchesView view() const {
    const auto edge = static_cast<std::int64_t>(std::lround(std::sqrt(pixels)));
    return {.x = patches.data(),
            .row_offsets = row_offsets.data(),
            .channel_stride = pixels,
            .pitch = edge,
            .rows = rows,
            .channels = channels,
            .height = edge,
            .width = edge};
  }
  TokenWeights tokens() const { return {weights.data(), biases.data(), biases.data(), dim}; }
  TokenGradients d_tokens() { return {d_weights.data(), d_biases.data(), d_var_embed.data()}; }
};

Floats room(std::int64_t count) {
  return Floats(static_cast<std::size_t>(count));
}

void report_aggregation(benchmark::State& state, const AggregationCase& c, double flops) {
  report_flops<float>(state, flops);
  state.counters["positions"] = benchmark::Counter(static_cast<double>(c.rows * state.iterations()),
                                                   benchmark::Counter::kIsRate);
}

// By tokens, keys and values.
void bm_unfused_channel_attention(benchmark::State& state) {
  AggregationCase c(state);
  const std::int64_t rows = c.rows, channels = c.channels, pixels = c.pixels, dim = c.dim;
  Floats tokens = room(rows * channels * dim), kv = room(2 * rows * channels * dim);
  Floats a = room(rows * channels * c.heads), d_tokens(tokens.size()), dkv(kv.size());
  for (auto _ : state) {
    parallel_for(channels, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        float* out = tokens.data() + i * dim;
        for (std::int64_t r = 0; r < rows; ++r) {
          std::copy_n(c.biases.data() + i * dim, dim, out + r * channels * dim);
        }
        gemm_serial(Transpose::no, Transpose::yes, rows, dim, pixels, 1.0F,
                    c.patches.data() + i * pixels, channels * pixels,
                    c.weights.data() + i * dim * pixels, pixels, 1.0F, out, channels * dim);
      }
    });
    linear_forward(kv.data(), tokens.data(), c.kv_weight.data(), nullptr, rows * channels, dim,
                   2 * dim);
    channel_attention_forward(c.out.data(), a.data(), c.q.data(), kv.data(), rows, channels,
                              c.heads, dim / c.heads);
    channel_attention_backward(c.dq.data(), dkv.data(), c.dout.data(), a.data(), c.q.data(),
                               kv.data(), rows, channels, c.heads, dim / c.heads);
    linear_backward(d_tokens.data(), c.dkv_weight.data(), nullptr, dkv.data(), tokens.data(),
                    c.kv_weight.data(), rows * channels, dim, 2 * dim);
    parallel_for(channels, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const float* from = d_tokens.data() + i * dim;
        gemm_serial(Transpose::yes, Transpose::no, dim, pixels, rows, 1.0F, from, channels * dim,
                    c.patches.data() + i * pixels, channels * pixels, 1.0F,
                    c.d_weights.data() + i * dim * pixels, pixels);
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t d = 0; d < dim; ++d) {
            c.d_biases[static_cast<std::size_t>(i * dim + d)] += from[r * channels * dim + d];
          }
        }
      }
    });
    benchmark::ClobberMemory();
  }
  // Tokens 2 x, keys and values 3 x: the pixels need no gradient.
  report_aggregation(state, c,
                     static_cast<double>(rows * channels) *
                         static_cast<double>(2 * 2 * pixels * dim + 3 * 4 * dim * dim));
}

void bm_fused_channel_attention(benchmark::State& state) {
  AggregationCase c(state);
  const std::int64_t heads = c.heads, head_dim = c.dim / heads;
  Floats weights = room(fused_attention_weights_floats(c.rows, c.channels, heads));
  Floats folded = room(fused_attention_folded_floats(c.channels, c.pixels, heads, head_dim));
  Floats max = room(c.rows * heads), sum(max.size());
  Floats workspace =
      room(std::max(fused_channel_scores_workspace(c.channels, c.pixels, c.dim, heads, head_dim),
                    fused_channel_attention_backward_workspace(c.rows, c.channels, c.pixels, c.dim,
                                                               heads, head_dim)));
  const FusedAttentionState saved{weights.data(), folded.data()};
  const float *k_weight = c.kv_weight.data(), *v_weight = k_weight + c.dim * c.dim;
  const ChannelAttentionWeights attention{c.q.data(), k_weight, v_weight, heads, head_dim};
  const ChannelAttentionGradients d_attention{c.dq.data(), c.dkv_weight.data(),
                                              c.dkv_weight.data() + c.dim * c.dim};
  for (auto _ : state) {
    fused_channel_scores(saved, max.data(), sum.data(), c.view(), c.tokens(), attention,
                         workspace.data());
    for (float& s : sum) s = 1.0F / s;
    fused_channel_mix(c.out.data(), saved, sum.data(), c.view(), attention);
    fused_channel_attention_backward(d_attention, c.d_tokens(), c.dout.data(), c.out.data(),
                                     c.view(), c.tokens(), attention, saved, workspace.data());
    benchmark::ClobberMemory();
  }
  // Scores and mix, forward 1 x, backward 2 x; folding the weights 3 x.
  const auto inner = static_cast<double>(c.channels * (c.pixels + 1));
  report_aggregation(state, c,
                     3 * 2 * inner * static_cast<double>(c.rows * (c.dim + heads)) +
                         3 * 2 * inner * static_cast<double>(c.dim * (c.dim + heads)));
}

void bm_fused_channel_linear(benchmark::State& state) {
  AggregationCase c(state);
  const Floats w = values(c.channels);
  Floats dw(w.size()),
      workspace = room(fused_channel_linear_workspace(c.channels, c.pixels, c.dim));
  float dbias = 0;
  for (auto _ : state) {
    fused_channel_linear_forward(c.out.data(), c.dim, c.view(), c.tokens(), w.data(), 0.1F,
                                 workspace.data());
    fused_channel_linear_backward(c.d_tokens(), dw.data(), &dbias, c.dout.data(), c.dim, c.view(),
                                  c.tokens(), w.data(), workspace.data());
    benchmark::ClobberMemory();
  }
  report_aggregation(
      state, c,
      2 * 2 * static_cast<double>(c.rows * c.channels) * static_cast<double>(c.pixels * c.dim));
}

void aggregation_arguments(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "channels", "pixels", "dim", "heads"});
}

void aggregation_shapes(benchmark::internal::Benchmark* bench) {
  aggregation_arguments(bench);
  bench->Args({512, 512, 16, 256, 8})->Args({1024, 48, 16, 128, 4})->Args({1024, 8, 64, 256, 8});
  bench->Args({2048, 80, 4, 256, 8})->Args({256, 512, 16, 384, 6});
}

TRIB_BENCH(bm_unfused_channel_attention)->Apply(aggregation_arguments)->Args({64, 512, 16, 256, 8});
TRIB_BENCH(bm_fused_channel_attention)->Apply(aggregation_shapes);
TRIB_BENCH(bm_fused_channel_linear)->Apply(aggregation_shapes);

}  // namespace
}  // namespace trib::bench
