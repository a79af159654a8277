// Self-attention.
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/kernels/rates.h"
#include "ops/base/bfloat16.h"
#include "ops/kernels/attention.h"

namespace trib::bench {
namespace {

using namespace ops;

// Arguments: batch, tokens, heads, head_dim. Ratios of bfloat16 are to the peak of
// float32 too.
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
  report_flops<float>(state, 2 * attention.flops());
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
  report_flops<float>(state, 5 * attention.flops());
}

void attention_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"batch", "tokens", "heads", "head_dim"});
  bench->Args({64, 16, 4, 16})->Args({64, 64, 4, 16})->Args({64, 64, 4, 32});
  bench->Args({4, 512, 8, 32})->Args({4, 64, 6, 64})->Args({16, 36, 6, 64});
  bench->Args({16, 144, 6, 64})->Args({8, 196, 12, 64})->Args({1, 1024, 8, 64});
  bench->Args({1, 1024, 1, 64})->Args({1, 2048, 8, 64});
}

TRIB_BENCH(bm_attention_forward<float>)->Apply(attention_shapes);
TRIB_BENCH(bm_attention_forward<BFloat16>)->Apply(attention_shapes);
TRIB_BENCH(bm_attention_backward<float>)->Apply(attention_shapes);
TRIB_BENCH(bm_attention_backward<BFloat16>)->Apply(attention_shapes);

}  // namespace
}  // namespace trib::bench
