// Linear layers and the products they are made of.
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/kernels/rates.h"
#include "ops/base/bfloat16.h"
#include "ops/kernels/gemm.h"
#include "ops/kernels/linear.h"

namespace trib::bench {
namespace {

using namespace ops;

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
  report_flops<Float>(state, c.flops());
}

template <class Float>
void bm_linear_gelu_forward(benchmark::State& state) {
  LinearCase<Float> c(state);
  for (auto _ : state) {
    linear_gelu_forward(c.activated.data(), c.y.data(), c.x.data(), c.w.data(), c.b.data(), c.rows,
                        c.in, c.out);
    benchmark::ClobberMemory();
  }
  report_flops<Float>(state, c.flops());
}

template <class Float>
void bm_linear_backward(benchmark::State& state) {
  LinearCase<Float> c(state);
  for (auto _ : state) {
    linear_backward(c.dx.data(), c.dw.data(), c.db.data(), c.dy.data(), c.x.data(), c.w.data(),
                    c.rows, c.in, c.out);
    benchmark::ClobberMemory();
  }
  report_flops<Float>(state, 2 * c.flops());
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
  report_flops<Float>(state, c.flops());
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

TRIB_BENCH(bm_linear_forward<float>)->Apply(linear_shapes);
TRIB_BENCH(bm_linear_forward<BFloat16>)->Apply(linear_shapes);
TRIB_BENCH(bm_linear_gelu_forward<float>)->Args({2304, 384, 1536})->Args({2048, 256, 1024});
TRIB_BENCH(bm_linear_gelu_forward<BFloat16>)->Args({2304, 384, 1536})->Args({2048, 256, 1024});
TRIB_BENCH(bm_linear_backward<float>)->Apply(linear_shapes);
TRIB_BENCH(bm_linear_backward<BFloat16>)->Apply(linear_shapes);
TRIB_BENCH(bm_gemm_weight_gradient<float>)->Apply(linear_shapes);
TRIB_BENCH(bm_gemm_weight_gradient<BFloat16>)->Apply(linear_shapes);

}  // namespace
}  // namespace trib::bench
