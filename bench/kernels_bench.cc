// Speed of the kernels, each beside what this machine can do: products beside the peak of sgemm,
// kernels that mostly move memory beside a plain parallel copy.
//
//   env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE build/release/bench/bench_kernels [--peak]
//
// With --peak it says what the machine can do and ends.
//
// Counters, all per second: GFLOP (or GB, each operand counted once) and its `ratio` to what the
// machine does with as many threads.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <type_traits>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "bench/machine.h"
#include "ops/base/bfloat16.h"
#include "ops/base/parallel.h"
#include "ops/base/random.h"
#include "ops/kernels/activation.h"
#include "ops/kernels/attention.h"
#include "ops/kernels/channel_attention.h"
#include "ops/kernels/fused_channel_attention.h"
#include "ops/kernels/fused_channel_linear.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/linear.h"
#include "ops/kernels/patchify.h"

namespace trib::ops {
namespace {

using Floats = std::vector<float>;

Floats values(std::int64_t count) {
  const RandomStream stream(1, "bench");
  Floats result(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = stream.uniform(i) - 0.5F;
  return result;
}

const MachineRates& machine() {
  static const MachineRates measured = [] {
    MachineRates rates = measure_machine();
    rates.take_best(measure_products(/*with_bf16=*/true));
    return rates;
  }();
  return measured;
}

using Rate = benchmark::Counter;

void report_flops(benchmark::State& state, double flops_a_call) {
  const double total = 1e-9 * flops_a_call * static_cast<double>(state.iterations());
  state.counters["GFLOP"] = Rate(total, Rate::kIsRate);
  state.counters["ratio"] = Rate(total / machine().gflops, Rate::kIsRate);
}

void report_bytes(benchmark::State& state, std::int64_t floats_a_call) {
  const double total =
      1e-9 * sizeof(float) * static_cast<double>(floats_a_call * state.iterations());
  state.counters["GB"] = Rate(total, Rate::kIsRate);
  state.counters["ratio"] = Rate(total / machine().copy_gbytes, Rate::kIsRate);
}

template <class Float>
std::vector<Float> values_as(std::int64_t count) {
  std::vector<Float> result;
  result.reserve(static_cast<std::size_t>(count));
  for (const float value : values(count)) result.push_back(Float(value));
  return result;
}

// Beside the peak of products of the same type.
template <class Float>
void report_products(benchmark::State& state, double flops_a_call) {
  const double total = 1e-9 * flops_a_call * static_cast<double>(state.iterations());
  const bool is_float = std::is_same_v<Float, float>;
  state.counters["GFLOP"] = Rate(total, Rate::kIsRate);
  state.counters["ratio"] =
      Rate(total / (is_float ? machine().gflops : machine().bf16_gflops), Rate::kIsRate);
}

// Arguments: rows, in, out. Gradients of weights and biases are float32 for either type.
template <class Float>
struct LinearCase {
  std::int64_t rows, in, out;
  std::vector<Float> x, w, dy, y, activated, dx;
  Floats b, dw, db;

  explicit LinearCase(const benchmark::State& state)
      : rows(state.range(0)),
        in(state.range(1)),
        out(state.range(2)),
        x(values_as<Float>(rows * in)),
        w(values_as<Float>(in * out)),
        dy(values_as<Float>(rows * out)),
        y(dy.size()),
        activated(dy.size()),
        dx(x.size()),
        b(values(out)),
        dw(w.size()),
        db(b.size()) {}

  double flops() const { return 2.0 * static_cast<double>(rows * in * out); }
};

template <class Float>
void bm_linear_forward(benchmark::State& state) {
  LinearCase<Float> c(state);
  for (auto _ : state) {
    linear_forward(c.y.data(), c.x.data(), c.w.data(), c.b.data(), c.rows, c.in, c.out);
    benchmark::ClobberMemory();
  }
  report_products<Float>(state, c.flops());
}

template <class Float>
void bm_linear_gelu_forward(benchmark::State& state) {
  LinearCase<Float> c(state);
  for (auto _ : state) {
    linear_gelu_forward(c.activated.data(), c.y.data(), c.x.data(), c.w.data(), c.b.data(), c.rows,
                        c.in, c.out);
    benchmark::ClobberMemory();
  }
  report_products<Float>(state, c.flops());
}

template <class Float>
void bm_linear_backward(benchmark::State& state) {
  LinearCase<Float> c(state);
  for (auto _ : state) {
    linear_backward(c.dx.data(), c.dw.data(), c.db.data(), c.dy.data(), c.x.data(), c.w.data(),
                    c.rows, c.in, c.out);
    benchmark::ClobberMemory();
  }
  report_products<Float>(state, 2 * c.flops());
}

// The weight gradient alone: a small plane under a long sum.
template <class Float>
void bm_gemm_weight_gradient(benchmark::State& state) {
  LinearCase<Float> c(state);
  for (auto _ : state) {
    gemm(Transpose::yes, Transpose::no, c.out, c.in, c.rows, 1.0F, c.dy.data(), c.out, c.x.data(),
         c.in, 1.0F, c.dw.data(), c.in);
    benchmark::ClobberMemory();
  }
  report_products<Float>(state, c.flops());
}

void linear_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "in", "out"});
  bench->Args({1024, 64, 192})->Args({1024, 128, 384})->Args({1024, 128, 512});
  bench->Args({4096, 128, 384})->Args({4096, 384, 1536})->Args({4096, 1536, 384});
  bench->Args({1568, 768, 3072})->Args({16384, 64, 64})->Args({1000, 100, 300});
  // Layers of vision transformers of width 384 and 256.
  for (const std::int64_t rows : {256, 576, 2304, 3136}) {
    bench->Args({rows, 384, 1152})->Args({rows, 384, 384});
    bench->Args({rows, 384, 1536})->Args({rows, 1536, 384});
  }
  bench->Args({2048, 256, 768})->Args({2048, 256, 256});
  bench->Args({2048, 256, 1024})->Args({2048, 1024, 256});
}

