// Aggregation of the tokens of all channels.
#include <cstdint>

#include <benchmark/benchmark.h>

#include "bench/kernels/rates.h"
#include "ops/kernels/channel_attention.h"

namespace trib::bench {
namespace {

using namespace ops;

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

TRIB_BENCH(bm_channel_attention_forward)->Apply(channel_shapes);
TRIB_BENCH(bm_channel_attention_backward)->Apply(channel_shapes);
TRIB_BENCH(bm_channel_linear_forward)->ArgNames({"rows", "channels", "dim"})->Args({256, 500, 128});

}  // namespace
}  // namespace trib::bench
