#include "ops/kernels/attention/attention_block.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numbers>

// attention_block.inc.h is compiled once for each of a few instruction sets; the processor picks.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TRIB_ATTENTION_X86 1
#include <immintrin.h>
#endif

namespace trib::ops {
namespace {

// Keys at once. Their scores with 64 queries take 32 KiB: of sizes from 64 to 192 the best for
// forward and backward together, with caches of 32 KiB (L1) and 1 MiB (L2).
constexpr std::int64_t kAttentionKeys = 128;

namespace portable {
#define TRIB_LANES 4
#define TRIB_ACCUMULATORS 12
#include "ops/kernels/attention/attention_block.inc.h"
#undef TRIB_LANES
#undef TRIB_ACCUMULATORS
}  // namespace portable

#ifdef TRIB_ATTENTION_X86

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#define TRIB_LANES 8
#define TRIB_ACCUMULATORS 12
#include "ops/kernels/attention/attention_block.inc.h"
#undef TRIB_LANES
#undef TRIB_ACCUMULATORS
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
namespace avx512 {
#define TRIB_LANES 16
#define TRIB_ACCUMULATORS 24
#include "ops/kernels/attention/attention_block.inc.h"
}  // namespace avx512

#pragma GCC target("avx512bf16")
namespace avx512_bf16 {
#define TRIB_BFLOAT16_DOT 1
#include "ops/kernels/attention/attention_block.inc.h"
#undef TRIB_LANES
#undef TRIB_ACCUMULATORS
}  // namespace avx512_bf16
#pragma GCC pop_options

#endif  // TRIB_ATTENTION_X86

// What this processor can run, best first.
struct Variants {
  std::array<AttentionBlocks, 4> f32{}, bf16{};
  std::size_t count = 0;

  void add(const AttentionBlocks& of_f32, const AttentionBlocks& of_bf16) {
    f32[count] = of_f32;
    bf16[count++] = of_bf16;
  }

  Variants() {
#ifdef TRIB_ATTENTION_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      using namespace avx512;
      const AttentionBlocks of_f32{"AVX-512", forward<Float32Math, float>,
                                   backward<Float32Math, float>, store_sums<float>};
      if (__builtin_cpu_supports("avx512bf16")) {
        using Math = avx512_bf16::BFloat16Math;
        add(of_f32, {"AVX-512 BF16", avx512_bf16::forward<Math, BFloat16>,
                     avx512_bf16::backward<Math, BFloat16>, avx512_bf16::store_sums<BFloat16>});
      }
      add(of_f32, {"AVX-512", forward<Float32Math, BFloat16>, backward<Float32Math, BFloat16>,
                   store_sums<BFloat16>});
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      using namespace avx2;
      add({"AVX2", forward<Float32Math, float>, backward<Float32Math, float>, store_sums<float>},
          {"AVX2", forward<Float32Math, BFloat16>, backward<Float32Math, BFloat16>,
           store_sums<BFloat16>});
    }
#endif
    using namespace portable;
    add({"portable", forward<Float32Math, float>, backward<Float32Math, float>, store_sums<float>},
        {"portable", forward<Float32Math, BFloat16>, backward<Float32Math, BFloat16>,
         store_sums<BFloat16>});
  }
};

}  // namespace

std::int64_t attention_forward_scratch(const AttentionTask& task) {
  const std::int64_t row = attention_row(task.head_dim);
  return 2 * (task.tokens + 1) * row + kAttentionQueries * (3 * row + 2 * kAttentionKeys);
}

std::int64_t attention_backward_scratch(const AttentionTask& task) {
  const std::int64_t row = attention_row(task.head_dim);
  return 3 * (task.tokens + 1) * row + kAttentionQueries * (7 * row + 4 * kAttentionKeys);
}

std::span<const AttentionBlocks> attention_blocks(DType dtype) {
  static const Variants variants;
  return {dtype == DType::bf16 ? variants.bf16.data() : variants.f32.data(), variants.count};
}

}  // namespace trib::ops