// Arguments: batch, tokens, heads, head_dim. Ratios of bfloat16 are to the peak of float32.
template <class Float>
struct AttentionCase {
  std::int64_t batch, tokens, heads, head_dim, width;
  std::vector<Float> qkv, out;
  Floats lse;

  explicit AttentionCase(const benchmark::State& state)
      : batch(state.range(0)),
        tokens(state.range(1)),
        heads(state.range(2)),
        head_dim(state.range(3)),
        width(heads * head_dim),
        qkv(values_as<Float>(batch * tokens * 3 * width)),
        out(static_cast<std::size_t>(batch * tokens * width)),
        lse(static_cast<std::size_t>(batch * heads * tokens)) {}

  void forward() {
    attention_forward(out.data(), lse.data(), qkv.data(), batch, tokens, heads, head_dim);
  }
  // Of one product of queries and keys.
  double flops() const { return 2.0 * static_cast<double>(batch * tokens * tokens * width); }
};

template <class Float>
void bm_attention_forward(benchmark::State& state) {
  AttentionCase<Float> attention(state);
  for (auto _ : state) {
    attention.forward();
    benchmark::ClobberMemory();
  }
  report_flops(state, 2 * attention.flops());
}

template <class Float>
void bm_attention_backward(benchmark::State& state) {
  AttentionCase<Float> attention(state);
  attention.forward();
  const auto dout = values_as<Float>(static_cast<std::int64_t>(attention.out.size()));
  std::vector<Float> dqkv(attention.qkv.size());
  for (auto _ : state) {
    attention_backward(dqkv.data(), dout.data(), attention.qkv.data(), attention.out.data(),
                       attention.lse.data(), attention.batch, attention.tokens, attention.heads,
                       attention.head_dim);
    benchmark::ClobberMemory();
  }
  report_flops(state, 5 * attention.flops());
}

void attention_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"batch", "tokens", "heads", "head_dim"});
  bench->Args({64, 16, 4, 16})->Args({64, 64, 4, 16})->Args({64, 64, 4, 32});
  bench->Args({4, 512, 8, 32})->Args({4, 64, 6, 64})->Args({16, 36, 6, 64});
  bench->Args({16, 144, 6, 64})->Args({8, 196, 12, 64})->Args({1, 1024, 8, 64});
  bench->Args({1, 1024, 1, 64})->Args({1, 2048, 8, 64});
}

void row_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "dim"});
  bench->Args({1024, 128})->Args({4096, 384})->Args({65536, 128})->Args({32768, 768});
}

void bm_gelu_forward(benchmark::State& state) {
  const Floats x = values(state.range(0));
  Floats y(x.size());
  for (auto _ : state) {
    gelu_forward(y.data(), x.data(), state.range(0));
    benchmark::ClobberMemory();
  }
  report_bytes(state, 2 * state.range(0));
}

void bm_gelu_backward(benchmark::State& state) {
  const Floats x = values(state.range(0)), dy = x;
  Floats dx(x.size());
  for (auto _ : state) {
    gelu_backward(dx.data(), nullptr, dy.data(), x.data(), state.range(0));
    benchmark::ClobberMemory();
  }
  report_bytes(state, 3 * state.range(0));
}

void bm_softmax_forward(benchmark::State& state) {
  const std::int64_t rows = state.range(0), dim = state.range(1);
  const Floats x = values(rows * dim);
  Floats y(x.size());
  for (auto _ : state) {
    softmax_forward(y.data(), x.data(), rows, dim);
    benchmark::ClobberMemory();
  }
  report_bytes(state, 2 * rows * dim);
}

// Arguments: rows, channels, heads, head_dim.
struct ChannelCase {
  std::int64_t rows, channels, heads, head_dim, width;
  Floats q, kv, out, a;

  explicit ChannelCase(const benchmark::State& state)
      : rows(state.range(0)),
        channels(state.range(1)),
        heads(state.range(2)),
        head_dim(state.range(3)),
        width(heads * head_dim),
        q(values(width)),
        kv(values(rows * channels * 2 * width)),
        out(static_cast<std::size_t>(rows * width)),
        a(static_cast<std::size_t>(rows * heads * channels)) {}

  void forward() {
    channel_attention_forward(out.data(), a.data(), q.data(), kv.data(), rows, channels, heads,
                              head_dim);
  }
};

void bm_channel_attention_forward(benchmark::State& state) {
  ChannelCase c(state);
  for (auto _ : state) {
    c.forward();
    benchmark::ClobberMemory();
  }
  report_bytes(state, static_cast<std::int64_t>(c.kv.size() + c.a.size()));
}

void bm_channel_attention_backward(benchmark::State& state) {
  ChannelCase c(state);
  c.forward();
  const Floats dout = values(static_cast<std::int64_t>(c.out.size()));
  Floats dq(c.q.size()), dkv(c.kv.size());
  for (auto _ : state) {
    channel_attention_backward(dq.data(), dkv.data(), dout.data(), c.a.data(), c.q.data(),
                               c.kv.data(), c.rows, c.channels, c.heads, c.head_dim);
    benchmark::ClobberMemory();
  }
  report_bytes(state, static_cast<std::int64_t>(2 * c.kv.size() + c.a.size()));
}

void channel_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "channels", "heads", "head_dim"});
  bench->Args({1024, 48, 4, 32})->Args({512, 500, 4, 16})->Args({256, 500, 4, 32});
  bench->Args({64, 500, 8, 64});
}

void bm_channel_linear_forward(benchmark::State& state) {
  const std::int64_t rows = state.range(0), channels = state.range(1), dim = state.range(2);
  const Floats tokens = values(rows * channels * dim), w = values(channels);
  Floats out(static_cast<std::size_t>(rows * dim));
  for (auto _ : state) {
    channel_linear_forward(out.data(), tokens.data(), w.data(), 0.1F, rows, channels, dim);
    benchmark::ClobberMemory();
  }
  report_bytes(state, static_cast<std::int64_t>(tokens.size() + out.size()));
}

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
  report_flops(state, flops);
  state.counters["positions"] =
      Rate(static_cast<double>(c.rows * state.iterations()), Rate::kIsRate);
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

// Arguments: batch, channels, edge of the image, patch.
struct PatchCase {
  std::int64_t batch, channels, edge, patch;
  Floats image, patches;

  explicit PatchCase(const benchmark::State& state)
      : batch(state.range(0)),
        channels(state.range(1)),
        edge(state.range(2)),
        patch(state.range(3)),
        image(values(batch * channels * edge * edge)),
        patches(image.size()) {}
};

void bm_patchify_channels(benchmark::State& state) {
  PatchCase c(state);
  for (auto _ : state) {
    patchify_channels(c.patches.data(), c.image.data(), nullptr, 0, c.batch, c.channels, c.edge,
                      c.edge, c.patch);
    benchmark::ClobberMemory();
  }
  report_bytes(state, static_cast<std::int64_t>(2 * c.image.size()));
}

void bm_patchify(benchmark::State& state) {
  PatchCase c(state);
  for (auto _ : state) {
    patchify(c.patches.data(), c.image.data(), c.batch, c.channels, c.edge, c.edge, c.patch);
    benchmark::ClobberMemory();
  }
  report_bytes(state, static_cast<std::int64_t>(2 * c.image.size()));
}

void patch_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"batch", "channels", "edge", "patch"});
  bench->Args({16, 218, 32, 4})->Args({8, 48, 128, 8})->Args({16, 12, 128, 16});
}

// Wall time: the work is done by other threads than the one that calls.
#define TRIB_BENCH(function) BENCHMARK(function)->UseRealTime()->Unit(benchmark::kMicrosecond)
TRIB_BENCH(bm_linear_forward<float>)->Apply(linear_shapes);
TRIB_BENCH(bm_linear_forward<BFloat16>)->Apply(linear_shapes);
TRIB_BENCH(bm_linear_gelu_forward<float>)->Args({2304, 384, 1536})->Args({2048, 256, 1024});
TRIB_BENCH(bm_linear_gelu_forward<BFloat16>)->Args({2304, 384, 1536})->Args({2048, 256, 1024});
TRIB_BENCH(bm_linear_backward<float>)->Apply(linear_shapes);
TRIB_BENCH(bm_linear_backward<BFloat16>)->Apply(linear_shapes);
TRIB_BENCH(bm_gemm_weight_gradient<float>)->Apply(linear_shapes);
TRIB_BENCH(bm_gemm_weight_gradient<BFloat16>)->Apply(linear_shapes);
TRIB_BENCH(bm_attention_forward<float>)->Apply(attention_shapes);
TRIB_BENCH(bm_attention_forward<BFloat16>)->Apply(attention_shapes);
TRIB_BENCH(bm_attention_backward<float>)->Apply(attention_shapes);
TRIB_BENCH(bm_attention_backward<BFloat16>)->Apply(attention_shapes);
TRIB_BENCH(bm_softmax_forward)->Apply(row_shapes);
TRIB_BENCH(bm_gelu_forward)->Arg(1 << 17)->Arg(1 << 21)->Arg(1 << 25);
TRIB_BENCH(bm_gelu_backward)->Arg(1 << 17)->Arg(1 << 21)->Arg(1 << 25);
TRIB_BENCH(bm_channel_attention_forward)->Apply(channel_shapes);
TRIB_BENCH(bm_channel_attention_backward)->Apply(channel_shapes);
TRIB_BENCH(bm_channel_linear_forward)->ArgNames({"rows", "channels", "dim"})->Args({256, 500, 128});
TRIB_BENCH(bm_unfused_channel_attention)->Apply(aggregation_arguments)->Args({64, 512, 16, 256, 8});
TRIB_BENCH(bm_fused_channel_attention)->Apply(aggregation_shapes);
TRIB_BENCH(bm_fused_channel_linear)->Apply(aggregation_shapes);
TRIB_BENCH(bm_patchify_channels)->Apply(patch_shapes);
TRIB_BENCH(bm_patchify)->Apply(patch_shapes);

}  // namespace
}  // namespace trib::ops

int main(int argc, char** argv) {
  const bool only_peak = argc == 2 && std::string_view(argv[1]) == "--peak";
  if (only_peak) argc = 1;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const auto& machine = trib::ops::machine();
  fmt::print("{}\n{}\n", trib::ops::blas_description(), trib::ops::gemm_description());
  for (const char* name : {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}) {
    if (const char* value = std::getenv(name)) fmt::print("{}={} (set)\n", name, value);
  }
  fmt::print("sgemm peak: {:.0f} GFLOP/s on 1 thread, {:.0f} on {}\ncopy: {:.1f} GB/s\n",
             machine.serial_gflops, machine.gflops, trib::parallel_width(), machine.copy_gbytes);
  fmt::print("bfloat16 peak: {:.0f} GFLOP/s on {}\n", machine.bf16_gflops, trib::parallel_width());
  std::fflush(stdout);
  if (only_peak) return 0;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
